// Package tools pins the versions of the programs that build and check liveapid, in a module of its own, so
// that none of them becomes a dependency of the daemon.
package tools
