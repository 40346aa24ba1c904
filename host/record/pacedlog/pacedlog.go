// Package pacedlog limits the rate of log lines, so that a client that connects again and again can't fill
// the disk that the audit log needs. It does not change the text of lines or their destination.
package pacedlog

import (
	"context"
	"log/slog"
	"sync"

	"golang.org/x/time/rate"
)

const (
	perSecond = 10   // Lines with the same message.
	burst     = 1000 // The burst: at the start of a server, all its accounts may have the same problem.
	messages  = 1000 // Further messages share a limit, because some libraries put addresses into messages.
)

// Handler is a slog.Handler that drops records if too many have the same message. The next record with that
// message carries the number of dropped records, left_out_before.
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

// New returns a handler that passes records on to next.
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

// take reports whether to pass a record on, and how many were dropped since the last with its message.
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
