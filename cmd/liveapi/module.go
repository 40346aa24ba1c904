package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/admin/plugins"
	"github.com/liveapid/liveapid/host/config"
)

func moduleCommand() *cobra.Command {
	return group("module", "Manage plugins", listModulesCommand(), addModuleCommand(), removeModuleCommand(), checkModulesCommand())
}

func listModulesCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: "list", Short: "List the plugins and the modules they serve", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Find(path)
			if err != nil {
				return err
			}
			all, err := plugins.Describe(cmd.Context(), c, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(table, "PLUGIN\tMODULES\tFUNCTIONS\tPROGRAM")
			for _, p := range all {
				names, functions := "not available", 0
				if p.Err == nil {
					names, functions = plugins.Names(p.Modules)
				}
				_, _ = fmt.Fprintf(table, "%s\t%s\t%d\t%s\n", p.Name, names, functions, p.Path)
			}
			return table.Flush()
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the host's configuration")
	return cmd
}

func checkModulesCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: "check", Short: "Start each plugin, and report plugins that can't be started", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Find(path)
			if err != nil {
				return err
			}
			wrong := 0
			for _, f := range plugins.Check(cmd.Context(), c) {
				_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", f.Kind, f.Text)
				if f.Kind == plugins.Problem {
					wrong++
				}
			}
			if wrong > 0 {
				return fmt.Errorf("the host can't use %d plugins", wrong)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the host's configuration")
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
