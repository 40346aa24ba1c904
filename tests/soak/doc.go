// Package soak is the long proof: many sessions, many accounts, a million frames, workers and
// hosts that are killed for a minute. make soak runs it; docs/benchmarks.md has its figures.
package soak
