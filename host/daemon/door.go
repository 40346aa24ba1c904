package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/liveapid/liveapid/host/admission"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/front/session"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/protocol"
)

// checkedHost is where every call comes in: it looks whether the caller's account still is what it
// was when the session began, and counts the call.
type checkedHost struct{ rt *Runtime }

func (rt *Runtime) checked() session.Doer { return checkedHost{rt} }

// Do implements session.Doer.
func (d checkedHost) Do(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result {
	if d.rt.accounts != nil {
		a, err := d.rt.accounts.ByName(caller.Account.Name)
		if err == nil && (a.UID != caller.Account.UID || a.GID != caller.Account.GID) {
			err = fmt.Errorf("%w: it is another one now", account.ErrUnknown)
		}
		if err != nil {
			return protocol.Failed(refusal(err))
		}
		caller.Account = a
	} else {
		a, err := d.rt.acting()
		if err != nil {
			return protocol.Failed(refusal(err))
		}
		caller.Account = a
	}
	d.rt.mu.Lock()
	limiter := d.rt.limiter
	d.rt.mu.Unlock()
	leave, err := limiter.Enter(caller.Account.Name)
	if err != nil {
		// As often as a client likes: no more than a word for who looks for it.
		d.rt.log.Debug("call refused", "account", caller.Account.Name, "why", err.Message)
		return protocol.Failed(err)
	}
	// Until its answer has been written: a client that does not read holds its account's place.
	defer admission.Hold(ctx, leave)
	return d.rt.Host.Do(ctx, caller, call)
}

// enterHeavy counts work that is no call among an account's, as so many calls.
func (rt *Runtime) enterHeavy(account string, weight int) (leave func(), err *protocol.Error) {
	rt.mu.Lock()
	limiter := rt.limiter
	rt.mu.Unlock()
	return limiter.EnterHeavy(account, weight)
}

// refusal is what a caller without an account is told.
func refusal(err error) *protocol.Error {
	message := "Your account can't be read; tell the operator of this host."
	switch {
	case errors.Is(err, account.ErrShared):
		message = "Your account can't be told from another one; tell the operator of this host."
	case errors.Is(err, account.ErrUnknown):
		message = "Your user has no account on this host."
	case errors.Is(err, account.ErrSuspended):
		message = "Your account is suspended."
	}
	return &protocol.Error{Kind: protocol.KindDenied, Message: message, Err: err}
}

// identify maps the uid of a peer to a caller.
func (rt *Runtime) identify(uid int) (protocol.Caller, error) {
	caller := func(a protocol.Account) protocol.Caller {
		return protocol.Caller{Account: a, Role: protocol.RoleAccount, Door: "socket"}
	}
	denied := func(message string) (protocol.Caller, error) {
		return protocol.Caller{}, &protocol.Error{Kind: protocol.KindDenied, Err: fmt.Errorf("peer uid %d", uid), Message: message}
	}
	if rt.accounts == nil {
		if uid != os.Geteuid() {
			return denied("This host serves its own user only.")
		}
		a, err := rt.acting()
		if err != nil {
			return protocol.Caller{}, refusal(err)
		}
		return caller(a), nil
	}
	switch {
	case uid < isolate.MinTenantID || uid == 65534:
		return denied("System users have no account here. Become the account first (cpapi2 --user, liveapi run --user).")
	case rt.isRefused(uid):
		return denied("This user is refused by the host's configuration.")
	}
	a, err := rt.accounts.ByUID(uid)
	if err != nil {
		return protocol.Caller{}, refusal(err)
	}
	return caller(a), nil
}

// acting returns personal mode's account, or an error that says why it may not act.
func (rt *Runtime) acting() (protocol.Account, error) {
	a, err := rt.account()
	if err == nil && a.Suspended {
		err = fmt.Errorf("%w: %s", account.ErrSuspended, a.Name)
	}
	return a, err
}

func (rt *Runtime) isRefused(uid int) bool {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	return rt.refused[uid]
}

// reloadAccounts looks at the accounts anew, and ends what those had that are no more.
func (rt *Runtime) reloadAccounts() {
	ended, broken := rt.accounts.Reload()
	for _, err := range broken {
		rt.log.Error("an account, or a part of it, is left out", "error", err.Error())
	}
	if err := rt.accounts.SaveOwners(); err != nil {
		rt.log.Error("after a restart the host does not know whose the domains were", "error", err.Error())
	}
	rt.mu.Lock()
	server, plugins := rt.server, rt.plugins
	rt.mu.Unlock()
	for _, name := range ended {
		rt.log.Info("an account ended, or changed its user", "account", name)
		if server != nil {
			server.EndAccount(name)
		}
		rt.endTokens(name)
		for _, p := range plugins {
			rt.ending.Go(func() { p.supervisor.EndAccount(name) })
		}
	}
}

// Watch follows changes of the accounts until ctx ends.
func (rt *Runtime) Watch(ctx context.Context) {
	if rt.accounts == nil {
		return
	}
	if err := rt.accounts.Watch(ctx, rt.reloadAccounts); err != nil {
		rt.log.Error("changes of accounts are seen on SIGHUP only", "error", err.Error())
	}
}

// Serve serves the sessions of l until ctx ends, then drains for at most grace.
func (rt *Runtime) Serve(ctx context.Context, l *net.UnixListener, grace time.Duration) error {
	server := &session.Server{Doer: rt.checked(), Limits: rt.sessionLimits(), Intake: rt.intake, Log: rt.log, Identify: rt.identify}
	rt.mu.Lock()
	rt.server = server
	rt.mu.Unlock()
	served := make(chan error, 1)
	// Calls outlive ctx: draining lets them finish.
	go func() { served <- server.Serve(context.WithoutCancel(ctx), l) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		_ = l.Close()
		err = <-served
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	server.Shutdown(drain)
	return err
}

// DomainOwner returns the account that a domain is served to, or "".
func (rt *Runtime) DomainOwner(domain string) string {
	if rt.accounts == nil {
		return ""
	}
	return rt.accounts.Owner(domain)
}

// Mode is how many accounts the host serves.
func (rt *Runtime) Mode() config.Mode { return rt.config.Mode }
