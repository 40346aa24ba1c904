package admission

import (
	"context"
	"sync"
)

// Scope collects the resources that a call occupies, and releases them when the answer of the call has been
// written. A client that does not read its answers therefore keeps the resources of its calls occupied.
type Scope struct {
	cut func()

	mu       sync.Mutex
	ended    bool
	answers  bool // Whether releases contains that of an answer.
	shared   bool // Whether several calls share the scope, one after the other.
	releases []func()
}

type scopeKey struct{}

// WithScope returns a context for a call, and the scope of that call. Resources that are passed to Hold with
// this context are occupied until the caller calls End. cut closes the client's connection; a Pool may call
// cut if other clients need the resources more.
func WithScope(ctx context.Context, cut func()) (context.Context, *Scope) {
	s := &Scope{cut: cut}
	return context.WithValue(ctx, scopeKey{}, s), s
}

// End releases all resources of the scope. It must be called when the answer has been written or the
// connection is closed.
func (s *Scope) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, release := range s.releases {
		release()
	}
	s.releases = nil
}

// Hold registers release to be called when the scope of ctx ends. If the scope has already ended, or if ctx
// has no scope, Hold calls release at once.
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

// Share marks the scope of ctx as that of several calls, one after the other, whose answers are written together.
func Share(ctx context.Context) {
	if s, ok := ctx.Value(scopeKey{}).(*Scope); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.shared = true
	}
}

// HoldCall does the same as Hold for a call in flight. If several calls share the scope, the call has ended, and
// HoldCall calls leave at once: the calls of a batch must not count as calls at the same time.
func HoldCall(ctx context.Context, leave func()) {
	if s, ok := ctx.Value(scopeKey{}).(*Scope); ok {
		s.mu.Lock()
		shared := s.shared
		s.mu.Unlock()
		if shared {
			leave()
			return
		}
	}
	Hold(ctx, leave)
}

// holdAnswer does the same as Hold for an answer.
func holdAnswer(ctx context.Context, release func()) {
	if s, ok := ctx.Value(scopeKey{}).(*Scope); ok {
		s.mu.Lock()
		s.answers = true
		s.mu.Unlock()
	}
	Hold(ctx, release)
}

// holdsAnswers reports whether the scope of ctx contains an answer.
func holdsAnswers(ctx context.Context) bool {
	s, ok := ctx.Value(scopeKey{}).(*Scope)
	if !ok {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answers
}

// cutOf returns the function that closes the client's connection (see WithScope), or nil if ctx has no scope.
func cutOf(ctx context.Context) func() {
	if s, ok := ctx.Value(scopeKey{}).(*Scope); ok {
		return s.cut
	}
	return nil
}
