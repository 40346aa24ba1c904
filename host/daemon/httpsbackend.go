package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/liveapid/liveapid/host/admission"
	"github.com/liveapid/liveapid/host/front/https"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/protocol"
)

// verifyTime is how long verifying a mailbox's password may take.
const verifyTime = 10 * time.Second

// backend is what the HTTPS API asks of the host.
type backend struct{ rt *Runtime }

var _ https.Backend = backend{}

// Do implements https.Backend.
func (b backend) Do(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result {
	return b.rt.checked().Do(ctx, caller, call)
}

// Account implements https.Backend.
func (b backend) Account(name string) (protocol.Account, error) {
	if b.rt.accounts != nil {
		a, err := b.rt.accounts.ByName(name)
		if err == nil && b.rt.isRefused(a.UID) {
			err = fmt.Errorf("%w: it is refused by the configuration", account.ErrUnknown)
		}
		return a, err
	}
	a, err := b.rt.acting()
	if a.Name != "" && a.Name != name {
		err = fmt.Errorf("%w: name %.40q", account.ErrUnknown, name)
	}
	return a, err
}

// Accounts implements https.Backend.
func (b backend) Accounts() []protocol.Account {
	if b.rt.accounts != nil {
		var all []protocol.Account
		for _, name := range b.rt.accounts.Names() {
			if a, err := b.rt.accounts.ByName(name); err == nil || errors.Is(err, account.ErrSuspended) {
				all = append(all, a)
			}
		}
		return all
	}
	a, err := b.rt.account()
	if err != nil {
		return nil
	}
	return []protocol.Account{a}
}

// Modules implements https.Backend.
func (b backend) Modules(ctx context.Context, a protocol.Account) (all []protocol.Module, missing []string) {
	all, broken := b.rt.Host.Modules(ctx, a)
	for _, m := range broken {
		b.rt.log.Error("a module can't be described", "modules", m.Modules, "account", a.Name, "error", m.Err.Error())
		missing = append(missing, cmp.Or(strings.Join(m.Modules, ", "), "a module that can't say its name"))
	}
	return all, missing
}

// VerifyMailbox implements https.Backend. What strangers try does not count against the account's own
// calls.
func (b backend) VerifyMailbox(ctx context.Context, address string, password protocol.Secret) (a protocol.Account, _ https.Verdict, err error) {
	at := strings.LastIndexByte(address, '@')
	if at < 1 {
		return a, https.NoSuchMailbox, nil
	}
	domain := account.ASCIIDomain(address[at+1:])
	if b.rt.accounts != nil {
		a, err = b.rt.accounts.ByDomain(domain)
	} else if a, err = b.rt.acting(); err == nil && !hasDomain(a, domain) {
		err = account.ErrUnknown
	}
	if errors.Is(err, account.ErrUnknown) || errors.Is(err, account.ErrSuspended) {
		return a, https.NoSuchMailbox, nil
	}
	if err != nil {
		return a, https.NoSuchMailbox, err
	}
	leave, err := b.rt.signIns.enter(ctx, a.Name)
	if err != nil {
		return a, https.NoSuchMailbox, err
	}
	// Who hangs up must not look like a worker that does not answer.
	ctx, scope := admission.WithScope(context.WithoutCancel(ctx), nil)
	defer scope.End()
	ctx, cancel := context.WithTimeout(ctx, verifyTime)
	defer cancel()
	defer func() { leave(ctx.Err() != nil) }()
	result := b.rt.Host.Do(ctx, protocol.Caller{Account: a, Role: protocol.RoleMailServer, Door: "webmail"}, protocol.Call{
		API: protocol.UAPI, Module: "Email", Func: "verify_password",
		Args: protocol.Args{Named: map[string]any{"email": address, "password": password.Reveal()}},
	})
	switch {
	case result.Err == nil:
		n, isNumber := result.Data.(int64)
		if u, isUnsigned := result.Data.(uint64); isUnsigned {
			n, isNumber = int64(u&1), true
		}
		if isNumber && n == 1 {
			return a, https.RightPassword, nil
		}
		return a, https.WrongPassword, nil
	case result.Err.Kind == protocol.KindUnavailable, result.Err.Kind == protocol.KindInternal:
		return a, https.NoSuchMailbox, result.Err
	case result.Err.Kind == protocol.KindFailed: // It is there, and its hash is of a kind that is not verified.
		return a, https.WrongPassword, nil
	}
	return a, https.NoSuchMailbox, nil
}

// Owned implements https.Backend.
func (b backend) Owned(domain string) bool {
	if b.rt.accounts != nil {
		return b.rt.accounts.Owner(domain) != ""
	}
	a, err := b.rt.acting()
	return err == nil && hasDomain(a, domain)
}

// Tenant implements https.Backend.
func (b backend) Tenant(uid int) bool {
	if b.rt.accounts == nil {
		return false
	}
	_, err := b.rt.accounts.ByUID(uid)
	return !errors.Is(err, account.ErrUnknown)
}

func hasDomain(a protocol.Account, domain string) bool {
	for _, own := range a.Domains {
		if own == domain {
			return true
		}
	}
	return false
}

// signIns shares the verifying of mailboxes' passwords out among the accounts: so many of one at once,
// the others wait.
type signIns struct {
	mu       sync.Mutex
	accounts map[string]*signInsOf
}

type signInsOf struct {
	places   chan struct{}
	users    int
	restTill time.Time
}

// signInsEach is how many of one account are verified at once.
const signInsEach = 4

// enter waits for a place. The caller must call leave, and say whether no answer came in time.
func (s *signIns) enter(ctx context.Context, name string) (leave func(late bool), err error) {
	s.mu.Lock()
	if s.accounts == nil {
		s.accounts = make(map[string]*signInsOf)
	}
	a := s.accounts[name]
	if a == nil {
		a = &signInsOf{places: make(chan struct{}, signInsEach)}
		s.accounts[name] = a
	}
	resting := time.Now().Before(a.restTill)
	a.users++
	s.mu.Unlock()
	gone := func(late bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		a.users--
		if late {
			a.restTill = time.Now().Add(lookupRest)
		} else if a.users == 0 && !time.Now().Before(a.restTill) {
			delete(s.accounts, name)
		}
	}
	if resting {
		gone(false)
		return nil, fmt.Errorf("account %s: its worker did not answer a moment ago", name)
	}
	timer := time.NewTimer(verifyTime)
	defer timer.Stop()
	select {
	case a.places <- struct{}{}:
	case <-timer.C:
		gone(false)
		return nil, fmt.Errorf("account %s: too many sign in at once", name)
	case <-ctx.Done():
		gone(false)
		return nil, ctx.Err()
	}
	return func(late bool) {
		<-a.places
		gone(late)
	}, nil
}
