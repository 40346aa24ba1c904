// Command liveapi is the tool of administrators and developers: it writes sandboxes, runs LiveAPI programs,
// and manages accounts, modules and tokens.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/admin"
	"github.com/liveapid/liveapid/host/isolate/execas"
)

func main() {
	execas.Main() // A host in this process starts workers of other users by this program.
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// extra adds commands that only some builds have.
var extra = func(*cobra.Command) {}

// exitStatus ends this program with the exit status of a program that it ran.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// run returns the exit status: 0 for success, 1 for failure, 2 for wrong usage. liveapi run returns the
// status of its program.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use: "liveapi", Short: "Make sandboxes and run LiveAPI programs",
		Version: host.Version, SilenceUsage: true, SilenceErrors: true,
	}
	extra(root)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return admin.Usage(err) })
	root.AddCommand(sandboxCommand(), runCommand(), tagCommand(), pageCommand(), devCommand(), dovecotCommand(), postfixCommand(), storeCommand(), accountCommand(),
		moduleCommand(), statusCommand(), topCommand(), doctorCommand(), auditCommand(), tokenCommand(), passwordCommand())
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	// Without this, an unknown command would be a failure like any other.
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

// args reports a wrong number of arguments as wrong usage.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, words []string) error {
		if err := check(cmd, words); err != nil {
			return admin.Usage(err)
		}
		return nil
	}
}
