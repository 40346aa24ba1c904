package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/admin/doctor"
	"github.com/liveapid/liveapid/host/admin/plugins"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/plugins/email/store/sqlstore"
)

func doctorCommand() *cobra.Command {
	var path string
	var asJSON *bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check an installation, and say how to repair it", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var findings []plugins.Finding
			problems := 0
			report := func(f plugins.Finding) {
				if findings = append(findings, f); !*asJSON {
					doctor.Print(cmd.OutOrStdout(), f.Kind, f.Text)
				}
				if f.Kind == plugins.Problem {
					problems++
				}
			}
			c, err := config.Find(path)
			if err != nil {
				report(plugins.Finding{Kind: plugins.Problem, Text: err.Error()})
				err = errors.New("the other checks were skipped, because they need a configuration")
			} else {
				mail := mailOf(c, report)
				doctor.Examine(cmd.Context(), c, mail, report)
				if problems > 0 {
					err = fmt.Errorf("%d problems found", problems)
				}
			}
			if *asJSON {
				err = errors.Join(printJSON(cmd.OutOrStdout(), map[string]any{"findings": findings, "problems": problems}), err)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the host's configuration")
	asJSON = addJSON(cmd)
	return cmd
}

// mailOf returns the facts about the mail store that doctor needs. Invalid settings are reported.
func mailOf(c *config.Config, report func(plugins.Finding)) doctor.Mail {
	settings, err := emailSettings(c)
	switch {
	case errors.Is(err, errNoEmail):
		return doctor.Mail{}
	case err != nil:
		report(plugins.Finding{Kind: plugins.Problem, Text: fmt.Sprintf("plugin liveapi-email: %v", err)})
		return doctor.Mail{}
	}
	drivers := map[string]string{string(sqlstore.PostgreSQL): "pgsql", string(sqlstore.MariaDB): "mysql"}
	return doctor.Mail{
		Email: true, Database: drivers[settings.Store],
		Weak: func(ctx context.Context) ([]string, error) { return weakMailboxes(ctx, c) },
	}
}
