// Command liveapid is the host. "liveapid serve" listens on a socket and, if configured, on other front
// doors; "liveapid stdio" serves a single session on its standard input and output.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/daemon"
	"github.com/liveapid/liveapid/host/isolate/execas"
)

func main() {
	execas.Main()
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// extra adds subcommands that exist only in builds with a certain build tag.
var extra = func(*cobra.Command) {}

// run is the main function of liveapid and returns the exit status: 0 for success, 1 for failure, 2 for wrong
// usage.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	misused := true
	root := &cobra.Command{
		Use: "liveapid", Short: "The open LiveAPI host",
		Version: host.Version, SilenceUsage: true, SilenceErrors: true,
	}
	extra(root)
	var path, level string
	root.PersistentFlags().StringVar(&path, "config", "", "configuration (default $LIVEAPID_CONFIG, then "+config.DefaultPath+")")
	root.PersistentFlags().StringVar(&level, "log-level", "", "debug, info, warn or error (default info for serve, warn for stdio)")
	start := func(fallback slog.Level, do func(context.Context, *config.Config, *slog.Logger) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, _ []string) error {
			l := fallback
			if level != "" {
				if err := l.UnmarshalText([]byte(level)); err != nil {
					return fmt.Errorf("--log-level: %q is not one of debug, info, warn and error", level)
				}
			}
			misused = false
			c, err := config.Find(path)
			if err != nil {
				return err
			}
			if err := daemon.Harden(); err != nil {
				return err
			}
			// By default, SIGPIPE would end the process if the reader of the log or a client disappears, even
			// in the middle of a call. A write to a closed pipe must only return an error.
			signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
			return do(cmd.Context(), c, newLog(stderr, l))
		}
	}
	root.AddCommand(
		&cobra.Command{
			Use: "serve", Short: "Listen on the socket until SIGTERM", Args: cobra.NoArgs,
			RunE: start(slog.LevelInfo, serve),
		},
		&cobra.Command{
			Use: "stdio", Short: "Serve a session on standard input and output", Args: cobra.NoArgs,
			RunE: start(slog.LevelWarn, func(ctx context.Context, c *config.Config, log *slog.Logger) error {
				return stdio(ctx, c, log, stdin, stdout)
			}),
		},
	)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := root.ExecuteContext(ctx); err != nil {
		_, _ = fmt.Fprintf(stderr, "liveapid: %s\n", err)
		if misused {
			_, _ = fmt.Fprintln(stderr, "See liveapid --help.")
			return 2
		}
		return 1
	}
	return 0
}

// check rejects a configuration with which no client could be served: personal mode without its account, or a
// plugin with a program that does not exist.
func check(c *config.Config) error {
	if c.Mode == config.Personal {
		if _, err := daemon.Account(c); err != nil {
			return err
		}
	}
	for _, p := range c.Plugins {
		if _, err := os.Stat(p.Path); err != nil {
			return fmt.Errorf("plugin: %w", err)
		}
	}
	return nil
}

// stdio serves a single session on in and out, until in ends. After SIGTERM it finishes the call in flight
// and then returns.
func stdio(ctx context.Context, c *config.Config, log *slog.Logger, in io.Reader, out io.Writer) error {
	a, err := daemon.Account(c)
	if err != nil {
		return err
	}
	rt, err := daemon.NewFor(c, a, log)
	if err != nil {
		return err
	}
	defer rt.Close()
	return rt.ServeStreams(ctx, in, out)
}
