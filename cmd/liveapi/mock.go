package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/admin"
	"github.com/liveapid/liveapid/host/atomicfile"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/dev/mockgen"
)

func mockCommand() *cobra.Command {
	var path, description, dir string
	var modules []string
	cmd := &cobra.Command{
		Use:   "mock --openapi FILE [--module NAME] [--dir DIR]",
		Short: "Write mocks of the functions in an OpenAPI description",
		Long: `Reads an OpenAPI description of UAPI, such as the one that cPanel publishes, and writes a file with mocks
for each module. A mocked function answers with the description's examples or, where it has none, with
values of the described types. Edit the files to change the answers. Files that exist are not changed.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if description == "" {
				return admin.Usage(errors.New("--openapi is missing: name the file of a description"))
			}
			if dir == "" {
				c, err := config.Find(path)
				if err != nil {
					return err
				}
				if dir = c.Mocks; dir == "" {
					return admin.Usage(errors.New("the configuration key mocks, the directory of the mocks, is not set: set it, or name a directory with --dir"))
				}
			}
			text, err := os.ReadFile(description)
			if err != nil {
				return err
			}
			files, err := mockgen.Generate(text, modules)
			if err != nil {
				return fmt.Errorf("%s: %w", description, err)
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			for _, f := range files {
				file := filepath.Join(dir, f.Module+".json")
				switch err := atomicfile.WriteNew(file, f.Text, 0o644); {
				case errors.Is(err, os.ErrExist):
					_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s exists and was not changed\n", file)
				case err != nil:
					return err
				default:
					_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d functions\n", file, f.Functions)
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the host's configuration")
	cmd.Flags().StringVar(&description, "openapi", "", "the file of an OpenAPI description, in JSON or YAML")
	cmd.Flags().StringVar(&dir, "dir", "", "the directory for the mocks (default: mocks of the configuration)")
	cmd.Flags().StringSliceVar(&modules, "module", nil, "only this module; may be repeated")
	return cmd
}
