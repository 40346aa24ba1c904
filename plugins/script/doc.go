// Package script serves a module that is written as a script, in any language. It starts the script, and
// passes the documents that host and plugin exchange to the script as JSON over its standard input and
// output, one call at a time. The package does not depend on a module or a language; the host's settings name
// the program to start.
package script
