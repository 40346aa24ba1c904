package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/modules/cassette"
)

func replayCommand() *cobra.Command {
	var name, path string
	var strict, https bool
	cmd := &cobra.Command{
		Use:   "replay [--strict] CASSETTE -- PROGRAM [ARGUMENT ...]",
		Short: "Run a program, and answer its calls from a cassette",
		Long: `Runs PROGRAM like liveapi run. Its calls are answered from CASSETTE, which liveapi record has written,
and reach no module: first with the recorded answer to the same arguments, else with the next answer
of the same function. At the end, the command prints which arguments differed.

With --strict, a call gets only a recorded answer to the same arguments, as often as it was recorded.
Any other call fails, and the exit status is then 1, also if a recorded call was not made.`,
		Args: args(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, words []string) error {
			c, err := config.Find(path)
			if err != nil {
				return err
			}
			own := *c
			own.Mode, own.Mocks = config.Personal, ""
			own.Replays = []config.Mock{{Cassette: words[0], Strict: strict, Replace: true, All: true}}
			if err := enterTree(c, cmd.ErrOrStderr()); err != nil {
				return err
			}
			a, err := ownAccount(&own, name)
			if err != nil {
				return err
			}
			var players []*cassette.Player
			words = words[1:]
			if len(words) > 0 && words[0] == "--" {
				words = words[1:]
			}
			err = runWith(&own, a, words, runOptions{https: https, players: &players})
			for _, p := range players {
				report := p.Report()
				printReplay(cmd.ErrOrStderr(), report)
				if strict && err == nil && len(report.Problems)+len(report.Unused) > 0 {
					err = errors.New("the calls of the program are not those of the cassette")
				}
			}
			return err
		},
	}
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().StringVar(&path, "config", "", "configuration (default $LIVEAPID_CONFIG, then "+config.DefaultPath+")")
	cmd.Flags().StringVar(&name, "user", "", "the account")
	cmd.Flags().BoolVar(&strict, "strict", false, "only recorded calls get an answer")
	cmd.Flags().BoolVar(&https, "https", false, "also serve the HTTPS API of the configuration")
	return cmd
}

// printReplay prints the report of a replay.
func printReplay(out io.Writer, r cassette.Report) {
	_, _ = fmt.Fprintf(out, "liveapi: replayed %d calls with the recorded arguments", r.Exact)
	if n := len(r.Problems); n > 0 {
		_, _ = fmt.Fprintf(out, ", but %d differed:\n%s", n, strings.Join(r.Problems, "\n"))
	}
	_, _ = fmt.Fprintln(out)
	if n := len(r.Unused); n > 0 {
		_, _ = fmt.Fprintf(out, "liveapi: %d recorded calls were not made:\n  %s\n", n, strings.Join(r.Unused, "\n  "))
	}
}
