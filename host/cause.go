package host

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/liveapid/liveapid/protocol"
)

// Cause is an error with a text for the author of a module: which file failed, where, and what the module printed.
// The text may have several lines.
type Cause struct {
	Text string
	Err  error // Wrapped. Must not be nil.
}

// Error returns the text. It is also written to the log.
func (c *Cause) Error() string { return c.Text }

// Unwrap returns the wrapped error.
func (c *Cause) Unwrap() error { return c.Err }

// CauseOf returns the text of the cause of err for people: the text of the Cause in its chain, or its own.
func CauseOf(err error) string {
	text := err.Error()
	if cause := (*Cause)(nil); errors.As(err, &cause) {
		text = cause.Text
	}
	return protocol.Clip(strings.TrimSpace(text), protocol.MaxText)
}

// withCause adds the private cause of a failure to its message, if the callers are the authors of the modules (see
// Options.Causes). A failure with a message that the module chose keeps it.
func (h *Host) withCause(fn protocol.Function, failure *protocol.Error) *protocol.Error {
	hidden := []protocol.Kind{protocol.KindInternal, protocol.KindUnavailable}
	if !h.causes || failure == nil || failure.Err == nil || !slices.Contains(hidden, failure.Kind) {
		return failure
	}
	cause := CauseOf(failure.Err)
	if errors.Is(failure.Err, context.DeadlineExceeded) {
		if cause = "The function did not return in time."; errors.Is(failure.Err, ErrNotRun) {
			cause = "The module did not start in time: it waits or loops before it describes itself."
		}
	}
	if fn.Source != "" && !strings.Contains(cause, fn.Source) {
		cause += "\nThe function " + fn.Name + " begins in " + fn.Source + "."
	}
	told := *failure
	told.Message += " Cause: " + cause
	return &told
}
