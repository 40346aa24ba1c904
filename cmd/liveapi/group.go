package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/admin"
)

// group returns a command that only groups subcommands. Without a subcommand it prints its help.
func group(name, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short, Args: cobra.ArbitraryArgs}
	cmd.RunE = func(cmd *cobra.Command, words []string) error {
		if len(words) > 0 {
			return admin.Usage(fmt.Errorf("unknown command %q", name+" "+words[0]))
		}
		return cmd.Help()
	}
	cmd.AddCommand(commands...)
	return cmd
}
