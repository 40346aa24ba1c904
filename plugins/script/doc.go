// Package script is a plugin that serves a module that is written as a script, in any language. It starts the
// script, and passes the calls and answers of host and script as JSON documents over the script's standard
// input and output, one call at a time. The package does not depend on a particular module or language; the
// host's settings specify the program to start.
package script
