package main

import (
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/cmd/internal/remote"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/daemon"
	"github.com/liveapid/liveapid/host/front/session"
	"github.com/liveapid/liveapid/host/record/readable"
	"github.com/liveapid/liveapid/protocol"
)

// hostSocketFlag is the name of a hidden option. If root runs a command for an account, this program starts
// itself again as that account. The option passes the path of the host's socket to the new process.
const hostSocketFlag = "host-socket"

// accountFlags are the options of every command that runs calls for an account.
type accountFlags struct{ name, path, socket string }

// enterTree makes sure that pages find cPanel's files; see the function of the same name.
func (f *accountFlags) enterTree(stderr io.Writer) error {
	if f.socket != "" {
		return nil // Root's process has done it before it started this one.
	}
	c, err := config.Find(f.path)
	if err != nil {
		return err
	}
	return enterTree(c, stderr)
}

func (f *accountFlags) addTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.name, "user", "", "the account; on a server with many accounts root must name it")
	cmd.Flags().StringVar(&f.path, "config", "", "configuration (default $LIVEAPID_CONFIG, then "+config.DefaultPath+")")
	cmd.Flags().StringVar(&f.socket, hostSocketFlag, "", "the socket of a running host")
	_ = cmd.Flags().MarkHidden(hostSocketFlag) // Returns an error only for an unknown flag.
}

// opened is the host on which a command runs its calls, and the account for which they run.
type opened struct {
	doer    session.Doer
	socket  string // The running host's socket; "" for a host in this process.
	account protocol.Account
	stamp   func() string // Changes with the modules' files; nil if another process loads the modules.
	log     *slog.Logger
	// bindings is the directory of the Perl and PHP libraries.
	bindings string
	close    func()
}

// open returns the host on which a command runs its calls: in server mode the running host, in personal mode
// a new host in this process. The caller must call close. If root runs the command in server mode, open
// returns no host: it runs this program again as the account, waits for that process, and returns its exit
// status as an error of type exitStatus.
func (f *accountFlags) open() (*opened, error) {
	log := slog.New(readable.For(os.Stderr, slog.LevelWarn))
	if f.socket != "" {
		return onHost(f.socket, protocol.Account{Name: f.name, UID: os.Getuid(), GID: os.Getgid(), Home: os.Getenv("HOME")}, log), nil
	}
	c, err := config.Find(f.path)
	if err != nil {
		return nil, err
	}
	if c.Mode != config.Server {
		a, err := ownAccount(c, f.name)
		if err != nil {
			return nil, err
		}
		rt, err := daemon.NewFor(c, a, log)
		if err != nil {
			return nil, err
		}
		return &opened{doer: rt.Doer(), account: a, stamp: rt.SourceStamp, log: log, bindings: c.Bindings, close: rt.Close}, nil
	}
	a, err := hostAccount(c, f.name)
	if err != nil {
		return nil, err
	}
	if err := requireHost(c, a); err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return onHost(c.Socket, a, log), nil
	}
	if err := selfOnHost(c, a, os.Args[1:]); err != nil {
		return nil, err
	}
	return nil, exitStatus(0)
}

func onHost(socket string, a protocol.Account, log *slog.Logger) *opened {
	return &opened{doer: remote.New(socket), socket: socket, account: a, log: log, bindings: config.Default().Bindings, close: func() {}}
}
