// Package tools pins the versions of the programs that build and check liveapid. It is a Go module of its
// own, so that these programs do not become dependencies of the daemon.
package tools
