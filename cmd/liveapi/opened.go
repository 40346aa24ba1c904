package main

import (
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/setup"
	"github.com/liveapid/liveapid/protocol"
)

// accountFlags are what every command that works for one account takes.
type accountFlags struct{ name, path string }

func (f *accountFlags) addTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.name, "user", "", "the account; root must name one on a server of many accounts")
	cmd.Flags().StringVar(&f.path, "config", "", "configuration (default $LIVEAPID_CONFIG, then "+config.DefaultPath+")")
}

// opened is a host for one account, in this process.
type opened struct {
	*setup.Runtime
	account protocol.Account
	log     *slog.Logger
}

// open becomes the account where root must, and builds its host. The caller closes it.
func (f *accountFlags) open() (*opened, error) {
	c, err := config.Find(f.path)
	if err != nil {
		return nil, err
	}
	a, _, err := runAs(c, f.name)
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	rt, err := setup.NewFor(c, a, log)
	if err != nil {
		return nil, err
	}
	return &opened{Runtime: rt, account: a, log: log}, nil
}
