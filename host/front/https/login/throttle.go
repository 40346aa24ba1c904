// Package login throttles sign-in attempts and stores the sessions of browsers. It does not verify passwords,
// and does not depend on HTTP.
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

// Limits of a Throttle.
const (
	firstWait   = time.Second // First wait of a key; each further failure doubles it.
	forgetAfter = time.Hour   // After this time without failures, a key's count restarts.
	maxKeys     = 20_000      // Maximum number of entries in a table.
	maxKnown    = 64          // Maximum known clients per account; the oldest is removed.
)

// rule defines how the failures of a key are counted: free is the number of failures without a wait, and most
// is the maximum wait.
type rule struct {
	free int
	most time.Duration
}

var (
	// ofBoth applies to the failures of one client with one account. ofClient applies to the failures of one
	// client with all accounts together.
	ofBoth   = rule{5, 5 * time.Minute}
	ofClient = rule{20, 5 * time.Minute}
	// ofAccount applies to the failures of all clients together with one account. Its waits are short,
	// because otherwise strangers could lock out the owner of the account.
	ofAccount = rule{30, 30 * time.Second}
	// ofMany applies instead of ofBoth if the client serves many people.
	ofMany = rule{5, 30 * time.Second}
)

const (
	// longestTurn is the maximum time that an attempt waits in the queue.
	longestTurn = 10 * time.Second
	// knownFor is how long a client stays known for an account after a sign-in with the right password. A
	// known client does not wait because of other clients' failures.
	knownFor = 24 * time.Hour
)

// ErrBusy is returned by Try if an attempt has waited in the queue for longestTurn.
var ErrBusy = errors.New("login: the attempt waited too long behind other attempts")

// Client is the origin of a sign-in attempt. Key is the name under which its failures are counted.
type Client struct {
	Key string
	// Many marks a client that serves many people, such as a webmail program on this machine. For such a
	// client, failures are counted for each account name separately and not for the client as a whole.
	Many bool
}

// Who describes a sign-in attempt: the service, the name that was entered, and the client.
type Who struct {
	Service, Name string
	From          Client
	// Unknown means that the name does not exist. In the binding table, the failures of all unknown names of
	// a client share one entry, because an attacker can't guess the password of a name that does not exist;
	// see Throttle. Nevertheless, the wait that a client is told does not reveal whether a name exists.
	Unknown bool
}

// Throttle delays sign-in attempts after failures. It counts failures by account name, whether or not the
// account exists, and by client. It is used only for the network: the host's own socket is never throttled.
// Its methods may be called concurrently.
//
// Two tables count the failures. The table binding protects the accounts. It never evicts an entry whose wait
// has not ended, because otherwise an attacker could fill the table to remove the entry and go on guessing.
// So that the table is not filled with invented names, only existing names have entries of their own in
// binding; all other names of a client share one entry. The table hints counts the failures of each name from
// each client. It treats existing and unknown names alike, and evicts the oldest entry when it is full. An
// attempt must wait until its waits in both tables have ended. The wait that a client is told is calculated
// by Hint, and does not reveal whether the name exists.
type Throttle struct {
	now func() time.Time

	mu      sync.Mutex
	binding *table                          // Protects the accounts; never evicts an unfinished wait.
	hints   *table                          // Failures per client and name, existing or not; see Hint.
	known   map[string]map[string]time.Time // By account: known clients, and their last sign-in.
	trying  map[string]int
	waiting map[string]*list.List // By account: a queue of *waiter, in order of arrival.
}

// waiter is a sign-in attempt that waits in the queue of its account. look receives a value when the attempt
// may be able to run, so that it checks this again.
type waiter struct {
	keys keys
	look chan struct{}
}

// NewThrottle returns a Throttle that has not recorded any failures.
func NewThrottle() *Throttle {
	t := &Throttle{now: time.Now, known: make(map[string]map[string]time.Time), trying: make(map[string]int), waiting: make(map[string]*list.List)}
	clock := func() time.Time { return t.now() }
	t.binding, t.hints = newTable(clock, true), newTable(clock, false)
	return t
}

// Canonical returns the form of a user name under which its failures are counted: normalized (NFKC), without
// regard to case or surrounding spaces, and truncated.
func Canonical(name string) string {
	if len(name) > 320 {
		name = name[:320]
	}
	return cases.Fold().String(norm.NFKC.String(strings.TrimSpace(strings.ToValidUTF8(name, "?"))))
}

