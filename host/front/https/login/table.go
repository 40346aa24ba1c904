package login

import (
	"container/list"
	"time"
)

// table keeps failures by key. Its size is limited: if it is full, the entry with the oldest failure is
// evicted.
type table struct {
	now     func() time.Time
	entries map[string]*list.Element
	order   *list.List // Of *failures, the latest last.
	// keep protects entries that still make a client wait from eviction. If all entries are protected,
	// further keys share an overflow entry for each rule, so that filling the table does not make guessing
	// possible.
	keep     bool
	overflow map[rule]*failures
}

// failures are the failures of one key.
type failures struct {
	key   string
	count int
	last  time.Time
	until time.Time // The end of the wait.
}

func newTable(now func() time.Time, keep bool) *table {
	return &table{now: now, entries: make(map[string]*list.Element), order: list.New(), keep: keep, overflow: make(map[rule]*failures)}
}

// has reports whether a key has an entry of its own.
func (t *table) has(k key) bool {
	_, ok := t.entries[k.name]
	return ok
}

// find returns the entry of a key, or the overflow entry if it is in force, or nil.
func (t *table) find(k key) *failures {
	if e, ok := t.entries[k.name]; ok {
		return e.Value.(*failures)
	}
	if f := t.overflow[k.rule]; f != nil && f.until.After(t.now()) {
		return f
	}
	return nil
}

// wait returns how long attempts with a key must wait.
func (t *table) wait(k key) time.Duration {
	if f := t.find(k); f != nil {
		return max(0, f.until.Sub(t.now()))
	}
	return 0
}

// failed returns the number of recent failures of a key.
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

// count records a failure.
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

// note returns the entry of a key and marks it as the latest. It creates the entry if necessary, and returns
// the overflow entry if there is no room.
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

// evict removes an entry, and reports whether it could.
func (t *table) evict() bool {
	for e := t.order.Front(); e != nil; e = e.Next() {
		if f := e.Value.(*failures); !t.keep || !f.until.After(t.now()) {
			t.forget(f.key)
			return true
		}
	}
	return false
}
