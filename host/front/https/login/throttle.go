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
	maxKeys     = 20_000      // Entries of a table.
	maxKnown    = 64          // Clients from which one name is known; the one that proved it longest ago goes first.
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
	// Of one account from a client that many people use.
	ofMany = rule{5, 30 * time.Second}
)

const (
	// longestTurn is how long a try waits for others to be over.
	longestTurn = 10 * time.Second
	// knownFor is how long who proved an account's password from an address does not wait for those
	// who try the account from elsewhere.
	knownFor = 24 * time.Hour
)

// ErrBusy is returned if a try's turn did not come in time.
var ErrBusy = errors.New("login: too many tries are under way")

// Client is where a try comes from.
type Client struct {
	Key string
	// Many says that the programs of many people come from there, such as a webmail on this machine. Their
	// failures under one name are counted, and not those under all names together.
	Many bool
}

// Who is who tries to prove who it is.
type Who struct {
	Service, Name string
	From          Client
	// Unknown says that nobody has the name. What is kept of such names can be thrown away: there is
	// nothing to guess. Nobody outside can tell by a wait whether a name is unknown.
	Unknown bool
}

// Throttle has those wait who fail to prove who they are by a password: by the account they name,
// whether there is one or not, and by where they come from. It is for the network alone: nobody on
// the host's own socket waits for it.
//
// An entry that has somebody wait is never evicted, or an attacker who fills the table could guess on.
// So only names that exist have entries of their own there; all others of a client share one. What a
// client is told of its wait comes from a table of its own, in which all names are alike and the oldest
// entry goes first.
type Throttle struct {
	now func() time.Time

	mu      sync.Mutex
	binding *table                          // What decides who waits.
	hints   *table                          // What is told of it, of every name: see Hint.
	known   map[string]map[string]time.Time // By account: the clients that proved its password, and when.
	trying  map[string]int
	waiting map[string]*list.List // By account: of *waiter, who came first at the front.
}

// waiter is a try whose turn is to come.
type waiter struct {
	keys keys
	look chan struct{}
}

// NewThrottle returns a throttle that knows of no failure.
func NewThrottle() *Throttle {
	t := &Throttle{now: time.Now, known: make(map[string]map[string]time.Time), trying: make(map[string]int), waiting: make(map[string]*list.List)}
	clock := func() time.Time { return t.now() }
	t.binding, t.hints = newTable(clock, true), newTable(clock, false)
	return t
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

// keys are a try's: of the account from the client, of the account, of the client. The last is missing
// where many people's programs come from one client.
type keys struct {
	both, account key
	client        *key
	from          string // The client, as known has it.
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

// shared is under what the failures of all unknown names of a client are counted.
func (k keys) shared() key { return key{"unknown " + k.from, ofAccount} }

// stored returns the keys under which a try's failures are kept in the binding table.
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

// counting returns those of a try's keys that hold it up: who proved an account's password from a client
// within a day does not wait for those who try the account from elsewhere. It needs mu.
func (t *Throttle) counting(k keys) []key {
	all := k.stored()
	if t.isKnown(k) {
		all = slices.Delete(all, 1, 2)
	}
	return all
}

// isKnown reports whether a client proved the account's password within a day. It needs mu.
func (t *Throttle) isKnown(k keys) bool {
	at, ok := t.known[k.account.name][k.from]
	return ok && !k.unknown && t.now().Sub(at) < knownFor
}

// Outcome is what came of a try.
type Outcome int

// The outcomes.
const (
	Undecided  Outcome = iota // It could not be told: it does not count.
	Failed                    // The name exists, and the password is not its own.
	NoSuchName                // It failed, and nobody has the name.
	Succeeded
)

// Try lets somebody try to prove an account's password. wait is how long that has to be put off;
// where it is 0, the caller tries, and calls done with what came of it. As many may try at once as
// may still fail, so that guesses that are made together are no cheaper; the others have their turns
// in the order in which they came. The error is ctx's, or ErrBusy.
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
		t.wake() // The next one may have room, too.
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

// turns returns the keys of which only so many may try at once: those of the name, whether it exists or
// not, since the order of answers would tell.
func (k keys) turns() []key {
	all := []key{k.both, k.account}
	if k.client != nil {
		all = append(all, *k.client)
	}
	return all
}

// next returns the one of a queue whose turn it is: who came first of those for whom there is room. A
// client that has all its own tries under way holds up itself alone. It needs mu.
func (t *Throttle) next(queue *list.List) *list.Element {
	for e := queue.Front(); e != nil; e = e.Next() {
		k := e.Value.(*waiter).keys
		full := false
		for _, turn := range k.turns() {
			if turn == k.account && t.isKnown(k) {
				continue // It waits for nobody elsewhere.
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
		// What failed under the account's name is forgotten. Other names from the same client are not: who
		// owns one account must not guess at others for it.
		t.binding.forget(k.both.name)
		t.binding.forget(k.account.name)
		t.hints.forget(k.both.name)
		t.prove(k)
	}
	t.wake()
}

// prove notes from where an account's password was proved. Only who has a password makes entries here,
// and of each account there are few. It needs mu.
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

// wait returns how long a try has to be put off. It needs mu.
func (t *Throttle) wait(k keys) time.Duration {
	wait := t.hints.wait(k.both)
	own := t.isKnown(k)
	for _, stored := range t.counting(k) {
		if own && !t.binding.has(stored) {
			continue // The overflow is for strangers.
		}
		wait = max(wait, t.binding.wait(stored))
	}
	return wait
}

// Wait returns how long a try has to be put off; 0 is not at all.
func (t *Throttle) Wait(who Who) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wait(keysOf(who))
}

// Hint returns how long somebody may be told to wait: by its own failures under this name, and those of
// its client under all names. That others have the account wait is not told, nor whether there is one.
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

// Size returns how many failures it remembers.
func (t *Throttle) Size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.binding.entries) + len(t.hints.entries)
}
