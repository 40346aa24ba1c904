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
	"github.com/liveapid/liveapid/protocol"
)

// retryListen is the time between two attempts to listen on a port that another program uses.
const retryListen = 5 * time.Second

// ServeHTTPS serves the HTTPS API until ctx ends, then drains for at most grace. Call OpenHTTPS first. If
// another program uses a port, ServeHTTPS logs an error and keeps trying to listen; the other ports are
// served meanwhile.
func (rt *Runtime) ServeHTTPS(ctx context.Context, grace time.Duration) {
	c, front := rt.webConfig(), rt.web.front.Load()
	var all sync.WaitGroup
	defer all.Wait()
	for _, l := range []struct {
		service https.Service
		address string
		tls     bool
	}{
		{https.CPanel, c.CPanel, true}, {https.WHM, c.WHM, true}, {https.Webmail, c.Webmail, true},
		{https.CPanel, c.PlainCPanel, false}, {https.WHM, c.PlainWHM, false}, {https.Webmail, c.PlainWebmail, false},
	} {
		if l.address == "" {
			continue
		}
		all.Go(func() {
			listener := rt.listenTCP(ctx, string(l.service), l.address)
			if listener == nil {
				return
			}
			certificate := rt.web.certificate.Get
			if !l.tls {
				certificate = nil
			}
			if err := https.Serve(ctx, front.Server(l.service), front.Listener(listener, certificate), grace); err != nil {
				rt.log.Error("the HTTPS API stopped", "service", string(l.service), "error", err.Error())
			}
		})
	}
}

// listenTCP listens on address. If it can't, because another program uses the port, it tries again until it
// succeeds. It returns nil if ctx ends first.
func (rt *Runtime) listenTCP(ctx context.Context, service, address string) net.Listener {
	for logged := false; ; {
		l, err := net.Listen("tcp", address)
		if err == nil {
			rt.log.Info("listening", "service", service, "address", l.Addr().String())
			return l
		}
		if !logged {
			rt.log.Error("can't listen on the port; trying again every five seconds", "service", service, "error", err.Error())
			logged = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryListen):
		}
	}
}

func (rt *Runtime) webConfig() config.Web { return rt.state.Load().config.Web }

// OpenHTTPS prepares the HTTPS API: it opens the state directory, the certificate, the passwords and the
// access log. Call it before ServeHTTPS and before any other front door is served.
func (rt *Runtime) OpenHTTPS() error {
	c := rt.webConfig()
	if err := openState(c.State); err != nil {
		return err
	}
	var err error
	if c.Certificate != "" {
		rt.web.certificate, err = cert.Files(c.Certificate, c.Key, rt.log)
	} else {
		rt.web.certificate, err = cert.SelfSigned(c.State, c.Hosts, rt.log)
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
		if rt.records.access, err = https.OpenAccessLog(c.AccessLog, rt.log); err != nil {
			return err
		}
	}
	o := https.Options{
		Backend: backend{rt}, Admin: administration{rt}, Addresses: map[https.Service]string{https.CPanel: c.CPanel, https.WHM: c.WHM, https.Webmail: c.Webmail},
		Tokens: rt.web.tokens, Passwords: passwords, Resellers: c.Resellers, Hosts: c.Hosts, Proxies: proxies,
		SelfSigned: c.Certificate == "", Config: rt.ownConfig(), Certified: rt.web.certificate.Names, Connections: rt.connections(c), HTTP2: c.HTTP2, Repair: !c.StrictHeads && len(proxies) == 0,
		Intake: rt.limits.intake, Enter: rt.enterHeavy, Access: rt.records.access, Pace: rt.limits.work.Pace, Log: rt.log,
	}
	if rt.Metrics != nil {
		o.Observe = func(s https.Service, status int, took time.Duration) { rt.Metrics.Request(string(s), status, took) }
	}
	rt.web.front.Store(https.New(o))
	rt.revokeUnknown()
	return nil
}

// ownConfig returns the path of the configuration if commands don't find it by themselves, and if the account's
// user can read it: in personal mode.
func (rt *Runtime) ownConfig() string {
	c := rt.state.Load().config
	if c.Mode == config.Server || c.Path() == config.DefaultPath {
		return ""
	}
	return c.Path()
}

