package main

import (
	"io"
	"log/slog"

	"github.com/liveapid/liveapid/host/record/pacedlog"
	"github.com/liveapid/liveapid/host/record/readable"
)

// newLog returns the host's log, which writes lines to out: for people if out is a terminal, otherwise for programs.
// Lines that clients can cause are limited in rate, so that a client can't fill the disk.
func newLog(out io.Writer, level slog.Level) *slog.Logger {
	return slog.New(pacedlog.New(readable.For(out, level)))
}
