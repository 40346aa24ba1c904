// Package tests proves the whole product: real hosts, workers, shims, command lines and
// Dovecot, as processes. What one package promises alone is tested beside it.
package tests
