package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/admin/plugins"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/daemon"
	"github.com/liveapid/liveapid/protocol"
)

func moduleCommand() *cobra.Command {
	return group("module", "Manage plugins and modules", newModuleCommand(), listModulesCommand(), addModuleCommand(), removeModuleCommand(), checkModulesCommand())
}

// listedPlugin is a plugin in the JSON of "liveapi module list".
type listedPlugin struct {
	Plugin  string         `json:"plugin"`
	Path    string         `json:"path"` // The script or the program.
	Modules []listedModule `json:"modules"`
	Error   string         `json:"error,omitempty"`
}

type listedModule struct {
	Name      string   `json:"name"`
	Help      string   `json:"help"`
	Functions []string `json:"functions"` // Such as "uapi greet".
}

func listModulesCommand() *cobra.Command {
	var path string
	var asJSON *bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the plugins and the modules they serve", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Find(path)
			if err != nil {
				return err
			}
			all, err := plugins.Describe(cmd.Context(), c, io.Discard)
			if err != nil {
				return err
			}
			wrong := 0
			for _, p := range all {
				if p.Err != nil {
					wrong++
				}
			}
			if *asJSON {
				err = printJSON(cmd.OutOrStdout(), listedPlugins(all))
			} else {
				err = printPlugins(cmd, all)
			}
			return errors.Join(err, unusable(wrong))
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the host's configuration")
	asJSON = addJSON(cmd)
	return cmd
}

// unusable returns an error if the number of plugins that can't be used is not 0.
func unusable(wrong int) error {
	switch wrong {
	case 0:
		return nil
	case 1:
		return errors.New("the host can't use 1 plugin")
	}
	return fmt.Errorf("the host can't use %d plugins", wrong)
}

func listedPlugins(all []daemon.Modules) []listedPlugin {
	out := []listedPlugin{}
	for _, p := range all {
		listed := listedPlugin{Plugin: p.Name, Path: p.Path, Modules: []listedModule{}}
		if p.Err != nil {
			listed.Error = host.CauseOf(p.Err)
		}
		for _, m := range p.Modules {
			functions := []string{}
			for _, f := range m.Functions {
				functions = append(functions, map[protocol.API]string{protocol.API1: "api1 ", protocol.API2: "api2 ", protocol.UAPI: "uapi "}[f.API]+f.Name)
			}
			listed.Modules = append(listed.Modules, listedModule{Name: m.Name, Help: m.Help, Functions: functions})
		}
		out = append(out, listed)
	}
	return out
}

// printPlugins prints a table of the plugins, and below it the errors of those that can't be used.
func printPlugins(cmd *cobra.Command, all []daemon.Modules) error {
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "PLUGIN\tMODULES\tFUNCTIONS\tFILE")
	for _, p := range all {
		names, functions := "can't be used", 0
		if p.Err == nil {
			names, functions = plugins.Names(p.Modules)
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%d\t%s\n", cmp.Or(p.Name, "-"), names, functions, p.Path)
	}
	err := table.Flush()
	for _, p := range all {
		if p.Err != nil {
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "\n%s: %s\n", cmp.Or(p.Name, p.Path), host.CauseOf(p.Err))
		}
	}
	return err
}

func checkModulesCommand() *cobra.Command {
	var path string
	var asJSON *bool
	cmd := &cobra.Command{
		Use: "check", Short: "Start each plugin, and report plugins that can't be started", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Find(path)
			if err != nil {
				return err
			}
			findings := plugins.Check(cmd.Context(), c)
			wrong := 0
			for _, f := range findings {
				if !*asJSON {
					_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", f.Kind, strings.ReplaceAll(f.Text, "\n", "\n       "))
				}
				if f.Kind == plugins.Problem {
					wrong++
				}
			}
			if *asJSON {
				err = printJSON(cmd.OutOrStdout(), map[string]any{"findings": findings, "problems": wrong})
			}
			return errors.Join(err, unusable(wrong))
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the host's configuration")
	asJSON = addJSON(cmd)
	return cmd
}

func addModuleCommand() *cobra.Command {
	var path, name string
	cmd := &cobra.Command{
		Use: "add PROGRAM [ARG...]", Short: "Register a plugin with its program's checksum", Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, words []string) error {
			c, err := config.Find(path)
			if err != nil {
				return err
			}
			added, err := plugins.Add(cmd.Context(), c, name, words[0], words[1:])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "registered %s, which serves %s: %s\nA running host serves the plugin after the next reload (SIGHUP).\n",
				added.Name, strings.Join(added.Modules, " "), added.File)
			return err
		},
	}
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().StringVar(&path, "config", "", "the host's configuration")
	cmd.Flags().StringVar(&name, "name", "", "the plugin's name (default: the program's name)")
	return cmd
}

func removeModuleCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: "remove NAME", Short: "Remove a plugin's registration; its program stays", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, words []string) error {
			c, err := config.Find(path)
			if err != nil {
				return err
			}
			if err = plugins.Remove(c, words[0]); err == nil {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s was removed. A running host serves the plugin until the next reload (SIGHUP).\n", words[0])
			}
			return err
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the host's configuration")
	return cmd
}
