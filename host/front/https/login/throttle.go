// Package login throttles sign-in attempts and keeps the sessions of browsers. It verifies no password and
// knows nothing about HTTP requests.
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

// Limits of a throttle.
const (
	firstWait   = time.Second // The wait doubles with each further failure.
	forgetAfter = time.Hour   // A failure is forgotten after this time.
	maxKeys     = 20_000      // The number of entries in a table.
	maxKnown    = 64          // Clients that are known for one name. The client that proved the password longest ago is forgotten first.
)

// rule is how failures of one kind are counted: the number of free failures, and the longest wait.
type rule struct {
	free int
	most time.Duration
}

var (
	// One account from one client; and one client with any account.
	ofBoth   = rule{5, 5 * time.Minute}
	ofClient = rule{20, 5 * time.Minute}
	// One account from anywhere. Its waits are short, because otherwise strangers could lock the owner out.
	ofAccount = rule{30, 30 * time.Second}
	// One account from a client that serves many people.
	ofMany = rule{5, 30 * time.Second}
)

const (
	// longestTurn is how long an attempt waits in the queue.
	longestTurn = 10 * time.Second
	// knownFor is how long a client stays known after it proved an account's password. A known client does
	// not wait because of failures from elsewhere.
	knownFor = 24 * time.Hour
)

// ErrBusy is returned if a sign-in attempt times out in the queue.
var ErrBusy = errors.New("login: too many attempts are waiting")

// Client is the origin of an attempt.
type Client struct {
	Key string
	// Many marks a client that serves many people, such as a webmail program on this machine. Failures with
	// one name are counted, but failures with different names are not added up.
	Many bool
}

// Who describes a sign-in attempt.
type Who struct {
	Service, Name string
	From          Client
	// Unknown means that the name does not exist. Entries for such names may be evicted, because there is no
	// password to guess. A client can't learn from its wait whether a name exists.
	Unknown bool
}

// Throttle delays sign-in attempts after failures, by the account that is named, whether it exists or not,
// and by the client. It is for the network only: the host's own socket is never throttled.
//
// An entry that still makes a client wait is never evicted; otherwise an attacker could fill the table and go
// on guessing. So only existing names have entries of their own there, and all other names of a client share
// one. The wait that a client is told comes from a second table, in which all names are treated alike and the
// oldest entry is evicted first.
type Throttle struct {
	now func() time.Time

	mu      sync.Mutex
	binding *table                          // Decides how long attempts wait.
	hints   *table                          // The waits that clients are told, for every name; see Hint.
	known   map[string]map[string]time.Time // By account: the clients that proved its password, and when.
	trying  map[string]int
	waiting map[string]*list.List // By account: of *waiter, in order of arrival.
}

// waiter is an attempt in the queue.
type waiter struct {
	keys keys
	look chan struct{}
}

// NewThrottle returns a throttle without failures.
func NewThrottle() *Throttle {
	t := &Throttle{now: time.Now, known: make(map[string]map[string]time.Time), trying: make(map[string]int), waiting: make(map[string]*list.List)}
	clock := func() time.Time { return t.now() }
	t.binding, t.hints = newTable(clock, true), newTable(clock, false)
	return t
}

// Canonical returns the spelling of a name under which its failures are counted.
func Canonical(name string) string {
	if len(name) > 320 {
		name = name[:320]
	}
	return cases.Fold().String(norm.NFKC.String(strings.TrimSpace(strings.ToValidUTF8(name, "?"))))
}

