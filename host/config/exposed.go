package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Only the plugin knows the meaning of its settings, and the file is read before the plugin starts. So a
// secret is recognized by the name of its setting, and the address of a database by the password in it.
var (
	secretName  = regexp.MustCompile(`(?i)(pass(word|wd|phrase)?|secret|token|credential|apikey|(^|[_-])(key|pw|pwd|psk|authorization))s?(_(pem|der|hex|base64|b64))?$`)
	fileName    = regexp.MustCompile(`(?i)[_-](file|path|dir)$`)
	inAddress   = regexp.MustCompile(`(?i)(^|[\s?&;-])(ssl)?(pass(word|wd)?|secret|token|api-?key)\s*=\s*\S|^(bearer|basic)\s+\S|BEGIN [A-Z ]*PRIVATE KEY`)
	userAndPass = regexp.MustCompile(`(?i)^([a-z][a-z0-9+.-]*://[^/@\s:]*:[^/\s]+@|[^/@\s:]*:\S+@([a-z0-9]*\(|/))`)
)

// Exposed returns an error for each file of the configuration that holds a secret (a database's password, a
// key or a token) and that users other than its owner can read.
func (c *Config) Exposed() error {
	var all []error
	trusted := map[uint32]bool{0: true} // Groups that may read the file: root's, and the helper's, because the helper gets the secrets.
	if helper, err := user.Lookup(c.Helper); err == nil {
		if gid, err := strconv.ParseUint(helper.Gid, 10, 32); err == nil {
			trusted[uint32(gid)] = true
		}
	}
	look := func(file, plugin string, settings map[string]any, args []string) {
		names := secretsIn("", settings)
		for i, arg := range args {
			names = append(names, secretsOf("", fmt.Sprintf("args[%d]", i), arg)...)
		}
		if len(names) == 0 {
			return
		}
		if why := readableByOthers(file, trusted); why != "" {
			all = append(all, fmt.Errorf("%s has secrets of the plugin %s (%s) and %s: chmod 600 it, or keep them in files of their own",
				file, plugin, strings.Join(names, ", "), why))
		}
	}
	if c.path != "" {
		for _, p := range c.Plugins {
			look(c.path, filepath.Base(p.Path), p.Settings, p.Args)
		}
	}
	plugins, _ := c.ReadPlugins(nil) // Plugins that can't be read are not served.
	for _, p := range plugins {
		look(filepath.Join(c.PluginDir, p.Name+".toml"), p.Name, p.Settings, p.Args)
	}
	return errors.Join(all...)
}

// secretsIn returns the names of the settings that hold secrets.
func secretsIn(prefix string, settings map[string]any) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		names = append(names, secretsOf(prefix, name, settings[name])...)
	}
	return names
}

func secretsOf(prefix, name string, value any) (names []string) {
	switch value := value.(type) {
	case map[string]any:
		return secretsIn(prefix+name+".", value)
	case []any:
		for i, item := range value {
			names = append(names, secretsOf(prefix, fmt.Sprintf("%s[%d]", name, i), item)...)
		}
	case string:
		plain, _, _ := strings.Cut(name, "[")
		if value != "" && !fileName.MatchString(plain) && (secretName.MatchString(plain) || inAddress.MatchString(value) || userAndPass.MatchString(value)) {
			return []string{prefix + name}
		}
	}
	return names
}

// readableByOthers says in words which other users can read a file, or returns "".
func readableByOthers(path string, trusted map[uint32]bool) string {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return ""
	}
	switch {
	case st.Mode&0o004 != 0 && passable(path):
		return "every user can read it"
	case st.Mode&0o040 != 0 && !trusted[st.Gid]:
		return fmt.Sprintf("can be read by the group %d", st.Gid)
	case st.Mode&0o040 != 0 && hasACL(path):
		return "the users in its access list (getfacl) can read it"
	}
	return ""
}

// passable reports whether every user can pass through the directories of a path.
func passable(path string) bool {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err == nil && info.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

// hasACL reports whether a file has an access control list.
func hasACL(path string) bool {
	n, err := unix.Getxattr(path, "system.posix_acl_access", nil)
	return err == nil && n > 0
}
