package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/admin"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/plugins/email"
	"github.com/liveapid/liveapid/plugins/email/store/sqlstore"
)

func storeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "store", Short: "Set up, check and fill the store of mailboxes in a database"}
	var path string
	cmd.PersistentFlags().StringVar(&path, "config", "", "the host's configuration")
	cmd.AddCommand(storeInitCommand(&path), storeCheckCommand(&path), storeMigrateCommand(&path), serveFilesCommand())
	cmd.RunE = func(cmd *cobra.Command, words []string) error {
		if len(words) > 0 {
			return admin.Usage(fmt.Errorf("unknown command %q", "store "+words[0]))
		}
		return cmd.Help()
	}
	cmd.Args = cobra.ArbitraryArgs
	return cmd
}

// openDatabase opens the database in which the Email plugin stores the mailboxes. It returns an error if the
// configuration's store is files.
func openDatabase(path string) (*config.Config, *sqlstore.Store, error) {
	c, err := config.Find(path)
	if err != nil {
		return nil, nil, err
	}
	settings, err := emailSettings(c)
	if err != nil {
		return nil, nil, err
	}
	if settings.Store == email.FilesStore {
		return nil, nil, errors.New("the configured store is files, which needs no setup; to use a database, set store and database in [plugin.settings]")
	}
	db, err := sqlstore.Open(sqlstore.Driver(settings.Store), settings.Database, settings.Pool)
	return c, db, err
}

func storeInitCommand(path *string) *cobra.Command {
	return &cobra.Command{
		Use: "init", Short: "Create the missing tables", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, db, err := openDatabase(*path)
			if err != nil {
				return err
			}
			defer func() { _ = db.Close() }()
			made, err := db.Init(cmd.Context())
			for _, table := range made {
				_, _ = fmt.Fprintln(cmd.OutOrStdout(), "created", table)
			}
			if err == nil && len(made) == 0 {
				_, _ = fmt.Fprintln(cmd.OutOrStdout(), "all tables exist")
			}
			return err
		},
	}
}

func storeCheckCommand(path *string) *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Print the tables and columns that the database lacks", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, db, err := openDatabase(*path)
			if err != nil {
				return err
			}
			defer func() { _ = db.Close() }()
			lacks, without, err := db.Check(cmd.Context())
			if err != nil {
				return err
			}
			for _, table := range without {
				_, _ = fmt.Fprintln(cmd.OutOrStdout(), "missing, but not needed:", table)
			}
			if len(lacks) > 0 {
				return fmt.Errorf("the database lacks %s; liveapi store init creates missing tables, and does not change existing tables", strings.Join(lacks, ", "))
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "the database has all tables and columns")
			return err
		},
	}
}
