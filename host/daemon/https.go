package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/front/https"
	"github.com/liveapid/liveapid/host/front/https/cert"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/host/identity/pam"
	"github.com/liveapid/liveapid/host/identity/passwdfile"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/protocol"
)

// retryListen is how often a port that another program has is tried again.
const retryListen = 5 * time.Second

// ServeWeb serves the HTTPS API, which was opened, until ctx ends, then drains for at most grace. A
// port that can't be had is an error in the log: the socket is served all the same.
func (rt *Runtime) ServeWeb(ctx context.Context, grace time.Duration) {
	c := rt.webConfig()
	var all sync.WaitGroup
	defer all.Wait()
	for _, l := range []struct {
		service https.Service
		at      string
		tls     bool
	}{
		{https.CPanel, c.CPanel, true}, {https.WHM, c.WHM, true}, {https.Webmail, c.Webmail, true},
		{https.CPanel, c.PlainCPanel, false}, {https.WHM, c.PlainWHM, false}, {https.Webmail, c.PlainWebmail, false},
	} {
		if l.at == "" {
			continue
		}
		server := rt.front.Server(l.service)
		all.Go(func() {
			listener := rt.listenWeb(ctx, string(l.service), l.at)
			if listener == nil {
				return
			}
			certificate := rt.certificate.Get
			if !l.tls {
				certificate = nil
			}
			if err := https.Serve(ctx, server, rt.front.Listener(listener, certificate), grace); err != nil {
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

// webConfig is the part of the configuration, which a reload replaces.
func (rt *Runtime) webConfig() config.Web {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	return rt.config.Web
}

// OpenWeb makes the front of the HTTPS API, and what it keeps. Call it before anything is served.
func (rt *Runtime) OpenWeb() error {
	c := rt.webConfig()
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
		if rt.access, err = https.OpenAccessLog(c.AccessLog, rt.log); err != nil {
			return err
		}
	}
	o := https.Options{
		Backend: backend{rt}, Tokens: rt.tokens, Passwords: passwords, Resellers: c.Resellers, Hosts: c.Hosts, Proxies: proxies,
		Certified: rt.certificate.Names, Connections: rt.connections(c), HTTP2: c.HTTP2,
		Intake: rt.intake, Enter: rt.enterHeavy, Access: rt.access, Pace: rt.work.Pace, Log: rt.log,
	}
	if rt.Metrics != nil {
		o.Observe = func(s https.Service, status int, took time.Duration) { rt.Metrics.Request(string(s), status, took) }
	}
	rt.mu.Lock()
	rt.front = https.New(o)
	rt.mu.Unlock()
	rt.endUnknownTokens()
	return nil
}

// shadow is where the system keeps its passwords, as far as they are in a file.
const shadow = "/etc/shadow"

// openPasswords returns what verifies the accounts' passwords.
func (rt *Runtime) openPasswords(c config.Web) (https.Passwords, error) {
	if c.Passwords != config.PAM {
		return passwdfile.Open(c.Passwords)
	}
	program := c.PAMProgram()
	if rt.config.Mode == config.Server {
		if err := isolate.CheckTrusted(program); err != nil {
			return nil, fmt.Errorf("web.passwords: %w", err)
		}
	}
	if _, err := os.Stat("/etc/pam.d/" + pam.Service); err != nil {
		// PAM would take its fallback, which lets nobody in, or whoever "other" says.
		return nil, fmt.Errorf("web.passwords: PAM needs a configuration for this service: %w", err)
	}
	stamps, err := passwdfile.Open(shadow)
	return pamPasswords{Checker: pam.New(program), stamps: stamps}, err
}

// pamPasswords asks PAM for passwords. That one was changed is seen where the system's own file has it.
type pamPasswords struct {
	*pam.Checker
	stamps *passwdfile.File
}

// Stamp implements https.Passwords.
func (p pamPasswords) Stamp(name string) (string, error) { return p.stamps.Stamp(name) }

// endTokens ends what an account that is no more, or is another one now, could sign in with. One
// that is suspended, or can't be read at the moment, keeps its tokens, and can't use them.
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
	if _, err := rt.accounts.ByName(name); errors.Is(err, account.ErrSuspended) || rt.accounts.Unreadable(name) {
		return
	}
	if err := rt.tokens.RevokeUser(name, rt.uidOf(name)); err != nil {
		rt.log.Error("an account ended, and its tokens can't be", "account", name, "error", err.Error())
	}
	if err := EndPassword(rt.webConfig(), name); err != nil {
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
func EndPassword(c config.Web, name string) error {
	if filepath.Dir(c.Passwords) != c.State {
		return nil
	}
	_, err := passwdfile.Set(c.Passwords, name, protocol.Secret{})
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
	c := rt.webConfig()
	if filepath.Dir(c.Passwords) != c.State {
		return
	}
	names, err := passwdfile.Names(c.Passwords)
	if err != nil {
		rt.log.Error("the passwords can't be looked through", "error", err.Error())
	}
	for _, name := range names {
		if _, err := rt.accounts.ByName(name); name != "root" && errors.Is(err, account.ErrUnknown) && !rt.accounts.Unreadable(name) {
			rt.endTokens(name)
		}
	}
}
