// Package readable writes log records for people at a terminal: one line for each record, in plain words. Logs that
// programs read have the format of slog.TextHandler instead.
package readable

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/protocol"
)

// Handler is a slog.Handler that writes lines for people. It is safe for concurrent use.
type Handler struct {
	out   *output
	level slog.Leveler
	attrs []slog.Attr
}

type output struct {
	mu sync.Mutex
	w  io.Writer
}

// New returns a handler that writes records of at least the given level to w.
func New(w io.Writer, level slog.Leveler) *Handler { return &Handler{out: &output{w: w}, level: level} }

// For returns the handler for the log of a program: a Handler if out is a terminal, otherwise a slog.TextHandler.
func For(out io.Writer, level slog.Leveler) slog.Handler {
	if file, ok := out.(*os.File); ok {
		if _, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS); err == nil {
			return New(out, level)
		}
	}
	return slog.NewTextHandler(out, &slog.HandlerOptions{Level: level})
}

// Enabled implements slog.Handler.
func (h *Handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Handler{out: h.out, level: h.level, attrs: append(slices.Clip(h.attrs), attrs...)}
}

// WithGroup implements slog.Handler. The name of the group is left out.
func (h *Handler) WithGroup(string) slog.Handler { return h }

// saying lists the attributes with sentences. They end the line, without their names.
var saying = []string{"text", "error", "cause"}

// hidden lists the attributes that help only programs.
var hidden = []string{"stream", "plugin"}

// Handle implements slog.Handler.
func (h *Handler) Handle(_ context.Context, r slog.Record) error {
	attrs := make(map[string]string)
	var names []string
	add := func(a slog.Attr) bool {
		if _, again := attrs[a.Key]; !again {
			names = append(names, a.Key)
		}
		attrs[a.Key] = a.Value.Resolve().String()
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)

	var line bytes.Buffer
	line.WriteString(r.Time.Format(time.TimeOnly) + " " + levelOf(r.Level) + " ")
	var details, said []string
	for _, name := range names {
		switch value := oneLine(attrs[name]); {
		case slices.Contains(hidden, name), value == "":
		case slices.Contains(saying, name):
			said = append(said, value)
		case name == "account", name == "module", name == "func":
		default:
			details = append(details, name+" "+value)
		}
	}
	subject := oneLine(attrs["module"])
	if attrs["func"] != "" {
		subject += "::" + oneLine(attrs["func"])
	}
	if subject == "" {
		subject = oneLine(attrs["plugin"])
	}
	switch {
	case r.Message == "worker says":
		line.WriteString(subject)
	case subject != "":
		line.WriteString(oneLine(r.Message) + " " + subject)
	default:
		line.WriteString(oneLine(r.Message))
	}
	if attrs["account"] != "" {
		details = append([]string{oneLine(attrs["account"])}, details...)
	}
	if len(details) > 0 && r.Message != "worker says" {
		line.WriteString(" (" + strings.Join(details, ", ") + ")")
	}
	if len(said) > 0 {
		line.WriteString(": " + strings.Join(said, ": "))
	}
	line.WriteByte('\n')
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	_, err := h.out.w.Write(line.Bytes())
	return err
}

func levelOf(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "error"
	case l >= slog.LevelWarn:
		return "warn "
	case l >= slog.LevelInfo:
		return "info "
	}
	return "debug"
}

// oneLine returns text on a single line, without characters that a terminal could obey.
func oneLine(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := range lines {
		lines[i] = protocol.Visible(lines[i])
	}
	return strings.Join(lines, " | ")
}
