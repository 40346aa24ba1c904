package admission

import "time"

// sweepEvery is the number of look-ups between two removals of idle states.
const sweepEvery = 1024

// keyed keeps a state for each account or client that was active lately. Every limit of this package that is
// counted by account uses it. The owner's mutex guards it.
type keyed[T any] struct {
	states map[string]*T
	create func() *T
	idle   func(state *T, now time.Time) bool // Reports whether the state equals a new one.
	most   int                                // The maximum number of states, beyond which further keys share one; 0 means no limit.
	used   int
}

// shared is the key of the state that further keys share if there are too many.
const shared = "others"

func newKeyed[T any](create func() *T, idle func(*T, time.Time) bool) keyed[T] {
	return keyed[T]{states: make(map[string]*T), create: create, idle: idle}
}

// of returns the state of a key. It creates the state if necessary.
func (k *keyed[T]) of(key string, now time.Time) *T {
	if k.used++; k.used%sweepEvery == 0 {
		for other, state := range k.states {
			if k.idle(state, now) {
				delete(k.states, other)
			}
		}
	}
	state := k.states[key]
	if state == nil && k.most > 0 && len(k.states) >= k.most {
		key = shared
		state = k.states[key]
	}
	if state == nil {
		state = k.create()
		k.states[key] = state
	}
	return state
}

// drop removes the state of a key if it is idle.
func (k *keyed[T]) drop(key string, now time.Time) {
	if state := k.states[key]; state != nil && k.idle(state, now) {
		delete(k.states, key)
	}
}
