package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/record/audit"
)

func auditCommand() *cobra.Command {
	var path string
	verify := &cobra.Command{
		Use: "verify [FILE...]", Short: "Verify that no line of the audit log was changed",
		Long: `Reads the files in the order in which they were written, the oldest first; with none, the one that
the configuration names. It finds lines that were changed, put in or taken out. Who can write the
file can also write all of it anew: keep the last line's number and hash, which this prints, where
that one can't.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, files []string) error {
			if len(files) == 0 {
				c, err := config.Find(path)
				if err != nil {
					return err
				}
				if c.Audit == "" {
					return errors.New(`the configuration has no audit log: set audit = "/var/log/liveapid/audit.log", or name the file`)
				}
				files = []string{c.Audit}
			}
			var chain audit.Chain
			for _, file := range files {
				f, err := os.Open(file)
				if err != nil {
					return err
				}
				err = chain.Verify(f)
				_ = f.Close()
				if err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%d records, whole; the last is %d, its hash %s\n", chain.Records, chain.N, chain.Hash)
			return err
		},
	}
	verify.Flags().StringVar(&path, "config", "", "the host's configuration")
	return group("audit", "Work on the audit log", verify)
}
