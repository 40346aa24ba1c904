// Command liveapi is the tool for administrators and developers: it creates sandboxes, runs LiveAPI programs
// and pages, and manages accounts, modules, mail stores and tokens.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/admin"
	"github.com/liveapid/liveapid/host/cpaneldir"
	"github.com/liveapid/liveapid/host/isolate/execas"
)

func main() {
	execas.Main()    // Does not return if this process is the launcher of a worker.
	cpaneldir.Main() // Does not return if this process prepares a mount namespace.
	args := os.Args[1:]
	if filepath.Base(os.Args[0]) == "whoowns" { // The link /scripts/whoowns.
		args = append([]string{"whoowns"}, args...)
	}
	os.Exit(run(args, os.Stdin, os.Stdout, os.Stderr))
}

// extra adds subcommands that exist only in builds with a certain build tag.
var extra = func(*cobra.Command) {}

// exitStatus is an error that carries the exit status of a program that this command ran. The command then
// exits with the same status and prints no message.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// run is the main function of liveapi and returns the exit status: 0 for success, 1 for failure, 2 for wrong
// usage. Commands that run another program return the status of that program.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use: "liveapi", Short: "Make sandboxes and run LiveAPI programs",
		Version: host.Version, SilenceUsage: true, SilenceErrors: true,
	}
	extra(root)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return admin.Usage(err) })
	root.AddCommand(sandboxCommand(), runCommand(), recordCommand(), replayCommand(), mockCommand(), tagCommand(), pageCommand(), devCommand(), dovecotCommand(), postfixCommand(), storeCommand(), accountCommand(),
		moduleCommand(), statusCommand(), topCommand(), doctorCommand(), auditCommand(), cpanelPathsCommand(), whoOwnsCommand(), tokenCommand(), passwordCommand())
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	// By default, cobra's error for an unknown command would give status 1; wrong usage must give status 2.
	root.RunE = func(cmd *cobra.Command, words []string) error {
		if len(words) > 0 {
			return admin.Usage(fmt.Errorf("unknown command %q", words[0]))
		}
		return cmd.Help()
	}
	root.Args = cobra.ArbitraryArgs
	err := root.ExecuteContext(context.Background())
	var status exitStatus
	var misuse admin.UsageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &misuse):
		_, _ = fmt.Fprintf(stderr, "liveapi: %s\nSee liveapi --help.\n", err)
		return 2
	}
	_, _ = fmt.Fprintf(stderr, "liveapi: %s\n", err)
	return 1
}

// args wraps check, which validates the number of arguments, so that its error is reported as wrong usage.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, words []string) error {
		if err := check(cmd, words); err != nil {
			return admin.Usage(err)
		}
		return nil
	}
}
