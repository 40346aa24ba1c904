package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"

	"github.com/liveapid/liveapid/host/admin"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/daemon"
	"github.com/liveapid/liveapid/host/front/unixsock"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/host/isolate/execas"
	"github.com/liveapid/liveapid/host/isolate/terminal"
	"github.com/liveapid/liveapid/protocol"
)

// On a server with many accounts, the commands use the running host, so that its workers, its limits and its
// audit log apply. They never start a host with an account's uid: other processes of the account could
// manipulate such a host, and could read from its memory data that only root may read.

// hostAccount returns the account for which a command runs in server mode. Root must name the account with
// --user. For any other user it is the user's own account, and --user may not name another account.
func hostAccount(c *config.Config, name string) (protocol.Account, error) {
	if os.Geteuid() == 0 {
		if name == "" {
			return protocol.Account{}, admin.Usage(errors.New("as root you must name the account: --user NAME"))
		}
		a, err := daemon.Sources(c).ByName(name)
		if err == nil {
			_, err = isolate.Credential(a)
		}
		return a, err
	}
	u, err := user.Current()
	if err != nil {
		return protocol.Account{}, fmt.Errorf("look up the current user: %w", err)
	}
	if name != "" && name != u.Username {
		return protocol.Account{}, fmt.Errorf("user %q: only root can run programs as another user, but you are %q", name, u.Username)
	}
	return account.SystemUser(u.Username)
}

// requireHost returns an error if no host accepts a connection from the account on the configured socket.
func requireHost(c *config.Config, a protocol.Account) error {
	var err error
	if os.Geteuid() == 0 {
		err = closeAfter(unixsock.DialAs(c.Socket, a.UID, a.GID))
	} else {
		err = closeAfter(unixsock.Dial(c.Socket))
	}
	if err != nil {
		return fmt.Errorf("no host listens on %s (start the host with systemctl start liveapid, or liveapid serve): %w", c.Socket, err)
	}
	return nil
}

func closeAfter(conn interface{ Close() error }, err error) error {
	if err != nil {
		return err
	}
	return conn.Close()
}

// runOnHost runs a program and passes the socket of the running host in the program's environment. If root
// runs the command, the program runs as the account called name, otherwise as the running user.
func runOnHost(c *config.Config, name string, words []string) error {
	a, err := hostAccount(c, name)
	if err != nil {
		return err
	}
	if err := requireHost(c, a); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return execute(words, append(withLibraries(os.Environ(), c.Bindings), socketEnv(c.Socket)...))
	}
	return executeAs(a, words, withLibraries(socketEnv(c.Socket), c.Bindings))
}

// selfOnHost runs this program again as the given account, with the same arguments. The new process gets the
// path of the host's socket in place of a configuration, because the account may not be allowed to read the
// configuration.
func selfOnHost(c *config.Config, a protocol.Account, args []string) error {
	words := append([]string{"/proc/self/exe", args[0], "--" + hostSocketFlag + "=" + c.Socket}, args[1:]...)
	return executeAs(a, words, nil)
}

// executeAs runs a program as an account, with a clean environment. The program gets a session and a terminal
// of its own, so that it can't inject input into root's terminal.
func executeAs(a protocol.Account, words, env []string) error {
	dir, err := os.Getwd()
	if err != nil {
		dir = ""
	}
	cmd := execas.Program{Words: words, Env: append(environmentOf(a), env...), UID: a.UID, GID: a.GID, Dir: dir, Home: a.Home}.Command()
	stop := func() {}
	defer func() { stop() }()
	streams := terminal.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	return statusOf(terminal.Run(cmd, streams, a.UID, func(p *os.Process) {
		// The program has a terminal of its own. If a key such as Ctrl-C causes a signal in this process's
		// terminal, the program does not receive that signal, so every signal is forwarded.
		stop = forwardSignals(p, func(os.Signal) bool { return false })
	}))
}

// environmentOf returns the environment of a program that root runs as an account. HOME, USER and similar
// variables are those of the account. Only the terminal type, the locale and the time zone are copied from
// root's environment.
func environmentOf(a protocol.Account) []string {
	env := []string{
		"HOME=" + a.Home, "USER=" + a.Name, "LOGNAME=" + a.Name, "SHELL=/bin/sh",
		"PATH=/usr/local/bin:/usr/bin:/bin",
	}
	for _, name := range []string{"TERM", "LANG", "LC_ALL", "TZ"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}
