// Package host runs every call: it finds the function, validates the caller and the arguments against the
// function's description, and runs the function in its plugin with a deadline. Every front door calls
// Host.Do. The package knows no wire format and no module; it reaches workers through the interface Plugin.
package host
