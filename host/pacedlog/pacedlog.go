// Package pacedlog bounds how many lines of a log others can cause: who connects again and again must not
// fill the disk on which changes are written down. What the lines say, and where they are written, does not
// belong here.
package pacedlog

import (
	"context"
	"log/slog"
	"sync"

	"golang.org/x/time/rate"
)

const (
	perSecond = 10   // Lines with the same message.
	burst     = 1000 // As many at once: all accounts of a server may be wrong at its start.
	messages  = 1000 // Beyond as many, all others count as the same message: a library puts addresses into them.
)

// Handler passes on as many records with the same message as the bounds allow. The next record after some
// that were not passed on says how many.
type Handler struct {
	next  slog.Handler
	paces *paces
}

type paces struct {
	mu    sync.Mutex
	bySay map[string]*pace
}

type pace struct {
	limiter *rate.Limiter
	left    int
}

// New returns a handler in front of another.
func New(next slog.Handler) *Handler {
	return &Handler{next: next, paces: &paces{bySay: make(map[string]*pace)}}
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

// take returns whether a record is passed on, and how many before it were not.
func (p *paces) take(r slog.Record) (left int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	message := r.Message
	if _, known := p.bySay[message]; !known && len(p.bySay) >= messages {
		message = ""
	}
	of := p.bySay[message]
	if of == nil {
		of = &pace{limiter: rate.NewLimiter(perSecond, burst)}
		p.bySay[message] = of
	}
	if !of.limiter.AllowN(r.Time, 1) {
		of.left++
		return 0, false
	}
	left, of.left = of.left, 0
	return left, true
}
