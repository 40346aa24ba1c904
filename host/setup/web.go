package setup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/account"
	"github.com/liveapid/liveapid/host/budget"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/pam"
	"github.com/liveapid/liveapid/host/passfile"
	"github.com/liveapid/liveapid/host/web"
	"github.com/liveapid/liveapid/host/web/cert"
	"github.com/liveapid/liveapid/host/worker"
	"github.com/liveapid/liveapid/protocol"
)

// verifyTime is how long verifying a mailbox's password may take.
const verifyTime = 10 * time.Second

// retryListen is how often a port that another program has is tried again.
const retryListen = 5 * time.Second

// ServeWeb serves the HTTPS API, which was opened, until ctx ends, then drains for at most grace. A
// port that can't be had is an error in the log: the socket is served all the same.
func (rt *Runtime) ServeWeb(ctx context.Context, grace time.Duration) {
	c := rt.config.Web
	var all sync.WaitGroup
	defer all.Wait()
	for _, l := range []struct {
		service web.Service
		at      string
		tls     bool
	}{
		{web.CPanel, c.CPanel, true}, {web.WHM, c.WHM, true}, {web.Webmail, c.Webmail, true},
		{web.CPanel, c.PlainCPanel, false}, {web.WHM, c.PlainWHM, false}, {web.Webmail, c.PlainWebmail, false},
	} {
		if l.at == "" {
			continue
		}
		server := rt.front.Server(l.service, nil)
		if l.tls {
			server = rt.front.Server(l.service, rt.certificate.Get)
		}
		all.Go(func() {
			listener := rt.listenWeb(ctx, string(l.service), l.at)
			if listener == nil {
				return
			}
			if err := web.Serve(ctx, server, listener, grace); err != nil {
				rt.log.Error("the HTTPS API ended", "service", string(l.service), "error", err.Error())
			}
		})
	}
}

// listenWeb listens as soon as the port can be had; nil where ctx ends before.
func (rt *Runtime) listenWeb(ctx context.Context, service, at string) net.Listener {
	for said := false; ; {
		l, err := net.Listen("tcp", at)
		if err == nil {
			rt.log.Info("listening", "service", service, "address", l.Addr().String())
			return l
		}
		if !said {
			rt.log.Error("the port can't be had; it is tried again", "service", service, "error", err.Error())
			said = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryListen):
		}
	}
}

