// Package apitool is what cpapi2 and uapi share: their command line, who the call runs
// for, the way to a host, and the forms of output.
package apitool
