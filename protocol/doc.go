// Package protocol defines the types that all packages of the project share: a Caller makes a Call to a
// function of an API with Args, and the call returns a Result or an Error. Module and Function describe what
// a plugin serves. The package depends on no wire format, process or mail code and imports no other package
// of the project.
package protocol
