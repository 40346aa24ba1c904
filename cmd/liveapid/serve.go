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

// gcPercent is the value for debug.SetGCPercent. It is lower than Go's default of 100, because
// docs/security.md promises a limit for the host's memory. The more frequent collections cost little, because
// the amount of live memory is small. The environment variable GOGC overrides the value.
const gcPercent = 50

// memoryLimit is the value for debug.SetMemoryLimit, in bytes. Near this limit the collector runs more often.
// The limit is soft: a large list may need more memory. The environment variable GOMEMLIMIT overrides it.
const memoryLimit = 80 << 20

// serve runs the host until ctx ends. It installs the handlers for reload and forced exit.
func serve(ctx context.Context, c *config.Config, log *slog.Logger) error {
	// The handler is installed first: a SIGHUP that arrives before the host is ready would otherwise end the
	// process.
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

// exitOnSecondSignal exits the process at once when it receives another SIGINT or SIGTERM. The host calls it
// after the first signal, while it waits for calls to finish.
func exitOnSecondSignal() {
	again := make(chan os.Signal, 1)
	signal.Notify(again, os.Interrupt, syscall.SIGTERM)
	<-again
	os.Exit(1)
}