// openState makes the state directory dir if it does not exist, and returns an error unless the directory
// belongs to the host's user and is closed to everyone else.
func openState(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("web.state: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Mode&0o077 != 0 || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("web.state: %s must be a directory with mode 700 that belongs to the host's user, because it contains secrets", dir)
	}
	return nil
}

// shadow is the system's password file.
const shadow = "/etc/shadow"

// openPasswords returns the verifier of the accounts' passwords that c configures: PAM, or a file with
// passwords.
func (rt *Runtime) openPasswords(c config.Web) (https.Passwords, error) {
	if c.Passwords != config.PAM {
		return passwdfile.Open(c.Passwords)
	}
	program := c.PAMProgram()
	if check := rt.mode.trust(); check != nil {
		if err := check(program); err != nil {
			return nil, fmt.Errorf("web.passwords: %w", err)
		}
	}
	if _, err := os.Stat("/etc/pam.d/" + pam.Service); err != nil {
		// Without a configuration for the service, PAM would use the configuration called "other", which
		// rejects everyone or accepts everyone.
		return nil, fmt.Errorf("web.passwords: PAM has no configuration for the service liveapid: %w", err)
	}
	stamps, err := passwdfile.Open(shadow)
	return pamPasswords{Checker: pam.New(program), stamps: stamps}, err
}

// pamPasswords verifies passwords with PAM. PAM does not report that a password was changed. So pamPasswords
// reads changes from /etc/shadow, and can't detect a change of a password that is stored elsewhere.
type pamPasswords struct {
	*pam.Checker
	stamps *passwdfile.File
}

// Stamp implements https.Passwords. It returns the stamp from /etc/shadow.
func (p pamPasswords) Stamp(name string) (string, error) { return p.stamps.Stamp(name) }

// revoke ends the sign-ins of the account called name, which was removed, was suspended or belongs to another
// user now. It also revokes the account's tokens and deletes its password, except if the account is suspended
// or can't be read: the tokens are then unusable, but are kept for later.
func (rt *Runtime) revoke(name string) {
	if front := rt.web.front.Load(); front != nil {
		front.EndAccount(name)
	}
	if rt.web.tokens == nil {
		return
	}
	uid, known := rt.mode.credentialsOf(name)
	if !known {
		return
	}
	if err := rt.web.tokens.RevokeUser(name, uid); err != nil {
		rt.log.Error("can't revoke the tokens of a former account", "account", name, "error", err.Error())
	}
	if err := DeletePassword(rt.webConfig(), name); err != nil {
		rt.log.Error("can't delete the password of a former account", "account", name, "error", err.Error())
	}
}

// DeletePassword deletes the password of the account called name from the password file of the HTTPS API, if
// that file is in the state directory. A file of the system, such as /etc/shadow, stays as it is.
func DeletePassword(c config.Web, name string) error {
	if filepath.Dir(c.Passwords) != c.State {
		return nil
	}
	_, err := passwdfile.Set(c.Passwords, name, protocol.Secret{})
	return err
}

// revokeUnknown revokes the tokens and passwords of accounts that were removed while no host was running, and
// of accounts that belong to another user now.
func (rt *Runtime) revokeUnknown() {
	all, err := rt.web.tokens.List("")
	if err != nil {
		rt.log.Error("can't read the tokens; every request with a token is rejected", "error", err.Error())
		return
	}
	for _, t := range all {
		if uid, known := rt.mode.credentialsOf(t.User); t.User != "root" && known && uid != t.UID {
			rt.revoke(t.User)
		}
	}
	c := rt.webConfig()
	if filepath.Dir(c.Passwords) != c.State {
		return
	}
	names, err := passwdfile.Names(c.Passwords)
	if err != nil {
		rt.log.Error("can't look for passwords of former accounts", "error", err.Error())
	}
	for _, name := range names {
		_, known := rt.mode.credentialsOf(name)
		if _, err := rt.mode.byName(name); name != "root" && known && errors.Is(err, account.ErrUnknown) {
			rt.revoke(name)
		}
	}
}
