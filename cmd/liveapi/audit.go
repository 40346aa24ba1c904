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
		Long: `Reads the files in the given order; pass the oldest file first. The default is the audit log in the
configuration. The command finds changed, inserted and removed lines. A user with write access can
also replace the complete file. To detect that, store the number and hash of the last line, which
the command prints, somewhere that this user can't write.`,
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
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "the chain of %d records is complete; the last record is %d with the hash %s\n", chain.Records, chain.N, chain.Hash)
			return err
		},
	}
	verify.Flags().StringVar(&path, "config", "", "the host's configuration")
	return group("audit", "Check the audit log", verify)
}
