// Package apitool is the common part of cpapi2 and uapi: their command line, the account for which the call
// runs, the connection to a host, and the forms of output.
package apitool
