// Package host runs every call: it finds the function, validates the caller and the arguments against the
// description of the function, and runs the function in its plugin with a deadline. Every front door calls
// Host.Do. The package does not depend on any wire format or module; it calls plugins through the interface
// Plugin.
package host
