package main

import (
	"io"
	"log/slog"

	"github.com/liveapid/liveapid/host/record/pacedlog"
)

// newLog returns the host's log, which writes lines of text to out. Lines that clients can cause are limited
// in rate, so that a client can't fill the disk.
func newLog(out io.Writer, level slog.Level) *slog.Logger {
	return slog.New(pacedlog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level})))
}
