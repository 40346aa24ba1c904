// Package pacedlog throttles log lines. Otherwise a client that connects again and again could fill the disk
// with log lines, and the audit log needs that disk space. The package does not change the text of the lines
// or where they are written.
package pacedlog

import (
	"context"
	"log/slog"
	"sync"

	"golang.org/x/time/rate"
)

const (
	perSecond = 10   // Maximum rate of lines per second, for each message.
	burst     = 1000 // Large: at a start, all accounts may log the same problem.
	messages  = 1000 // Maximum number of messages with limits; others share one.
)

// Handler is a slog.Handler that drops records if too many records with the same message arrive. When it next
// passes on a record with this message, it adds the attribute left_out_before: the number of records with
// this message that were dropped since the last record that was passed on. It is safe for concurrent use.
type Handler struct {
	next  slog.Handler
	paces *paces
}

type paces struct {
	mu        sync.Mutex
	byMessage map[string]*pace
}

type pace struct {
	limiter *rate.Limiter
	left    int
}

// New returns a handler that passes the records that it does not drop to next.
func New(next slog.Handler) *Handler {
	return &Handler{next: next, paces: &paces{byMessage: make(map[string]*pace)}}
}

// Enabled implements slog.Handler.
func (h *Handler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

// Handle implements slog.Handler.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	left, ok := h.paces.take(r)
	if !ok {
		return nil
	}
	if left > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("left_out_before", left))
	}
	return h.next.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Handler{next: h.next.WithAttrs(attrs), paces: h.paces}
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{next: h.next.WithGroup(name), paces: h.paces}
}

// take reports whether record r must be logged. If so, left is the number of dropped records with the same
// message since the last record with this message that was logged.
func (p *paces) take(r slog.Record) (left int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	message := r.Message
	if _, known := p.byMessage[message]; !known && len(p.byMessage) >= messages {
		message = ""
	}
	of := p.byMessage[message]
	if of == nil {
		of = &pace{limiter: rate.NewLimiter(perSecond, burst)}
		p.byMessage[message] = of
	}
	if !of.limiter.AllowN(r.Time, 1) {
		of.left++
		return 0, false
	}
	left, of.left = of.left, 0
	return left, true
}
