package admission

import "time"

// sweepEvery is the number of lookups after which idle states are removed.
const sweepEvery = 1024

// keyed stores a state for each account or client that was active recently. The limits of this package that
// are counted for each account use it. keyed has no lock of its own: its owner must hold a mutex during each
// call.
type keyed[T any] struct {
	states map[string]*T
	create func() *T
	idle   func(state *T, now time.Time) bool // Reports whether the state is the same as a new one.
	most   int                                // Maximum number of states (0: no limit); see shared.
	used   int
}

// shared is the key of the common state of all further keys, for which no state is created after the maximum
// number of states is reached.
const shared = "others"

func newKeyed[T any](create func() *T, idle func(*T, time.Time) bool) keyed[T] {
	return keyed[T]{states: make(map[string]*T), create: create, idle: idle}
}

// of returns the state of the given key. It creates the state if necessary, and returns the shared state if
// there are too many states.
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

// drop removes the state of the given key if the state is idle.
func (k *keyed[T]) drop(key string, now time.Time) {
	if state := k.states[key]; state != nil && k.idle(state, now) {
		delete(k.states, key)
	}
}
