package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/plugins/email"
)

const root = "../../.."

// The packaged configuration and the manual page are up to date with the structs.
func TestUpToDate(t *testing.T) {
	texts, err := generate(root)
	require.NoError(t, err)
	for name, want := range texts {
		got, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		require.Equal(t, want, string(got), "%s: run go generate ./host/config", name)
	}
}

// No key of the structs is missing in the packaged configuration or in the manual page.
func TestNoKeyIsMissing(t *testing.T) {
	texts, err := generate(root)
	require.NoError(t, err)
	for _, s := range []struct {
		of  any
		tag string
	}{{config.Config{}, "toml"}, {config.Plugin{}, "toml"}, {config.Mock{}, "toml"}, {config.Limits{}, "toml"}, {config.Web{}, "toml"}, {email.Settings{}, "setting"}} {
		for i := range reflect.TypeOf(s.of).NumField() {
			name := reflect.TypeOf(s.of).Field(i).Tag.Get(s.tag)
			if name == "" || name == "-" || tables[name] {
				continue
			}
			if _, personal := s.of.(config.Mock); !personal { // The packaged configuration is for server mode.
				require.Regexp(t, `(?m)^(# )?`+name+` = `, texts["packaging/liveapid.toml"])
			}
			require.Contains(t, texts["packaging/man/liveapid.toml.5"], "\n.B "+name+"\n")
		}
	}
}

// The packaged configuration is valid, and so is each of its commented examples when enabled.
func TestExamplesAreValid(t *testing.T) {
	texts, err := generate(root)
	require.NoError(t, err)
	text := texts["packaging/liveapid.toml"]
	load := func(text string) error {
		path := filepath.Join(t.TempDir(), "liveapid.toml")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		c, err := config.Load(path)
		if err == nil {
			_, err = email.ParseSettings(c.Plugins[0].Settings)
		}
		return err
	}
	require.NoError(t, load(text))
	together := map[string]string{"account": "", "mocks": "", "key": "certificate", "certificate": "key", "database_file": "", "doveadm_key": "doveadm", "kick": "doveadm", "mail_from": "smtp", "store": "database", "database": "store", "userdomains": "cpanel_users", "userdatadomains": "cpanel_users", "cpanel_features": "cpanel_users"}
	for line := range strings.Lines(text) {
		name, _, ok := strings.Cut(strings.TrimPrefix(line, "# "), " = ")
		if !strings.HasPrefix(line, "# ") || !ok || strings.Contains(name, " ") {
			continue
		}
		other, special := together[name]
		if special && other == "" {
			continue // account and mocks are for personal mode; database_file names a file that must exist.
		}
		changed := strings.Replace(text, line, strings.TrimPrefix(line, "# "), 1)
		if other != "" {
			changed = strings.Replace(changed, "\n# "+other+" = ", "\n"+other+" = ", 1)
		}
		require.NoError(t, load(changed), name)
	}
}