// Source returns the origin of a client: its address, or for IPv6 the network of one customer.
func Source(address netip.Addr) string {
	address = address.Unmap()
	if address.Is6() {
		if prefix, err := address.Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return address.String()
}

// key is a key under which an attempt is counted.
type key struct {
	name string
	rule rule
}

// keys are all keys of an attempt: the account together with the client, the account, and the client. The
// last is missing if the client serves many people.
type keys struct {
	both, account key
	client        *key
	from          string // The client, as in known.
	unknown       bool
}

func keysOf(w Who) keys {
	account := w.Service + " " + Canonical(w.Name)
	k := keys{
		both: key{"both " + w.From.Key + " " + account, ofBoth}, account: key{"account " + account, ofAccount},
		from: w.From.Key, unknown: w.Unknown,
	}
	if w.From.Many {
		k.both.rule = ofMany
	} else {
		k.client = &key{"client " + w.From.Key, ofClient}
	}
	return k
}

// shared returns the key for the failures of all unknown names of a client.
func (k keys) shared() key { return key{"unknown " + k.from, ofAccount} }

// stored returns the keys of an attempt in the binding table.
func (k keys) stored() []key {
	all := []key{k.both, k.account}
	if k.unknown {
		all = []key{k.shared()}
	}
	if k.client != nil {
		all = append(all, *k.client)
	}
	return all
}

// counting returns the keys that can delay an attempt. A client that proved the account's password within a
// day does not wait because of failures from elsewhere. The caller holds mu.
func (t *Throttle) counting(k keys) []key {
	all := k.stored()
	if t.isKnown(k) {
		all = slices.Delete(all, 1, 2)
	}
	return all
}

// isKnown reports whether a client proved the account's password within a day. The caller holds mu.
func (t *Throttle) isKnown(k keys) bool {
	at, ok := t.known[k.account.name][k.from]
	return ok && !k.unknown && t.now().Sub(at) < knownFor
}

// Outcome is the result of an attempt.
type Outcome int

// The outcomes.
const (
	Undecided  Outcome = iota // The password could not be verified. The attempt does not count.
	Failed                    // The name exists, and the password is wrong.
	NoSuchName                // The name does not exist.
	Succeeded
)

// Try admits an attempt to prove an account's password. If wait is greater than 0, the attempt must be put
// off for that long. Otherwise the caller verifies the password and reports the outcome to done. Only as many
// attempts run at once as failures are left before a wait begins, so that parallel guesses gain nothing;
// further attempts wait in order of arrival. The error is ctx's or ErrBusy.
func (t *Throttle) Try(ctx context.Context, who Who) (wait time.Duration, done func(Outcome), err error) {
	k := keysOf(who)
	ctx, cancel := context.WithTimeoutCause(ctx, longestTurn, ErrBusy)
	defer cancel()
	t.mu.Lock()
	defer t.mu.Unlock()
	account := k.account.name
	queue := t.waiting[account]
	if queue == nil {
		queue = list.New()
		t.waiting[account] = queue
	}
	own := &waiter{keys: k, look: make(chan struct{}, 1)}
	place := queue.PushBack(own)
	defer func() {
		queue.Remove(place)
		if queue.Len() == 0 && t.waiting[account] == queue {
			delete(t.waiting, account)
		}
		t.wake() // There may be room for the next attempt, too.
	}()
	for {
		if wait = t.wait(k); wait > 0 {
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
	for _, k := range k.turns() {
		t.trying[k.name]++
	}
	return 0, func(o Outcome) { t.over(k, o) }, nil
}

// turns returns the keys for which only a few attempts may run at once. They are the same for existing and
// unknown names; otherwise the order of answers would tell them apart.
func (k keys) turns() []key {
	all := []key{k.both, k.account}
	if k.client != nil {
		all = append(all, *k.client)
	}
	return all
}

// next returns the first attempt of a queue that may run. If a client has all its attempts running, it blocks
// only itself. The caller holds mu.
func (t *Throttle) next(queue *list.List) *list.Element {
	for e := queue.Front(); e != nil; e = e.Next() {
		k := e.Value.(*waiter).keys
		full := false
		for _, turn := range k.turns() {
			if turn == k.account && t.isKnown(k) {
				continue // A known client does not wait for attempts from elsewhere.
			}
			failed := max(t.binding.failed(turn), t.hints.failed(turn))
			full = full || t.trying[turn.name] >= max(1, turn.rule.free-failed)
		}
		if !full {
			return e
		}
	}
	return nil
}

// wake wakes the attempts that may run. The caller holds mu.
func (t *Throttle) wake() {
	for _, queue := range t.waiting {
		if e := t.next(queue); e != nil {
			select {
			case e.Value.(*waiter).look <- struct{}{}:
			default: // It was woken already.
			}
		}
	}
}

// over records the outcome of an attempt.
func (t *Throttle) over(k keys, o Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, turn := range k.turns() {
		if t.trying[turn.name]--; t.trying[turn.name] == 0 {
			delete(t.trying, turn.name)
		}
	}
	k.unknown = k.unknown || o == NoSuchName
	switch o {
	case Failed, NoSuchName:
		for _, stored := range k.stored() {
			t.binding.count(stored)
		}
		t.hints.count(k.both)
	case Succeeded:
		// Failures with this account's name are forgotten. Failures of the same client with other names are
		// not: the owner of one account must not use it to guess at others.
		t.binding.forget(k.both.name)
		t.binding.forget(k.account.name)
		t.hints.forget(k.both.name)
		t.prove(k)
	}
	t.wake()
}

// prove records that a client proved an account's password. Only the owner of a password can create these
// entries, and each account has few of them. The caller holds mu.
func (t *Throttle) prove(k keys) {
	clients := t.known[k.account.name]
	if clients == nil {
		clients = make(map[string]time.Time)
		t.known[k.account.name] = clients
	}
	clients[k.from] = t.now()
	for len(clients) > maxKnown {
		oldest := k.from
		for client, at := range clients {
			if at.Before(clients[oldest]) {
				oldest = client
			}
		}
		delete(clients, oldest)
	}
	if len(t.known) > maxKeys {
		for account, clients := range t.known {
			for client, at := range clients {
				if t.now().Sub(at) >= knownFor {
					delete(clients, client)
				}
			}
			if len(clients) == 0 {
				delete(t.known, account)
			}
		}
	}
}

// wait returns how long an attempt must be put off. The caller holds mu.
func (t *Throttle) wait(k keys) time.Duration {
	wait := t.hints.wait(k.both)
	own := t.isKnown(k)
	for _, stored := range t.counting(k) {
		if own && !t.binding.has(stored) {
			continue // The overflow entry is for strangers.
		}
		wait = max(wait, t.binding.wait(stored))
	}
	return wait
}

// Wait returns how long an attempt must be put off, or 0.
func (t *Throttle) Wait(who Who) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wait(keysOf(who))
}

// Hint returns the wait that a client may be told: it depends on the client's own failures, with this name
// and with all names. It does not reveal that others make the account wait, or whether the account exists.
func (t *Throttle) Hint(who Who) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := keysOf(who)
	wait := t.hints.wait(k.both)
	if k.client != nil {
		wait = max(wait, t.binding.wait(*k.client))
	}
	return wait
}

// Size returns the number of remembered failures.
func (t *Throttle) Size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.binding.entries) + len(t.hints.entries)
}