// Source returns the part of an IP address that identifies a client: an IPv4 address itself, or the /64
// network of an IPv6 address, because a customer usually has a whole network.
func Source(address netip.Addr) string {
	address = address.Unmap()
	if address.Is6() {
		if prefix, err := address.Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return address.String()
}

// key is a name under which failures are counted, together with the rule that applies to them.
type key struct {
	name string
	rule rule
}

// keys contains the keys under which the failures of one attempt are counted: both is for this account from
// this client, account is for this account from all clients, and client is for all accounts from this client.
// client is nil if the client serves many people.
type keys struct {
	both, account key
	client        *key
	from          string // The client's name, as in Throttle.known.
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

// shared returns the key that all unknown names of a client share in the binding table.
func (k keys) shared() key { return key{"unknown " + k.from, ofAccount} }

// stored returns the keys under which a failure of the attempt is counted in the binding table.
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

// counting returns the keys of the binding table that can delay the attempt. For a known client, the key of
// the account with all clients is left out, because other clients' failures must not delay a known client.
// The caller holds mu.
func (t *Throttle) counting(k keys) []key {
	all := k.stored()
	if t.isKnown(k) {
		all = slices.Delete(all, 1, 2)
	}
	return all
}

// isKnown reports whether the client has signed in to the account within knownFor. The caller holds mu.
func (t *Throttle) isKnown(k keys) bool {
	at, ok := t.known[k.account.name][k.from]
	return ok && !k.unknown && t.now().Sub(at) < knownFor
}

// Outcome is the result of a sign-in attempt.
type Outcome int

// The outcomes.
const (
	Undecided  Outcome = iota // Could not be verified; the attempt does not count.
	Failed                    // The name exists, and the password is wrong.
	NoSuchName                // The name does not exist.
	Succeeded
)

// Try asks for permission to verify a password. If wait is greater than 0, the caller must reject the
// attempt; the client may try again after wait. Otherwise the caller verifies the password and then must call
// done with the outcome. At most as many attempts run at once as there may be further failures before a wait
// begins, but at least one attempt. Otherwise parallel guesses would get around the wait. Further attempts
// wait in order of arrival. Try returns ErrBusy if the attempt has waited for longestTurn. If ctx ends
// earlier, Try returns the cause of ctx.
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
		t.wake() // The next attempt in the queue may be able to run now.
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

// turns returns the keys for which the number of running attempts is limited. Existing and unknown names are
// treated alike; otherwise the order of the answers would reveal whether a name exists.
func (k keys) turns() []key {
	all := []key{k.both, k.account}
	if k.client != nil {
		all = append(all, *k.client)
	}
	return all
}

// next returns the first attempt in the queue that may run now, or nil. It skips attempts that have reached a
// limit, so a client with its maximum number of running attempts does not block other clients. The caller
// holds mu.
func (t *Throttle) next(queue *list.List) *list.Element {
	for e := queue.Front(); e != nil; e = e.Next() {
		k := e.Value.(*waiter).keys
		full := false
		for _, turn := range k.turns() {
			if turn == k.account && t.isKnown(k) {
				continue // Other clients' attempts don't delay a known client.
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

// wake notifies the first attempt of each queue that may run now. The caller holds mu.
func (t *Throttle) wake() {
	for _, queue := range t.waiting {
		if e := t.next(queue); e != nil {
			select {
			case e.Value.(*waiter).look <- struct{}{}:
			default: // The attempt was already notified.
			}
		}
	}
}

// over records the outcome of an attempt that has ended.
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
		// A success deletes the failures of this account. It does not delete the client's failures with other
		// names; otherwise the owner of one account could sign in to it again and again in order to guess
		// other accounts' passwords without a wait.
		t.binding.forget(k.both.name)
		t.binding.forget(k.account.name)
		t.hints.forget(k.both.name)
		t.prove(k)
	}
	t.wake()
}

// prove records in known that the client has signed in to the account. Only a client that sends the right
// password can create these entries, and each account has at most maxKnown entries. The caller holds mu.
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

// wait returns how long an attempt must still wait, or 0. The caller holds mu.
func (t *Throttle) wait(k keys) time.Duration {
	wait := t.hints.wait(k.both)
	own := t.isKnown(k)
	for _, stored := range t.counting(k) {
		if own && !t.binding.has(stored) {
			continue // The overflow entry does not apply to known clients.
		}
		wait = max(wait, t.binding.wait(stored))
	}
	return wait
}

// Wait returns how long a sign-in attempt with the data of who would have to wait, or 0. Calling Wait does
// not count as an attempt.
func (t *Throttle) Wait(who Who) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wait(keysOf(who))
}

// Hint returns the wait that the client may be told. It depends only on the client's own failures, with this
// name and with all names. So it reveals neither that other clients make the account wait, nor whether the
// account exists.
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

// Size returns the number of entries in both tables.
func (t *Throttle) Size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.binding.entries) + len(t.hints.entries)
}
