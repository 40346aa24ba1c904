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
		Use: "agent", Short: "Serve the Email plugin's requests about held mail, until SIGTERM",
		Long: `Listens on a socket for requests of the Email plugin; set the plugin's setting queue to the socket.
For each request it counts, deletes or releases the messages that Postfix holds from a sender,
with postqueue and postsuper, which need root. Only root and the user --for may send requests. In
server mode that is the helper's user; the helper has checked that the sender is the account's.`,
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
	cmd.Flags().StringVar(&socket, "socket", "/run/liveapid/queue.sock", "the socket to listen on")
	cmd.Flags().StringVar(&users, "for", "liveapid", "the system user that may send requests: the helper's user")
	cmd.Flags().StringVar(&config, "postfix", "", "Postfix's configuration directory (default: postconf's)")
	return cmd
}
