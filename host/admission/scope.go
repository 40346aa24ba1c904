package admission

import (
	"context"
	"sync"
)

// Scope collects what a call holds until its answer has been written: a client that does not read its
// answers goes on to hold what they take.
type Scope struct {
	cut func()

	mu       sync.Mutex
	ended    bool
	releases []func()
}

type scopeKey struct{}

// WithScope returns a context whose calls hold what they take until End. cut ends the client's
// connection, which frees what its call holds; it is called if others need it more.
func WithScope(ctx context.Context, cut func()) (context.Context, *Scope) {
	s := &Scope{cut: cut}
	return context.WithValue(ctx, scopeKey{}, s), s
}

// End gives everything back.
func (s *Scope) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, release := range s.releases {
		release()
	}
	s.releases = nil
}

// Hold has release called at the end of the context's scope, or at once if that is over or there is
// none.
func Hold(ctx context.Context, release func()) {
	s, ok := ctx.Value(scopeKey{}).(*Scope)
	if !ok {
		release()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		release()
		return
	}
	s.releases = append(s.releases, release)
}

// cutOf returns what ends the connection of the context's client; nil if nothing does.
func cutOf(ctx context.Context) func() {
	if s, ok := ctx.Value(scopeKey{}).(*Scope); ok {
		return s.cut
	}
	return nil
}
