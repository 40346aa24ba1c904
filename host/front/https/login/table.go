package login

import (
	"container/list"
	"time"
)

// table keeps failures by key. It is bounded: if it is full, the entry that failed longest ago makes
// room.
type table struct {
	now     func() time.Time
	entries map[string]*list.Element
	order   *list.List // Of *failures, the latest last.
	// keep says that an entry that has somebody wait stays. If all of them do, further keys share an
	// overflow for each rule: then nobody can guess on by filling the table.
	keep     bool
	overflow map[rule]*failures
}

// failures are those of a key.
type failures struct {
	key   string
	count int
	last  time.Time
	until time.Time // How long who comes under the key has to wait.
}

func newTable(now func() time.Time, keep bool) *table {
	return &table{now: now, entries: make(map[string]*list.Element), order: list.New(), keep: keep, overflow: make(map[rule]*failures)}
}

// has reports whether a key has an entry of its own.
func (t *table) has(k key) bool {
	_, ok := t.entries[k.name]
	return ok
}

// find returns what is kept of a key: its entry, or the overflow if that holds; nil if there is none.
func (t *table) find(k key) *failures {
	if e, ok := t.entries[k.name]; ok {
		return e.Value.(*failures)
	}
	if f := t.overflow[k.rule]; f != nil && f.until.After(t.now()) {
		return f
	}
	return nil
}

// wait returns how long who comes under a key has to wait.
func (t *table) wait(k key) time.Duration {
	if f := t.find(k); f != nil {
		return max(0, f.until.Sub(t.now()))
	}
	return 0
}

// failed returns how often a key failed of late.
func (t *table) failed(k key) int {
	if f := t.find(k); f != nil && t.now().Sub(f.last) <= forgetAfter {
		return f.count
	}
	return 0
}

func (t *table) forget(name string) {
	if e, ok := t.entries[name]; ok {
		delete(t.entries, t.order.Remove(e).(*failures).key)
	}
}

// count notes a failure.
func (t *table) count(k key) {
	f := t.note(k)
	if t.now().Sub(f.last) > forgetAfter {
		f.count = 0
	}
	f.last = t.now()
	f.count++
	if over := f.count - k.rule.free; over > 0 {
		wait := k.rule.most
		if over < 16 {
			wait = min(wait, firstWait<<(over-1))
		}
		f.until = t.now().Add(wait)
	}
}

// note returns a key's entry, made if need be, as the latest; or the overflow if there is no room.
func (t *table) note(k key) *failures {
	if e, ok := t.entries[k.name]; ok {
		t.order.MoveToBack(e)
		return e.Value.(*failures)
	}
	if len(t.entries) >= maxKeys && !t.evict() {
		f := t.overflow[k.rule]
		if f == nil {
			f = &failures{}
			t.overflow[k.rule] = f
		}
		return f
	}
	f := &failures{key: k.name}
	t.entries[k.name] = t.order.PushBack(f)
	return f
}

// evict makes room for an entry, and reports whether it could.
func (t *table) evict() bool {
	for e := t.order.Front(); e != nil; e = e.Next() {
		if f := e.Value.(*failures); !t.keep || !f.until.After(t.now()) {
			t.forget(f.key)
			return true
		}
	}
	return false
}
