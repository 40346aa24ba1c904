package main

import (
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/cmd/internal/remote"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/daemon"
	"github.com/liveapid/liveapid/host/front/session"
	"github.com/liveapid/liveapid/protocol"
)

// hostSocketFlag tells this program which host to use when it runs itself again as an account.
const hostSocketFlag = "host-socket"

// accountFlags are the options of every command that works for an account.
type accountFlags struct{ name, path, socket string }

func (f *accountFlags) addTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.name, "user", "", "the account; on a server with many accounts root must name it")
	cmd.Flags().StringVar(&f.path, "config", "", "configuration (default $LIVEAPID_CONFIG, then "+config.DefaultPath+")")
	cmd.Flags().StringVar(&f.socket, hostSocketFlag, "", "the socket of a running host")
	_ = cmd.Flags().MarkHidden(hostSocketFlag) // The flag exists.
}

// opened is a way to run calls for an account.
type opened struct {
	doer    session.Doer
	socket  string // The socket of the running host; "" if the host is in this process.
	account protocol.Account
	log     *slog.Logger
	close   func()
}

// open returns the host to use: on a server with many accounts the running host, otherwise a host of the
// account in this process. The caller closes it. If root calls it on a server, open runs this program again
// as the account and returns its exit status as an error.
func (f *accountFlags) open() (*opened, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
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
		return &opened{doer: rt.Host, account: a, log: log, close: rt.Close}, nil
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
	return &opened{doer: remote.New(socket), socket: socket, account: a, log: log, close: func() {}}
}
