package login

import (
	"container/list"
	"time"
)

// table counts failures by key. It contains at most maxKeys entries. When the table is full, a new key evicts
// the entry with the oldest failure. A table has no lock: the caller holds the mutex of the Throttle that
// contains the table.
type table struct {
	now     func() time.Time
	entries map[string]*list.Element
	order   *list.List // Of *failures; the entry with the latest failure is last.
	// If keep is set, an entry with an unfinished wait is never evicted. If all entries are protected in
	// this way, further keys with the same rule share one overflow entry. So an attacker can't escape the
	// waits by filling the table.
	keep     bool
	overflow map[rule]*failures
}

// failures is the entry of one key.
type failures struct {
	key   string
	count int
	last  time.Time
	until time.Time // When the wait ends.
}

func newTable(now func() time.Time, keep bool) *table {
	return &table{now: now, entries: make(map[string]*list.Element), order: list.New(), keep: keep, overflow: make(map[rule]*failures)}
}

// has reports whether k has an entry of its own in the table, and not only a share in an overflow entry.
func (t *table) has(k key) bool {
	_, ok := t.entries[k.name]
	return ok
}

// find returns the entry of k. If k has no entry, find returns the overflow entry of k's rule if that entry's
// wait has not ended, and otherwise nil.
func (t *table) find(k key) *failures {
	if e, ok := t.entries[k.name]; ok {
		return e.Value.(*failures)
	}
	if f := t.overflow[k.rule]; f != nil && f.until.After(t.now()) {
		return f
	}
	return nil
}

// wait returns how long an attempt with the key k must still wait.
func (t *table) wait(k key) time.Duration {
	if f := t.find(k); f != nil {
		return max(0, f.until.Sub(t.now()))
	}
	return 0
}

// failed returns the number of failures of k, or 0 if the last failure is older than forgetAfter.
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

// count records a failure of k. If k has had more failures than its rule allows, a wait begins.
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

// note returns the entry for a new failure of k, and moves it to the end of the order. If k has no entry,
// note creates one. If the table is full and nothing can be evicted, it returns the overflow entry of k's
// rule.
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

// evict removes the entry with the oldest failure. If keep is set, evict skips entries with an unfinished wait.
// It returns false if it skipped all entries.
func (t *table) evict() bool {
	for e := t.order.Front(); e != nil; e = e.Next() {
		if f := e.Value.(*failures); !t.keep || !f.until.After(t.now()) {
			t.forget(f.key)
			return true
		}
	}
	return false
}
