// Package apitool implements the commands cpapi2 and uapi: it parses the command line, finds the account for
// which the call runs, connects to a host, and prints the answer in the requested format.
package apitool
