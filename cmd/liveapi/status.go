package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/admin"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/front/control"
)

// readStatus asks the running host for its status, over the control socket that the configuration names. path
// is the path of the configuration.
func readStatus(ctx context.Context, path string) (control.Status, error) {
	c, err := config.Find(path)
	if err != nil {
		return control.Status{}, err
	}
	if c.Control == "" {
		return control.Status{}, errors.New(`the configuration has no control socket: set control = "/run/liveapid/control.sock" and restart the host`)
	}
	return control.ReadHost(ctx, c.Control)
}

func statusCommand() *cobra.Command {
	var path string
	var asJSON *bool
	cmd := &cobra.Command{
		Use: "status", Short: "Show the status of the running host", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := readStatus(cmd.Context(), path)
			if err != nil {
				return err
			}
			if *asJSON {
				document, err := inSnakeCase(s)
				return errors.Join(err, printJSON(cmd.OutOrStdout(), document))
			}
			return printStatus(cmd.OutOrStdout(), s, time.Now())
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the host's configuration")
	asJSON = addJSON(cmd)
	return cmd
}

func printStatus(out io.Writer, s control.Status, now time.Time) error {
	bounds := "checked by the host, not limited by the kernel"
	if len(s.Cgroups) > 0 {
		bounds = "limited by control groups: " + strings.Join(s.Cgroups, ", ")
	}
	_, _ = fmt.Fprintf(out, "liveapid  pid %d, %s mode, up %s\nsocket    %s\naccounts  %d\nsessions  %d\ncalls     %d, %d of them failed, %d in flight\nworkers   %d of at most %d, %s\n\n",
		s.PID, s.Mode, now.Sub(s.Started).Round(time.Second), s.Socket, s.Accounts, s.Sessions, s.Calls, s.Failures, s.InFlight, s.Workers, s.MostWorkers, bounds)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "PLUGIN\tACCOUNT\tPID\tMEMORY\tCALLS\tUP\tSTATE")
	for _, p := range s.Plugins {
		if len(p.Workers) == 0 {
			_, _ = fmt.Fprintf(table, "%s\t-\t-\t-\t-\t-\tno worker yet\n", p.Name)
		}
		for _, w := range p.Workers {
			printWorker(table, p.Name, w, now)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, p := range s.Plugins {
		if p.Restarts+p.Hangs+p.MemoryKills > 0 {
			_, _ = fmt.Fprintf(out, "\n%s: %d workers ended unexpectedly, %d did not respond, %d used too much memory\n", p.Name, p.Restarts, p.Hangs, p.MemoryKills)
		}
	}
	return nil
}

func printWorker(table io.Writer, plugin string, w control.Worker, now time.Time) {
	account, state := w.Account, "runs"
	if account == "" {
		account = "(helper)"
	}
	if w.PID == 0 {
		state = fmt.Sprintf("stopped %d times in a row", w.Crashes)
		if wait := w.RetryAt.Sub(now); wait > 0 {
			state += ", rests for " + wait.Round(100*time.Millisecond).String()
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t-\t-\t%d\t-\t%s\n", plugin, account, w.Calls, state)
		return
	}
	_, _ = fmt.Fprintf(table, "%s\t%s\t%d\t%.1f MiB\t%d\t%s\t%s\n",
		plugin, account, w.PID, float64(w.Memory)/(1<<20), w.Calls, now.Sub(w.Started).Round(time.Second), state)
}

func topCommand() *cobra.Command {
	var path string
	var every time.Duration
	var once bool
	cmd := &cobra.Command{
		Use: "top", Short: "Show the accounts with the most calls, updated regularly", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if every < 100*time.Millisecond {
				return admin.Usage(errors.New("--every: must be at least 100ms"))
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			before, err := readStatus(ctx, path)
			if err != nil {
				return err
			}
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(every):
				}
				now, err := readStatus(ctx, path)
				if err != nil {
					if ctx.Err() != nil {
						return nil
					}
					return err
				}
				if !once {
					_, _ = fmt.Fprint(cmd.OutOrStdout(), "\x1b[H\x1b[2J") // Moves the cursor home and clears the screen.
				}
				if err := printTop(cmd.OutOrStdout(), before, now, every); err != nil || once {
					return err
				}
				before = now
			}
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the host's configuration")
	cmd.Flags().DurationVar(&every, "every", 2*time.Second, "time between updates")
	cmd.Flags().BoolVar(&once, "once", false, "print the table once and exit")
	return cmd
}

func printTop(out io.Writer, before, now control.Status, every time.Duration) error {
	_, _ = fmt.Fprintf(out, "%s  %d sessions  %d workers  %d in flight  %.1f calls/s\n\n", time.Now().Format(time.TimeOnly),
		now.Sessions, now.Workers, now.InFlight, float64(now.Calls-min(now.Calls, before.Calls))/every.Seconds())
	old := make(map[string]control.Account)
	for _, a := range before.Usage {
		old[a.Name] = a
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "ACCOUNT\tCALLS/S\tCALLS\tFAILED\tMS/CALL\tLAST")
	for i, a := range now.Usage {
		if i == 30 {
			break
		}
		rate := float64(a.Calls-min(a.Calls, old[a.Name].Calls)) / every.Seconds()
		_, _ = fmt.Fprintf(table, "%s\t%.1f\t%d\t%d\t%.1f\t%s\n", a.Name, rate, a.Calls, a.Failures, 1000*a.Seconds/float64(max(a.Calls, 1)), a.Last)
	}
	return table.Flush()
}
