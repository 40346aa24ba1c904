// Package protocol holds the project's vocabulary: a Call by a Caller to a function of an API, its Args, its
// Result, its Error, and the descriptions of modules. It knows no wire format, no process and no mail, and
// imports no other package of the project.
package protocol
