package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/admin"
)

func accountCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "account", Short: "Manage accounts", Args: cobra.ArbitraryArgs}
	cmd.RunE = func(cmd *cobra.Command, words []string) error {
		if len(words) > 0 {
			return admin.Usage(fmt.Errorf("unknown command %q", "account "+words[0]))
		}
		return cmd.Help()
	}
	cmd.AddCommand(importCommand(), createCommand(), listAccountsCommand(), showCommand(), suspendCommand(), unsuspendCommand(), deleteCommand(), checkAccountsCommand())
	return cmd
}
