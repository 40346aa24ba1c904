// Package script serves a module that is written as a script, in any language: it starts
// the script, and passes the documents of the plugin boundary on to it as JSON over its
// standard input and output, one call at a time. It knows no module and no language; which
// program to start is in the settings that the host hands over.
package script
