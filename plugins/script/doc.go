// Package script serves a module that is written as a script, in any language. It starts the script and
// passes the documents of the plugin boundary to it as JSON over its standard input and output, a call at a
// time. It knows no module and no language; the host's settings name the program.
package script
