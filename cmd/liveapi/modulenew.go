package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/admin"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/dev/scaffold"
)

func newModuleCommand() *cobra.Command {
	var path, dir string
	m := scaffold.Module{Version: host.Version}
	cmd := &cobra.Command{
		Use:   "new NAME --lang " + strings.Join(scaffold.Languages(), "|"),
		Short: "Write a new module with a test",
		Long: `Writes a module with one function, and a test of it. A module in Perl, PHP or Python is written into
the modules directory of the configuration, and a running host in personal mode serves it at once. A
plugin in Go is written into a new directory of the working directory.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, words []string) error {
			m.Name = words[0]
			c, err := config.Find(path)
			if err != nil {
				return err
			}
			if dir, err = newModuleDir(c, m, dir); err != nil {
				return err
			}
			released, _, unreleased := strings.Cut(m.Version, "~")
			m.Version = released
			if m.Language == "go" && unreleased && m.Replace == "" {
				return admin.Usage(fmt.Errorf("this version, %s, is not published: name the directory of its source with --replace", host.Version))
			}
			if m.Replace != "" {
				if m.Replace, err = filepath.Abs(m.Replace); err != nil {
					return err
				}
			}
			files, err := scaffold.New(m, dir)
			if err != nil {
				return admin.Usage(err)
			}
			for _, file := range files {
				_, _ = fmt.Fprintln(cmd.OutOrStdout(), file)
			}
			return nextSteps(cmd.OutOrStdout(), c, m, dir)
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the host's configuration")
	cmd.Flags().StringVar(&m.Language, "lang", "", "the language: "+strings.Join(scaffold.Languages(), ", "))
	cmd.Flags().StringVar(&dir, "dir", "", "the new directory (default: see above)")
	cmd.Flags().StringVar(&m.Replace, "replace", "", "for Go: build with liveapid's source in this directory, instead of the published version")
	return cmd
}

// newModuleDir returns the directory of a new module.
func newModuleDir(c *config.Config, m scaffold.Module, dir string) (string, error) {
	switch {
	case m.Language == "":
		return "", admin.Usage(errors.New("--lang is missing: choose one of " + strings.Join(scaffold.Languages(), ", ")))
	case dir != "":
		return filepath.Abs(dir)
	case m.Language == "go":
		return filepath.Abs(strings.ToLower(m.Name))
	case c.Modules == "":
		return "", admin.Usage(errors.New("the configuration key modules, the directory of the modules, is not set: set it, or name a directory with --dir"))
	}
	return filepath.Join(c.Modules, m.Name), nil
}

// nextSteps prints how to test and call the new module.
func nextSteps(out io.Writer, c *config.Config, m scaffold.Module, dir string) error {
	test := map[string]string{
		"go":     "go mod tidy && go test ./... && go build -o liveapi-" + strings.ToLower(m.Name) + " .",
		"perl":   "prove -I " + filepath.Join(c.Bindings, "perl", "lib") + " t",
		"php":    "php -d auto_prepend_file=" + filepath.Join(c.Bindings, "php", "module.php") + " test.php",
		"python": "python3 -m unittest",
	}[m.Language]
	text := fmt.Sprintf("\nTest it:  cd %s && %s\n", dir, test)
	if m.Language == "go" {
		text += fmt.Sprintf("Serve it: add to the configuration\n  [[plugin]]\n  path = %q\n", filepath.Join(dir, "liveapi-"+strings.ToLower(m.Name)))
	}
	_, err := fmt.Fprintf(out, "%sCall it:  uapi --user=ACCOUNT %s greet name=World\n", text, m.Name)
	return err
}
