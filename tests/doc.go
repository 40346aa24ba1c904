// Package tests proves the whole product: real hosts, workers, shims, command lines and Dovecot, as
// processes. Tests of a single package are in that package.
package tests
