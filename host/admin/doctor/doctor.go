// Package doctor implements the command liveapi doctor: it checks an installation, and prints for each part
// whether the part works, and if not, how to repair it. It repairs nothing.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/admin/accounts"
	"github.com/liveapid/liveapid/host/admin/plugins"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/cpaneldir"
	"github.com/liveapid/liveapid/host/front/control"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/host/record/audit"
	"github.com/liveapid/liveapid/protocol"
)

// diagnosis is the state of one run of Examine.
type diagnosis struct {
	report func(plugins.Finding)
}

func (d *diagnosis) well(format string, args ...any) {
	d.add(plugins.Good, fmt.Sprintf(format, args...))
}
func (d *diagnosis) note(format string, args ...any) {
	d.add(plugins.Note, fmt.Sprintf(format, args...))
}
func (d *diagnosis) bad(format string, args ...any) {
	d.add(plugins.Problem, fmt.Sprintf(format, args...))
}

func (d *diagnosis) add(kind plugins.Kind, text string) {
	d.report(plugins.Finding{Kind: kind, Text: text})
}

// Print prints a finding to out. If text has several lines, the second and all further lines are indented.
func Print(out io.Writer, kind plugins.Kind, text string) {
	_, _ = fmt.Fprintf(out, "%-5s  %s\n", kind, strings.ReplaceAll(text, "\n", "\n       "))
}

// Examine checks the whole installation, and passes each finding to report as soon as it is known.
func Examine(ctx context.Context, c *config.Config, mail Mail, report func(plugins.Finding)) {
	d := &diagnosis{report: report}
	if c.Path() == "" {
		d.note("no configuration: a host serves the running user's own account")
	} else {
		d.well("configuration %s, %s mode", c.Path(), c.Mode)
	}
	if err := c.Exposed(); err != nil {
		d.bad("%v", err)
	}
	d.kernel()
	if c.Mode == config.Server {
		d.server(c)
	}
	if c.Web.On() {
		d.web(c)
	}
	accounts, wrong := accounts.Check(c)
	for _, w := range wrong {
		d.bad("%s", w)
	}
	if len(wrong) == 0 {
		d.well("%d accounts", len(accounts))
	}
	d.cpanelDir(c)
	if len(c.Socket) > protocol.MaxSocketPath {
		d.bad("socket %s: %d bytes, at most %d are possible: choose a shorter path", c.Socket, len(c.Socket), protocol.MaxSocketPath)
	}
	if c.Mode == config.Personal || os.Geteuid() == 0 {
		for _, f := range plugins.Check(ctx, c) {
			d.add(f.Kind, f.Text)
		}
	}
	d.mail(ctx, c, mail)
	d.audit(c)
	d.running(ctx, c)
}

// kernel checks that the kernel supports the system calls that the store requires.
func (d *diagnosis) kernel() {
	fd, err := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		d.bad("the kernel has no openat2 (%v): Linux 5.6 or newer is needed", err)
		return
	}
	_ = unix.Close(fd)
	d.well("the kernel has all needed system calls")
}

// cpanelDir says whose files programs written for cPanel find below /usr/local/cpanel.
func (d *diagnosis) cpanelDir(c *config.Config) {
	tree := cpaneldir.Tree{Root: cpaneldir.Root, Bindings: c.Bindings}
	switch state := tree.State(); state {
	case cpaneldir.Ours, cpaneldir.CPanel:
		d.well("%s %s", tree.Root, state)
	case cpaneldir.Other:
		d.note("%s %s; programs that load it do not use liveapid", tree.Root, state)
	case cpaneldir.None:
		d.note("%s %s: programs that load it run only with liveapi run, page and dev; to install it: liveapi cpanel-paths install", tree.Root, state)
	}
}

// server checks the requirements of server mode. Accounts and plugins are checked elsewhere.
func (d *diagnosis) server(c *config.Config) {
	if os.Geteuid() != 0 {
		d.bad("server mode needs root: run this as root, too")
		return
	}
	if helper, err := account.SystemUser(c.Helper); err != nil {
		d.bad("helper: %v: useradd --system --no-create-home --shell /usr/sbin/nologin %s", err, c.Helper)
	} else if _, err := isolate.HelperCredential(helper); err != nil {
		d.bad("%v", err)
	} else {
		d.well("the helper is %s, uid %d", c.Helper, helper.UID)
	}
	if c.Path() != "" {
		if err := isolate.CheckTrusted(c.Path()); err != nil {
			d.bad("configuration: %v", err)
		}
	}
	for _, dir := range []string{c.Accounts, c.PluginDir, c.Modules} {
		if dir == "" {
			continue
		}
		if err := isolate.CheckTrusted(dir); err != nil {
			d.bad("%v", err)
		}
	}
	more, _ := c.ReadPlugins(nil)
	programs := []string{c.ScriptWorker}
	for _, p := range append(c.Plugins, more...) {
		if len(p.Args) == 0 { // With arguments, the path is probably a shared interpreter.
			programs = append(programs, p.Path)
		}
	}
	for _, path := range programs {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o044 != 0 {
			d.note("every user can read %s; with mode 711 an account can't look into its own workers (chmod 711 %s)", path, path)
		}
	}
	if len(c.Refuse) == 0 {
		if _, err := account.SystemUser("www-data"); err == nil {
			d.note(`the web server's user www-data is not in refuse; set refuse = ["www-data"] if an account could have its uid`)
		}
	}
}

func (d *diagnosis) audit(c *config.Config) {
	if c.Audit == "" {
		d.note("the audit log is off: set audit to a file to record every change")
		return
	}
	f, err := os.Open(c.Audit)
	if errors.Is(err, os.ErrNotExist) {
		if info, err := os.Stat(filepath.Dir(c.Audit)); err != nil || !info.IsDir() {
			d.bad("audit: the directory of %s does not exist", c.Audit)
		}
		return
	}
	if err != nil {
		d.bad("audit: %v", err)
		return
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.Mode().Perm()&0o077 != 0 {
		d.bad("audit: others may read or write %s: chmod 600 it", c.Audit)
	}
	var chain audit.Chain
	if err := chain.Verify(f); err != nil {
		d.bad("audit log %s: %v", c.Audit, err)
		return
	}
	d.well("the audit log has %d records, and its chain is complete", chain.Records)
}

// running checks whether a host is running. If the configuration names a control socket, running also reports
// the host's state and the workers that crash repeatedly.
func (d *diagnosis) running(ctx context.Context, c *config.Config) {
	if c.Control == "" {
		conn, err := net.DialTimeout("unix", c.Socket, 2*time.Second)
		if err != nil {
			d.note("no host listens on %s (%v)", c.Socket, err)
			return
		}
		_ = conn.Close()
		d.well("a host listens on %s", c.Socket)
		return
	}
	s, err := control.ReadHost(ctx, c.Control)
	if err != nil {
		d.note("%v", err)
		return
	}
	d.well("a host listens on %s: pid %d, %d sessions, %d workers", c.Socket, s.PID, s.Sessions, s.Workers)
	switch {
	case len(s.Cgroups) > 0:
		d.well("cgroups limit %s of workers", strings.Join(s.Cgroups, " and "))
	case c.Mode == config.Server:
		d.note("cgroups do not limit workers: the host checks the memory of workers four times a second instead. The unit in liveapid's package sets Delegate=, so that the host can create cgroups")
	}
	for _, p := range s.Plugins {
		for _, w := range p.Workers {
			if w.Crashes > 2 {
				d.bad("plugin %s: the worker of %q stopped %d times in a row; the log says why", p.Name, w.Account, w.Crashes)
			}
		}
	}
}
