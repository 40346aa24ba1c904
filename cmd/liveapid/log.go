package main

import (
	"io"
	"log/slog"

	"github.com/liveapid/liveapid/host/record/pacedlog"
)

// newLog returns the log of the host: lines of text on out, with a limit for lines that clients can cause.
func newLog(out io.Writer, level slog.Level) *slog.Logger {
	return slog.New(pacedlog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level})))
}
