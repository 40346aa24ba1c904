package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/host/atomicfile"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/daemon"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/protocol"
)

func moduleCommand() *cobra.Command {
	return group("module", "Work on the plugins that serve modules", listModulesCommand(), addModuleCommand(), removeModuleCommand(), checkModulesCommand())
}

// described starts each plugin of a configuration and asks it what it serves.
func described(ctx context.Context, c *config.Config, log io.Writer) ([]daemon.Modules, error) {
	quiet := *c // What a host that runs has for itself.
	quiet.RunDir, quiet.Audit, quiet.Control, quiet.Metrics = "", "", "", ""
	rt, err := daemon.New(&quiet, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		return nil, err
	}
	defer rt.Close()
	var a protocol.Account
	if c.Mode == config.Personal {
		if a, err = daemon.Account(c); err != nil {
			return nil, err
		}
	}
	return rt.Describe(ctx, a), nil
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
			all, err := described(cmd.Context(), c, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(table, "PLUGIN\tMODULES\tFUNCTIONS\tPROGRAM")
			for _, p := range all {
				names, functions := "not available", 0
				if p.Err == nil {
					names, functions = modulesOf(p.Modules)
				}
				_, _ = fmt.Fprintf(table, "%s\t%s\t%d\t%s\n", p.Name, names, functions, p.Path)
			}
			return table.Flush()
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the host's configuration")
	return cmd
}

func modulesOf(modules []protocol.Module) (names string, functions int) {
	var all []string
	for _, m := range modules {
		all = append(all, m.Name)
		functions += len(m.Functions)
	}
	return strings.Join(all, " "), functions
}

func checkModulesCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: "check", Short: "Start each plugin, and say which can't be served and why", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Find(path)
			if err != nil {
				return err
			}
			lines, wrong := checkModules(cmd.Context(), c)
			for _, line := range lines {
				_, _ = fmt.Fprintln(cmd.OutOrStdout(), line)
			}
			if wrong > 0 {
				return fmt.Errorf("%d plugins can't be served", wrong)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the host's configuration")
	return cmd
}

func checkModules(ctx context.Context, c *config.Config) (lines []string, wrong int) {
	_, broken := c.ReadPlugins(nil)
	for _, err := range broken {
		lines = append(lines, "wrong: "+err.Error())
		wrong++
	}
	all, err := described(ctx, c, io.Discard)
	if err != nil {
		return append(lines, "wrong: "+err.Error()), wrong + 1
	}
	seen := make(map[string]string)
	for _, p := range all {
		if p.Err != nil {
			lines = append(lines, fmt.Sprintf("wrong: plugin %s (%s): %v", p.Name, p.Path, p.Err))
			wrong++
			continue
		}
		names, functions := modulesOf(p.Modules)
		lines = append(lines, fmt.Sprintf("well: plugin %s serves %s, %d functions", p.Name, names, functions))
		for _, m := range p.Modules {
			if first, twice := seen[m.Name]; twice {
				lines = append(lines, fmt.Sprintf("note: %s serves %s, too, and is never asked: %s comes first", p.Name, m.Name, first))
			} else {
				seen[m.Name] = p.Name
			}
		}
	}
	return lines, wrong
}

// manifest is a plugin's file in plugin_dir, as it is written.
type manifest struct {
	Modules []string `toml:"modules"`
	Path    string   `toml:"path"`
	Args    []string `toml:"args,omitempty"`
	SHA256  string   `toml:"sha256"`
}

func addModuleCommand() *cobra.Command {
	var path, name string
	cmd := &cobra.Command{
		Use: "add PROGRAM [ARG...]", Short: "Register a plugin, by its program's checksum", Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, words []string) error {
			c, err := config.Find(path)
			if err != nil {
				return err
			}
			return addModule(cmd.Context(), c, name, words, cmd.OutOrStdout())
		},
	}
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().StringVar(&path, "config", "", "the host's configuration")
	cmd.Flags().StringVar(&name, "name", "", "its name; default: the program's")
	return cmd
}

// addModule starts the program once, to hear what it serves, and writes its file.
func addModule(ctx context.Context, c *config.Config, name string, words []string, out io.Writer) error {
	if c.PluginDir == "" {
		return errors.New("the configuration names no folder plugin_dir to register in")
	}
	program, err := filepath.Abs(words[0])
	if err != nil {
		return err
	}
	if name == "" {
		name = strings.TrimSuffix(filepath.Base(program), filepath.Ext(program))
	}
	if !config.IsPluginName(name) {
		return errMisuse{fmt.Errorf("--name: %.60q: letters, digits, - and _, at most 64", name)}
	}
	if c.Mode == config.Server {
		if err := isolate.CheckTrusted(program); err != nil {
			return err
		}
	}
	sum, err := sumOf(program)
	if err != nil {
		return err
	}
	alone := *c
	alone.Plugins, alone.PluginDir, alone.Modules = []config.Plugin{{Path: program, Args: words[1:], SHA256: sum}}, "", ""
	all, err := described(ctx, &alone, io.Discard)
	if err == nil {
		err = all[0].Err
	}
	if err != nil {
		return fmt.Errorf("%s is not served, and was not registered: %w", program, err)
	}
	m := manifest{Path: program, Args: words[1:], SHA256: sum}
	for _, module := range all[0].Modules {
		m.Modules = append(m.Modules, module.Name)
	}
	text, err := toml.Marshal(m)
	if err != nil {
		return err
	}
	file := filepath.Join(c.PluginDir, name+".toml")
	if err := atomicfile.WriteNew(file, text, 0o644); err != nil {
		if errors.Is(err, os.ErrExist) {
			return fmt.Errorf("the plugin %s is registered already: remove it first, or give this one another --name", name)
		}
		return err
	}
	_, err = fmt.Fprintf(out, "registered %s, which serves %s: %s\nA host that runs serves it after a reload (SIGHUP).\n", name, strings.Join(m.Modules, " "), file)
	return err
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func removeModuleCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: "remove NAME", Short: "Take a plugin's registration away; its program stays", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, words []string) error {
			c, err := config.Find(path)
			if err != nil {
				return err
			}
			if c.PluginDir == "" || !config.IsPluginName(words[0]) {
				return fmt.Errorf("there is no plugin %.60q in plugin_dir", words[0])
			}
			err = os.Remove(filepath.Join(c.PluginDir, words[0]+".toml"))
			if errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("there is no plugin %.60q in plugin_dir", words[0])
			}
			if err == nil {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is not registered any more. A host that runs serves it until a reload (SIGHUP).\n", words[0])
			}
			return err
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the host's configuration")
	return cmd
}
