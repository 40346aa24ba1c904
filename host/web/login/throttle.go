// Package login keeps what signing in needs: who failed how often, and must wait, and who is signed
// in. It verifies no password and knows no request.
package login

import (
	"container/list"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// The bounds of a throttle.
const (
	// freeOfAccount and freeOfSource are the failures that cost nothing.
	freeOfAccount = 5
	freeOfSource  = 20
	// firstWait doubles with each further failure, up to lastWait.
	firstWait = time.Second
	lastWait  = 5 * time.Minute
	// forgetAfter is how long a failure is remembered.
	forgetAfter = time.Hour
	// maxKeys bounds the table; the one that failed longest ago goes first.
	maxKeys = 20_000
)

// Throttle has those wait who fail to prove who they are: by the account they name, whether there
// is one or not, and by where they come from. It is for the network alone: nobody on the host's
// own socket waits for it.
type Throttle struct {
	now func() time.Time

	mu    sync.Mutex
	table map[string]*list.Element
	order *list.List // Of *failures, the latest last.
}

type failures struct {
	key   string
	count int
	last  time.Time
	until time.Time
}

// NewThrottle returns a throttle that knows of no failure.
func NewThrottle() *Throttle {
	return &Throttle{now: time.Now, table: make(map[string]*list.Element), order: list.New()}
}

// Canonical is the one spelling of a name under which its failures are counted.
func Canonical(name string) string {
	if len(name) > 320 {
		name = name[:320]
	}
	return cases.Fold().String(norm.NFKC.String(strings.TrimSpace(strings.ToValidUTF8(name, "?"))))
}

// source is where a client comes from: of IPv6 the network that one customer has.
func source(address netip.Addr) string {
	address = address.Unmap()
	if address.Is6() {
		if prefix, err := address.Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return address.String()
}

func keys(service, name string, from netip.Addr) (account, client string) {
	return "account " + service + " " + Canonical(name), "source " + source(from)
}

// Wait returns how long who names an account from an address has to wait before it may try; 0 is
// not at all.
func (t *Throttle) Wait(service, name string, from netip.Addr) time.Duration {
	account, client := keys(service, name, from)
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(t.wait(account), t.wait(client))
}

func (t *Throttle) wait(key string) time.Duration {
	if e, ok := t.table[key]; ok {
		return max(0, e.Value.(*failures).until.Sub(t.now()))
	}
	return 0
}

// Failed notes a failure.
func (t *Throttle) Failed(service, name string, from netip.Addr) {
	account, client := keys(service, name, from)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count(account, freeOfAccount)
	t.count(client, freeOfSource)
}

func (t *Throttle) count(key string, free int) {
	now := t.now()
	e, ok := t.table[key]
	if !ok {
		for len(t.table) >= maxKeys {
			oldest := t.order.Front()
			delete(t.table, t.order.Remove(oldest).(*failures).key)
		}
		e = t.order.PushBack(&failures{key: key})
		t.table[key] = e
	}
	f := e.Value.(*failures)
	if now.Sub(f.last) > forgetAfter {
		f.count = 0
	}
	f.count++
	f.last = now
	t.order.MoveToBack(e)
	if over := f.count - free; over > 0 {
		wait := lastWait
		if over < 16 {
			wait = min(lastWait, firstWait<<(over-1))
		}
		f.until = now.Add(wait)
	}
}

// Succeeded forgets the failures of an account. Those of where it was proved from stay: who owns
// one account must not guess at others for it.
func (t *Throttle) Succeeded(service, name string) {
	account, _ := keys(service, name, netip.Addr{})
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.table[account]; ok {
		delete(t.table, t.order.Remove(e).(*failures).key)
	}
}

// Size returns how many it remembers.
func (t *Throttle) Size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.table)
}
