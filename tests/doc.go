// Package tests tests the whole product: real hosts, workers, bindings, command lines and Dovecot, as
// processes. Tests of a single package are in that package.
package tests
