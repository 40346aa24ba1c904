package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/daemon"
)

// gcPercent is how much garbage the host collects before a collection, in percent of the memory in use: the
// host keeps little memory, and docs/security.md promises a bound. GOGC overrides it.
const gcPercent = 50

// memoryLimit is the memory in bytes from which the collector runs more often. A large list needs more.
// GOMEMLIMIT overrides it.
const memoryLimit = 80 << 20

// serve serves the host until ctx ends.
func serve(ctx context.Context, c *config.Config, log *slog.Logger) error {
	// A SIGHUP that comes before the host is ready must not end it.
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	if err := check(c); err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	return daemon.Serve(ctx, c, daemon.Signals{Reload: reload, Force: exitOnSecondSignal}, log)
}

// exitOnSecondSignal ends the process at once if an operator signals again while the host drains.
func exitOnSecondSignal() {
	again := make(chan os.Signal, 1)
	signal.Notify(again, os.Interrupt, syscall.SIGTERM)
	<-again
	os.Exit(1)
}
