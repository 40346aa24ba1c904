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

// The host can't ask a plugin which of its settings are secret, because the configuration is read before the
// plugin starts. So a setting counts as a secret if its name looks like the name of a secret (secretName), or
// if its value contains a password, such as the address of a database with a password (inAddress,
// userAndPass).
var (
	secretName  = regexp.MustCompile(`(?i)(pass(word|wd|phrase)?|secret|token|credential|apikey|(^|[_-])(key|pw|pwd|psk|authorization))s?(_(pem|der|hex|base64|b64))?$`)
	fileName    = regexp.MustCompile(`(?i)[_-](file|path|dir)$`)
	inAddress   = regexp.MustCompile(`(?i)(^|[\s?&;-])(ssl)?(pass(word|wd)?|secret|token|api-?key)\s*=\s*\S|^(bearer|basic)\s+\S|BEGIN [A-Z ]*PRIVATE KEY`)
	userAndPass = regexp.MustCompile(`(?i)^([a-z][a-z0-9+.-]*://[^/@\s:]*:[^/\s]+@|[^/@\s:]*:\S+@([a-z0-9]*\(|/))`)
)

// Exposed returns an error for each configuration file that contains a secret (such as a database's password,
// a key or a token) and that can be read by users other than its owner, root and the helper.
func (c *Config) Exposed() error {
	var all []error
	trusted := map[uint32]bool{0: true} // Groups that may read secrets: root's and the helper's.
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
			all = append(all, fmt.Errorf("%s contains secrets of the plugin %s (%s), and %s: run chmod 600 on the file, or keep the secrets in separate files",
				file, plugin, strings.Join(names, ", "), why))
		}
	}
	if c.path != "" {
		for _, p := range c.Plugins {
			look(c.path, filepath.Base(p.Path), p.Settings, p.Args)
		}
	}
	plugins, _ := c.ReadPlugins(nil) // Errors are dropped: the host does not serve such plugins.
	for _, p := range plugins {
		look(filepath.Join(c.PluginDir, p.Name+".toml"), p.Name, p.Settings, p.Args)
	}
	return errors.Join(all...)
}

// secretsIn returns the names of all settings that contain secrets. prefix is put before each name.
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

// readableByOthers describes in words which other users can read the file at path. It returns "" if no other
// user can. Groups in trusted do not count as other users.
func readableByOthers(path string, trusted map[uint32]bool) string {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return ""
	}
	switch {
	case st.Mode&0o004 != 0 && passable(path):
		return "every user can read the file"
	case st.Mode&0o040 != 0 && !trusted[st.Gid]:
		return fmt.Sprintf("the group %d can read the file", st.Gid)
	case st.Mode&0o040 != 0 && hasACL(path):
		return "the users in the file's ACL (getfacl) can read the file"
	}
	return ""
}

// passable reports whether every user has the permission to pass through all parent directories of path. A
// directory that can't be examined counts as passable.
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

// hasACL reports whether the file at path has a POSIX access control list.
func hasACL(path string) bool {
	n, err := unix.Getxattr(path, "system.posix_acl_access", nil)
	return err == nil && n > 0
}