// OpenWeb makes the front of the HTTPS API, and what it keeps. Call it before anything is served.
func (rt *Runtime) OpenWeb() error {
	c := rt.config.Web
	if err := os.MkdirAll(c.State, 0o700); err != nil {
		return fmt.Errorf("web.state: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Stat(c.State, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Mode&0o077 != 0 || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("web.state: %s must be a folder of the host's own user, of mode 700: it has secrets", c.State)
	}
	var err error
	if c.Certificate != "" {
		rt.certificate, err = cert.Files(c.Certificate, c.Key, rt.log)
	} else {
		rt.certificate, err = cert.SelfSigned(c.State, c.Hosts, rt.log)
	}
	if err != nil {
		return err
	}
	passwords, err := rt.openPasswords(c)
	if err != nil {
		return err
	}
	proxies, err := c.ProxyNetworks()
	if err != nil {
		return err
	}
	if c.AccessLog != "" {
		if rt.access, err = web.OpenAccessLog(c.AccessLog, rt.log); err != nil {
			return err
		}
	}
	o := web.Options{
		Backend: backend{rt}, Tokens: rt.tokens, Passwords: passwords, Resellers: c.Resellers, Hosts: c.Hosts, Proxies: proxies,
		Certified: rt.certificate.Names, Access: rt.access, Log: rt.log,
	}
	if rt.Metrics != nil {
		o.Observe = func(s web.Service, status int, took time.Duration) { rt.Metrics.Request(string(s), status, took) }
	}
	rt.mu.Lock()
	rt.front = web.New(o)
	rt.mu.Unlock()
	rt.endUnknownTokens()
	return nil
}

// shadow is where the system keeps its passwords, as far as they are in a file.
const shadow = "/etc/shadow"

// openPasswords returns what verifies the accounts' passwords.
func (rt *Runtime) openPasswords(c config.Web) (web.Passwords, error) {
	if c.Passwords != config.PAM {
		return passfile.Open(c.Passwords)
	}
	program := c.PAMProgram()
	if rt.config.Mode == config.Server {
		if err := worker.CheckTrusted(program); err != nil {
			return nil, fmt.Errorf("web.passwords: %w", err)
		}
	}
	if _, err := os.Stat("/etc/pam.d/" + pam.Service); err != nil {
		// PAM would take its fallback, which lets nobody in, or whoever "other" says.
		return nil, fmt.Errorf("web.passwords: PAM needs a configuration for this service: %w", err)
	}
	stamps, err := passfile.Open(shadow)
	return pamPasswords{pam.New(program), stamps}, err
}

// pamPasswords asks PAM for passwords. That one was changed is seen where the system's own file has it.
type pamPasswords struct {
	*pam.Checker
	stamps *passfile.File
}

// Stamp implements web.Passwords.
func (p pamPasswords) Stamp(name string) (string, error) { return p.stamps.Stamp(name) }

// endTokens ends what an account that is no more, or is another one now, could sign in with. One
// that is suspended keeps its tokens, and can't use them.
func (rt *Runtime) endTokens(name string) {
	rt.mu.Lock()
	front := rt.front
	rt.mu.Unlock()
	if front != nil {
		front.EndAccount(name)
	}
	if rt.tokens == nil {
		return
	}
	if _, err := rt.accounts.ByName(name); errors.Is(err, account.ErrSuspended) {
		return
	}
	if err := rt.tokens.RevokeUser(name, rt.uidOf(name)); err != nil {
		rt.log.Error("an account ended, and its tokens can't be", "account", name, "error", err.Error())
	}
	if err := EndPassword(&rt.config.Web, name); err != nil {
		rt.log.Error("an account ended, and its password can't be", "account", name, "error", err.Error())
	}
}

// uidOf returns the uid of whoever has a name now; -1 where nobody has.
func (rt *Runtime) uidOf(name string) int {
	if a, err := rt.accounts.ByName(name); err == nil {
		return a.UID
	}
	return -1
}

// EndPassword takes a name's password out of the file that is the HTTPS API's own; /etc/shadow is
// the system's.
func EndPassword(c *config.Web, name string) error {
	if filepath.Dir(c.Passwords) != c.State {
		return nil
	}
	_, err := passfile.Set(c.Passwords, name, protocol.Secret{})
	return err
}

// endUnknownTokens ends the tokens of accounts that went while no host ran.
func (rt *Runtime) endUnknownTokens() {
	if rt.accounts == nil {
		return
	}
	all, err := rt.tokens.List("")
	if err != nil {
		rt.log.Error("no token counts", "error", err.Error())
		return
	}
	for _, t := range all {
		a, err := rt.accounts.ByName(t.User)
		if t.User != "root" && (errors.Is(err, account.ErrUnknown) || a.UID != t.UID && !errors.Is(err, account.ErrUnknown)) && !rt.accounts.Unreadable(t.User) {
			rt.endTokens(t.User)
		}
	}
	if filepath.Dir(rt.config.Web.Passwords) != rt.config.Web.State {
		return
	}
	names, err := passfile.Names(rt.config.Web.Passwords)
	if err != nil {
		rt.log.Error("the passwords can't be looked through", "error", err.Error())
	}
	for _, name := range names {
		if _, err := rt.accounts.ByName(name); name != "root" && errors.Is(err, account.ErrUnknown) && !rt.accounts.Unreadable(name) {
			rt.endTokens(name)
		}
	}
}

// backend is what the HTTPS API asks of the host.
type backend struct{ rt *Runtime }

var _ web.Backend = backend{}

// Do implements web.Backend.
func (b backend) Do(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result {
	return b.rt.door().Do(ctx, caller, call)
}

// Account implements web.Backend.
func (b backend) Account(name string) (protocol.Account, error) {
	if b.rt.accounts != nil {
		a, err := b.rt.accounts.ByName(name)
		if err == nil && b.rt.isRefused(a.UID) {
			err = fmt.Errorf("%w: it is refused by the configuration", account.ErrUnknown)
		}
		return a, err
	}
	a, err := b.rt.account()
	if err == nil && a.Name != name {
		err = fmt.Errorf("%w: name %.40q", account.ErrUnknown, name)
	}
	return a, err
}

// Accounts implements web.Backend.
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

// Modules implements web.Backend.
func (b backend) Modules(ctx context.Context, a protocol.Account) ([]protocol.Module, error) {
	return b.rt.Host.Modules(ctx, a)
}

// VerifyMailbox implements web.Backend. What strangers try does not count against the account's own
// calls.
func (b backend) VerifyMailbox(ctx context.Context, address string, password protocol.Secret) (a protocol.Account, ok bool, err error) {
	at := strings.LastIndexByte(address, '@')
	if at < 1 {
		return a, false, nil
	}
	domain := account.ASCIIDomain(address[at+1:])
	if b.rt.accounts != nil {
		a, err = b.rt.accounts.ByDomain(domain)
	} else if a, err = b.rt.account(); err == nil && !hasDomain(a, domain) {
		err = account.ErrUnknown
	}
	if errors.Is(err, account.ErrUnknown) || errors.Is(err, account.ErrSuspended) {
		return a, false, nil
	}
	if err != nil {
		return a, false, err
	}
	leave, err := b.rt.signIns.enter(ctx, a.Name)
	if err != nil {
		return a, false, err
	}
	// Who hangs up must not look like a worker that does not answer.
	ctx, end := budget.Scope(context.WithoutCancel(ctx))
	defer end()
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
		return a, isNumber && n == 1, nil
	case result.Err.Kind == protocol.KindUnavailable, result.Err.Kind == protocol.KindInternal:
		return a, false, result.Err
	}
	return a, false, nil
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
