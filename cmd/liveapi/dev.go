package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/admin"
	"github.com/liveapid/liveapid/host/dev/livepage"
)

func devCommand() *cobra.Command {
	var account accountFlags
	var listen string
	cmd := &cobra.Command{
		Use:   "dev [--user NAME] [--listen ADDRESS] DIR",
		Short: "Serve a directory of plugin pages on loopback, for development",
		Long: `Serves DIR on loopback until it is interrupted. *.live.php, *.livephp, *.live.pl and *.livepl are
run, each with a LiveAPI session; tags in *.html are expanded; other files are served unchanged.
Pages reload when a file changes. /.liveapi/ lists the calls of each page, with times and results,
passwords masked. The printed address contains a token; without it, other users of this machine
get no pages.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, words []string) error {
			dir, err := filepath.Abs(words[0])
			if err != nil {
				return err
			}
			if err := account.enterTree(cmd.ErrOrStderr()); err != nil {
				return err
			}
			rt, err := account.open()
			if err != nil {
				return err
			}
			defer rt.close()
			l, err := listenLoopback(listen)
			if err != nil {
				return err
			}
			runner := &livepage.Runner{Doer: rt.doer, Socket: rt.socket, Account: rt.account, Stderr: cmd.ErrOrStderr(), Log: rt.log, Env: withLibraries(pageEnv(), rt.bindings)}
			dev, err := livepage.NewDev(runner, dir, rt.stamp)
			if err != nil {
				return err
			}
			defer func() { _ = dev.Close() }()
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "Your pages:   http://%[1]s/?token=%[2]s\nTheir calls:  http://%[1]s/.liveapi/\n", l.Addr(), dev.Token())
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return dev.Serve(ctx, l)
		},
	}
	account.addTo(cmd)
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8089", "a loopback address; port 0 means any free port")
	return cmd
}

// listenLoopback listens on a loopback address and rejects every other address, so that other machines can't
// connect.
func listenLoopback(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, admin.Usage(fmt.Errorf("--listen: %w", err))
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, admin.Usage(fmt.Errorf("--listen: %q is not a loopback address; pages run with your rights, so only this machine may connect", host))
	}
	return net.Listen("tcp", address)
}
