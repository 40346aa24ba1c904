// Package tests contains the tests of the whole product. They run real hosts, workers, language bindings,
// commands and Dovecot as processes. The tests of a single package are in the directory of that package.
package tests
