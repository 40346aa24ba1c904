package admission

import (
	"context"
	"sync"
)

// Scope collects the resources that a call holds until its answer has been written. If a client does not read
// its answers, its calls keep their resources.
type Scope struct {
	cut func()

	mu       sync.Mutex
	ended    bool
	releases []func()
}

type scopeKey struct{}

// WithScope returns a context for calls that keep their resources until End. cut closes the client's connection;
// it is called if other clients need the resources more.
func WithScope(ctx context.Context, cut func()) (context.Context, *Scope) {
	s := &Scope{cut: cut}
	return context.WithValue(ctx, scopeKey{}, s), s
}

// End releases all resources of the scope.
func (s *Scope) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, release := range s.releases {
		release()
	}
	s.releases = nil
}

// Hold arranges that release is called at the end of the context's scope. If the scope has ended or the
// context has no scope, Hold calls release at once.
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

// cutOf returns the function that closes the client's connection, or nil if the context has none.
func cutOf(ctx context.Context) func() {
	if s, ok := ctx.Value(scopeKey{}).(*Scope); ok {
		return s.cut
	}
	return nil
}
