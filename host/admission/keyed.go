package admission

import "time"

// sweepEvery is the number of lookups after which idle states are removed.
const sweepEvery = 1024

// keyed is a map that stores a state for each account or client that was active recently, and removes idle
// states. The limits of this package for each account use it. keyed is not safe for concurrent use: its owner
// must hold a mutex during each call.
type keyed[T any] struct {
	states map[string]*T
	create func() *T
	idle   func(state *T, now time.Time) bool // Reports whether state can be removed, as it is like new.
	most   int                                // Maximum number of states (0: no limit); see shared.
	used   int
}

// shared is the key of the state that all further keys share when keyed already contains the maximum number
// of states.
const shared = "others"

func newKeyed[T any](create func() *T, idle func(*T, time.Time) bool) keyed[T] {
	return keyed[T]{states: make(map[string]*T), create: create, idle: idle}
}

// of returns the state of the given key. If the key has no state, of creates one, or returns the shared state
// if the maximum number of states is reached.
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
