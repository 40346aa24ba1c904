// Package login keeps what signing in needs: who failed how often, and must wait, and who is signed
// in. It verifies no password and knows no request.
package login

import (
	"container/list"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// The bounds of a throttle.
const (
	firstWait   = time.Second // It doubles with each further failure.
	forgetAfter = time.Hour   // So long a failure is remembered.
	maxKeys     = 20_000      // Of the table; the one that failed longest ago goes first.
)

// rule is how failures of one kind are counted: so many cost nothing, and so long is the longest wait.
type rule struct {
	free int
	most time.Duration
}

var (
	// Of one account from one client, and of one client whatever it names.
	ofBoth   = rule{5, 5 * time.Minute}
	ofClient = rule{20, 5 * time.Minute}
	// Of one account, wherever it is tried from: that strangers keep its owner out is worse.
	ofAccount = rule{30, 30 * time.Second}
	// Of one account from loopback, where all tenants' programs are.
	ofLocal = rule{5, 30 * time.Second}
)

const (
	// longestTurn is how long a try waits for others to be over.
	longestTurn = 10 * time.Second
	// knownFor is how long who proved an account's password from an address does not wait for those
	// who try the account from elsewhere.
	knownFor = 24 * time.Hour
)

// ErrBusy is a try whose turn did not come.
var ErrBusy = errors.New("login: too many tries are under way")

// Throttle has those wait who fail to prove who they are by a password: by the account they name,
// whether there is one or not, and by where they come from. It is for the network alone: nobody on
// the host's own socket waits for it.
type Throttle struct {
	now func() time.Time

	mu      sync.Mutex
	table   map[string]*list.Element
	order   *list.List // Of *failures, the latest last.
	trying  map[string]int
	waiting map[string]*list.List // By account: of *waiter, who came first at the front.
}

// waiter is a try whose turn is to come.
type waiter struct {
	keys []key
	look chan struct{}
}

type failures struct {
	key   string
	count int
	last  time.Time
	until time.Time
}

// NewThrottle returns a throttle that knows of no failure.
func NewThrottle() *Throttle {
	return &Throttle{
		now: time.Now, table: make(map[string]*list.Element), order: list.New(), trying: make(map[string]int), waiting: make(map[string]*list.List),
	}
}

// Canonical is the one spelling of a name under which its failures are counted.
func Canonical(name string) string {
	if len(name) > 320 {
		name = name[:320]
	}
	return cases.Fold().String(norm.NFKC.String(strings.TrimSpace(strings.ToValidUTF8(name, "?"))))
}

// Source is where a client comes from: of IPv6 the network that one customer has.
func Source(address netip.Addr) string {
	address = address.Unmap()
	if address.Is6() {
		if prefix, err := address.Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return address.String()
}

// key is one of those under which a try is counted.
type key struct {
	name string
	rule rule
}

// keysOf returns a try's keys: of the account and the client, of the account, of the client. All
// tenants' programs come from loopback: there is no one client.
func keysOf(service, name string, from netip.Addr) []key {
	account, client := service+" "+Canonical(name), Source(from)
	both := "both " + client + " " + account
	if from.IsLoopback() {
		return []key{{both, ofLocal}, {"account " + account, ofAccount}}
	}
	return []key{{both, ofBoth}, {"account " + account, ofAccount}, {"client " + client, ofClient}}
}

// counting returns those of a try's keys that hold it up. It needs mu.
func (t *Throttle) counting(keys []key) []key {
	if e, ok := t.table["known "+keys[0].name]; ok && t.now().Sub(e.Value.(*failures).last) < knownFor {
		return slices.Delete(slices.Clone(keys), 1, 2)
	}
	return keys
}

// Outcome is what came of a try.
type Outcome int

// The outcomes.
const (
	Undecided Outcome = iota // It could not be told: it does not count.
	Failed
	Succeeded
)

// Try lets somebody try who names an account from an address. wait is how long it has to be put off;
// where it is 0, the caller tries, and calls done with what came of it. As many may try at once as
// may still fail, so that guesses that are made together are no cheaper; the others have their turns
// in the order in which they came. The error is ctx's, or ErrBusy.
func (t *Throttle) Try(ctx context.Context, service, name string, from netip.Addr) (wait time.Duration, done func(Outcome), err error) {
	keys := keysOf(service, name, from)
	account := keys[1].name
	ctx, cancel := context.WithTimeoutCause(ctx, longestTurn, ErrBusy)
	defer cancel()
	t.mu.Lock()
	defer t.mu.Unlock()
	queue := t.waiting[account]
	if queue == nil {
		queue = list.New()
		t.waiting[account] = queue
	}
	own := &waiter{keys: keys, look: make(chan struct{}, 1)}
	place := queue.PushBack(own)
	defer func() {
		queue.Remove(place)
		if queue.Len() == 0 && t.waiting[account] == queue {
			delete(t.waiting, account)
		}
		t.wake() // The next one may have room, too.
	}()
	for {
		for _, k := range t.counting(keys) {
			wait = max(wait, t.wait(k.name))
		}
		if wait > 0 {
			return wait, nil, nil
		}
		if t.next(queue) == place {
			break
		}
		t.mu.Unlock()
		select {
		case <-own.look:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		t.mu.Lock()
		if err != nil {
			return 0, nil, err
		}
	}
	for _, k := range keys {
		t.trying[k.name]++
	}
	return 0, func(o Outcome) { t.over(keys, o) }, nil
}

// next returns the one of a queue whose turn it is: who came first of those for whom there is room. A
// client that has all its own tries under way holds up itself alone. It needs mu.
func (t *Throttle) next(queue *list.List) *list.Element {
	for e := queue.Front(); e != nil; e = e.Next() {
		full := false
		for _, k := range t.counting(e.Value.(*waiter).keys) {
			full = full || t.trying[k.name] >= max(1, k.rule.free-t.failed(k.name))
		}
		if !full {
			return e
		}
	}
	return nil
}

// wake has those look whose turn it is. It needs mu.
func (t *Throttle) wake() {
	for _, queue := range t.waiting {
		if e := t.next(queue); e != nil {
			select {
			case e.Value.(*waiter).look <- struct{}{}:
			default: // It is about to look.
			}
		}
	}
}

// over notes what came of a try.
func (t *Throttle) over(keys []key, o Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, k := range keys {
		if t.trying[k.name]--; t.trying[k.name] == 0 {
			delete(t.trying, k.name)
		}
		switch {
		case o == Failed:
			t.count(k)
		case o == Succeeded && i < 2:
			// What failed under the account's name is forgotten. Other names from the same client are
			// not: who owns one account must not guess at others for it.
			t.forget(k.name)
		}
	}
	if o == Succeeded {
		t.note("known " + keys[0].name)
	}
	t.wake()
}

// Wait returns how long who names an account from an address has to wait before a try; 0 is not at
// all.
func (t *Throttle) Wait(service, name string, from netip.Addr) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range t.counting(keysOf(service, name, from)) {
		wait = max(wait, t.wait(k.name))
	}
	return wait
}

func (t *Throttle) wait(name string) time.Duration {
	if e, ok := t.table[name]; ok {
		return max(0, e.Value.(*failures).until.Sub(t.now()))
	}
	return 0
}

// failed returns how often a key failed of late.
func (t *Throttle) failed(name string) int {
	if e, ok := t.table[name]; ok && t.now().Sub(e.Value.(*failures).last) <= forgetAfter {
		return e.Value.(*failures).count
	}
	return 0
}

func (t *Throttle) forget(name string) {
	if e, ok := t.table[name]; ok {
		delete(t.table, t.order.Remove(e).(*failures).key)
	}
}

// note returns what is kept under a name, which is the latest now.
func (t *Throttle) note(name string) *failures {
	e, ok := t.table[name]
	if !ok {
		for len(t.table) >= maxKeys {
			t.forget(t.order.Front().Value.(*failures).key)
		}
		e = t.order.PushBack(&failures{key: name})
		t.table[name] = e
	}
	f := e.Value.(*failures)
	if t.now().Sub(f.last) > forgetAfter {
		f.count = 0
	}
	f.last = t.now()
	t.order.MoveToBack(e)
	return f
}

func (t *Throttle) count(k key) {
	f := t.note(k.name)
	f.count++
	if over := f.count - k.rule.free; over > 0 {
		wait := k.rule.most
		if over < 16 {
			wait = min(wait, firstWait<<(over-1))
		}
		f.until = t.now().Add(wait)
	}
}

// Size returns how many it remembers.
func (t *Throttle) Size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.table)
}
