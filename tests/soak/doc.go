// Package soak is the long test: many sessions, many accounts, a million frames, and a minute of killed
// workers and hosts. make soak runs it; docs/benchmarks.md has its figures.
package soak
