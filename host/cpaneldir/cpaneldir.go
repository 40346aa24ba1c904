// Package cpaneldir provides the files below /usr/local/cpanel that programs written for cPanel name by their
// path, such as /usr/local/cpanel/php/cpanel.php. An administrator installs them as symbolic links (Install).
// Without them, a command can run in a mount namespace of its own that contains the links (Enter). The
// package never changes a cPanel server's own files, and it does not run programs of plugins.
package cpaneldir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/liveapid/liveapid/host/atomicfile"
)

// Root is cPanel's directory. Its path is part of the documentation of the LiveAPI.
const Root = "/usr/local/cpanel"

// Tree describes the links of an installation.
type Tree struct {
	Root     string // The directory that contains the links; Root, except in tests.
	Bindings string // The directory of the Perl and PHP libraries.
	Programs string // The directory of the commands uapi and cpapi2.
	// Scripts is the path of a further link to the directory scripts below Root, /scripts on a cPanel server;
	// "" means that the link is not created.
	Scripts string
}

// link is a symbolic link: its path below Tree.Root, and its target.
type link struct{ path, target string }

// php is the link by which State recognizes whether the links are there: the file that PHP programs load.
const php = "php/cpanel.php"

// directories are the directories of the links, below Tree.Root, each after the one that contains it.
var directories = []string{".", "Cpanel", "php", "bin", "scripts", "3rdparty", "3rdparty/bin"}

// links returns all links. Links to commands and interpreters that are not installed are left out.
func (t Tree) links() []link {
	perl := filepath.Join(t.Bindings, "perl", "lib", "Cpanel")
	all := []link{
		{php, filepath.Join(t.Bindings, "php", "cpanel.php")},
		{"Cpanel/LiveAPI.pm", filepath.Join(perl, "LiveAPI.pm")},
		{"Cpanel/LiveAPI", filepath.Join(perl, "LiveAPI")},
	}
	for _, name := range []string{"uapi", "cpapi1", "cpapi2", "whmapi1"} {
		all = append(all, link{"bin/" + name, filepath.Join(t.Programs, name)})
	}
	all = append(all, link{"scripts/whoowns", filepath.Join(t.Programs, "liveapi")})
	// The documentation's programs begin with lines such as #!/usr/local/cpanel/3rdparty/bin/perl.
	for _, name := range []string{"perl", "php"} {
		for _, path := range interpreters(name) {
			if _, err := os.Stat(path); err == nil {
				all = append(all, link{"3rdparty/bin/" + name, path})
				break
			}
		}
	}
	return slices.DeleteFunc(all, func(l link) bool {
		_, err := os.Stat(l.target)
		return err != nil
	})
}

// interpreters returns the paths at which the system may have the interpreter called name. The links last, so
// they do not depend on the PATH of the user who installs them.
func interpreters(name string) []string {
	return []string{"/usr/bin/" + name, "/usr/local/bin/" + name, "/bin/" + name}
}

// State says whose files are below a root directory.
type State int

const (
	// None means that there is no php/cpanel.php.
	None State = iota
	// Ours means that php/cpanel.php is a link to liveapid's PHP library.
	Ours
	// CPanel means that the directory belongs to a cPanel server.
	CPanel
	// Other means that php/cpanel.php is neither liveapid's nor part of a cPanel server.
	Other
)

// String returns the state in words.
func (s State) String() string {
	return [...]string{
		None: "has no php/cpanel.php", Ours: "has liveapid's links", CPanel: "has a cPanel server's own files",
		Other: "has a php/cpanel.php that is neither liveapid's nor a cPanel server's",
	}[s]
}

// State examines t.Root.
func (t Tree) State() State {
	// A cPanel server has these files; liveapid never creates them.
	for _, name := range []string{"cpanel", "version", "cpkeyclt"} {
		if _, err := os.Lstat(filepath.Join(t.Root, name)); err == nil {
			return CPanel
		}
	}
	path := filepath.Join(t.Root, php)
	switch _, err := os.Lstat(path); {
	case err != nil:
		return None
	case t.ours(path):
		return Ours
	}
	return Other
}

