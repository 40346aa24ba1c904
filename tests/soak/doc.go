// Package soak contains the long-running load tests: many sessions, many accounts, a million frames, and a
// minute in which workers and hosts are killed again and again. The command "make soak" runs them;
// docs/benchmarks.md contains the results.
package soak
