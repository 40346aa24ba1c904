// Package dovecot tells which Dovecot is installed on this machine, and which of its parts are missing. It neither
// reads nor writes Dovecot's configuration.
package dovecot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// ErrMissing is returned by Version if no Dovecot is installed.
var ErrMissing = errors.New("dovecot: not installed")

// programs are the places in which distributions install the program dovecot.
var programs = []string{"/usr/sbin/dovecot", "/usr/local/sbin/dovecot"}

// versionTime is how long "dovecot --version" may take.
const versionTime = 10 * time.Second

// Version returns the series of the installed Dovecot, such as 2.4, as "dovecot --version" says.
func Version(ctx context.Context) (string, error) {
	program, err := exec.LookPath("dovecot")
	for _, path := range programs {
		if err == nil {
			break
		}
		program, err = exec.LookPath(path)
	}
	if err != nil {
		return "", ErrMissing
	}
	ctx, cancel := context.WithTimeout(ctx, versionTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", program, err)
	}
	return seriesOf(string(out))
}

var version = regexp.MustCompile(`^([0-9]+\.[0-9]+)[.\-\s(]`)

// seriesOf returns the series in the output of "dovecot --version", such as "2.3.19.1 (9b53102964)".
func seriesOf(output string) (string, error) {
	found := version.FindStringSubmatch(output + " ")
	if found == nil {
		return "", fmt.Errorf("dovecot --version: the answer %.60q is not a version", output)
	}
	return found[1], nil
}

// Needs lists the parts of Dovecot that a configuration uses in addition to IMAP and LMTP.
type Needs struct {
	Driver string // Dovecot's driver of a database: pgsql or mysql; "" for none.
	Sieve  bool   // Sieve scripts and ManageSieve.
	Lua    bool   // Look-ups with scripts in Lua.
}

// part is a part of Dovecot that distributions may keep in a package of its own.
type part struct {
	file     string // Below Dovecot's directory of programs or of modules.
	deb, rpm string // The package.
}

func (n Needs) parts() []part {
	parts := []part{{"imap", "dovecot-imapd", "dovecot"}, {"lmtp", "dovecot-lmtpd", "dovecot"}}
	if n.Driver != "" {
		parts = append(parts, part{"libdriver_" + n.Driver + ".so", "dovecot-" + n.Driver, "dovecot-" + n.Driver})
	}
	if n.Sieve {
		parts = append(parts, part{"lib90_sieve_plugin.so", "dovecot-sieve", "dovecot-pigeonhole"}, part{"managesieve", "dovecot-managesieved", "dovecot-pigeonhole"})
	}
	if n.Lua {
		parts = append(parts, part{"libauthdb_lua.so", "dovecot-auth-lua", "dovecot"})
	}
	return parts
}

// dirs are the directories in which distributions install Dovecot's programs and modules.
var dirs = []string{"/usr/lib/dovecot", "/usr/libexec/dovecot", "/usr/lib64/dovecot", "/usr/lib/dovecot/modules", "/usr/lib/dovecot/modules/auth", "/usr/lib64/dovecot/auth"}

// Missing returns the command that installs the parts that are needed but missing, or "" if none is.
func Missing(n Needs) (install string) {
	tool := "apt-get"
	if _, err := os.Stat("/usr/bin/apt-get"); err != nil {
		tool = "dnf"
	}
	return missing(n, tool, func(file string) bool {
		return slices.ContainsFunc(dirs, func(dir string) bool {
			_, err := os.Stat(filepath.Join(dir, file))
			return err == nil
		})
	})
}

func missing(n Needs, tool string, has func(file string) bool) string {
	var packages []string
	for _, p := range n.parts() {
		switch {
		case has(p.file):
		case tool == "apt-get":
			packages = append(packages, p.deb)
		default:
			packages = append(packages, p.rpm)
		}
	}
	if packages == nil {
		return ""
	}
	slices.Sort(packages)
	return tool + " install " + strings.Join(slices.Compact(packages), " ")
}
