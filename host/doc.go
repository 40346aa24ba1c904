// Package host is the one way of every call: find the function, hold the caller and
// the arguments against its description, run it in its plugin under a deadline. Every
// front door ends in Host.Do. It knows no bytes of a client and no module; workers
// reach it as the Plugin interface.
package host