// ours reports whether the file at path is a symbolic link that Install may have created: a link to a file of
// liveapid, of this or of another version, or a link to the system's interpreter.
func (t Tree) ours(path string) bool {
	target, err := os.Readlink(path)
	if err != nil {
		return false
	}
	for _, l := range t.links() {
		if target == l.target && path == filepath.Join(t.Root, l.path) {
			return true
		}
	}
	// The link may be left from an installation in another directory, for example from a checkout.
	return strings.HasSuffix(target, "/bindings/php/cpanel.php") || strings.HasSuffix(target, "/bindings/perl/lib/Cpanel/LiveAPI.pm") ||
		strings.HasSuffix(target, "/bindings/perl/lib/Cpanel/LiveAPI")
}

// ErrCPanel is returned by Install on a cPanel server, whose own files stay as they are.
var ErrCPanel = errors.New("this is a cPanel server: its own files are used, and nothing was changed")

// Install creates the links. A file that already exists and is not a link of liveapid is not replaced; its
// path is returned in kept.
func (t Tree) Install() (kept []string, err error) {
	if t.State() == CPanel {
		return nil, ErrCPanel
	}
	for _, l := range t.links() {
		path := filepath.Join(t.Root, l.path)
		// The links must be usable by everyone, whatever the umask is.
		if err := atomicfile.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return kept, err
		}
		if target, err := os.Readlink(path); err == nil && target == l.target {
			continue
		}
		if _, err := os.Lstat(path); err == nil && !t.ours(path) {
			kept = append(kept, path)
			continue
		}
		_ = os.Remove(path)
		if err := os.Symlink(l.target, path); err != nil {
			return kept, err
		}
	}
	if t.Scripts == "" {
		return kept, nil
	}
	if target, err := os.Readlink(t.Scripts); err == nil && target == t.scripts() {
		return kept, nil
	}
	if _, err := os.Lstat(t.Scripts); err == nil {
		return append(kept, t.Scripts), nil
	}
	return kept, os.Symlink(t.scripts(), t.Scripts)
}

func (t Tree) scripts() string { return filepath.Join(t.Root, "scripts") }

// Remove removes the links that Install created, and directories that are empty then.
func (t Tree) Remove() error {
	if t.State() == CPanel {
		return nil
	}
	var all []error
	if target, err := os.Readlink(t.Scripts); err == nil && target == t.scripts() {
		all = append(all, os.Remove(t.Scripts))
	}
	for _, path := range []string{
		php, "Cpanel/LiveAPI.pm", "Cpanel/LiveAPI", "bin/uapi", "bin/cpapi1", "bin/cpapi2", "bin/whmapi1", "scripts/whoowns", "3rdparty/bin/perl", "3rdparty/bin/php",
	} {
		path = filepath.Join(t.Root, path)
		if _, err := os.Readlink(path); err != nil || !t.removable(path) {
			continue
		}
		if err := os.Remove(path); err != nil {
			all = append(all, fmt.Errorf("remove the links below %s: %w", t.Root, err))
		}
	}
	for _, dir := range slices.Backward(directories) {
		_ = os.Remove(filepath.Join(t.Root, dir)) // Fails if the directory is not empty, which is wanted.
	}
	return errors.Join(all...)
}

// removable reports whether the link at path is liveapid's. The targets of links may have been removed
// already, so that links does not return them.
func (t Tree) removable(path string) bool {
	target, _ := os.Readlink(path)
	name := filepath.Base(path)
	switch {
	case t.ours(path), target == filepath.Join(t.Programs, name):
		return true
	case name == "whoowns":
		return target == filepath.Join(t.Programs, "liveapi")
	}
	return path == filepath.Join(t.Root, "3rdparty/bin", name) && slices.Contains(interpreters(name), target)
}
