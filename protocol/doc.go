// Package protocol is the project's vocabulary: a Call by a Caller to a function of
// an API, its Args, its Result, its Error, and the Module descriptions that say which
// functions there are. It knows no bytes on a wire, no process and no mail, and
// imports nothing of the project.
package protocol
