package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/admin"
	"github.com/liveapid/liveapid/host/admin/postqueue"
	"github.com/liveapid/liveapid/host/front/unixsock"
	"github.com/liveapid/liveapid/host/identity/account"
)

func agentCommand() *cobra.Command {
	var socket, users, config string
	cmd := &cobra.Command{
		Use: "agent", Short: "Count, delete and release held mail for the Email plugin; runs as root until SIGTERM",
		Long: `Listens on a socket for the Email plugin, whose setting queue names it, and works on the messages
that Postfix holds of one sender: it counts, deletes and releases them with Postfix's own
postqueue and postsuper, for which it needs root. Only root and the user --for may ask: in server
mode the helper, which has made sure whose the sender is.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			allowed := []int{0}
			u, err := account.SystemUser(users)
			if err != nil {
				return admin.Usage(fmt.Errorf("--for: %w", err))
			}
			allowed = append(allowed, u.UID)
			l, err := unixsock.Listen(socket, 0o600)
			if err != nil {
				return err
			}
			if err := os.Lchown(socket, u.UID, -1); err != nil {
				return errors.Join(err, l.Close())
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			log.Info("listening", "socket", socket, "for", users)
			agent := &postqueue.Agent{Config: config, Log: log, Peer: func(uid int) bool { return slices.Contains(allowed, uid) }}
			return agent.Serve(ctx, l)
		},
	}
	cmd.Flags().StringVar(&socket, "socket", "/run/liveapid/queue.sock", "where it listens")
	cmd.Flags().StringVar(&users, "for", "liveapid", "the system user that may ask: the helper's")
	cmd.Flags().StringVar(&config, "postfix", "", "Postfix's configuration directory; default: Postfix's own")
	return cmd
}
