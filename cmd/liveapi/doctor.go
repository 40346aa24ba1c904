package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/admin/doctor"
	"github.com/liveapid/liveapid/host/admin/plugins"
	"github.com/liveapid/liveapid/host/config"
)

func doctorCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check an installation, and say how to repair it", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Find(path)
			if err != nil {
				doctor.Print(cmd.OutOrStdout(), plugins.Problem, err.Error())
				return errors.New("the other checks were skipped, because they need a configuration")
			}
			if problems := doctor.Examine(cmd.Context(), c, cmd.OutOrStdout()); problems > 0 {
				return fmt.Errorf("%d problems found", problems)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the host's configuration")
	return cmd
}
