package account

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strings"
	"time"
)

// getentTime is how long the system may take to look up a user.
const getentTime = 10 * time.Second

// lookUp looks up a system user by name in all databases that the system is configured to use. Without cgo, as in the
// packages, Go reads only /etc/passwd, so the program getent is asked for other users.
func lookUp(name string) (*user.User, error) {
	u, err := user.Lookup(name)
	if !errors.As(err, new(user.UnknownUserError)) {
		return u, err
	}
	// Clients that have not signed in can cause look-ups of any name, so getent is started only if it can find more users.
	if config, readErr := os.ReadFile("/etc/nsswitch.conf"); readErr != nil || !otherDatabases(string(config)) {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), getentTime)
	defer cancel()
	out, runErr := exec.CommandContext(ctx, "getent", "passwd", "--", name).Output()
	// Exit status 2 means that no database has the user.
	if status := new(exec.ExitError); ctx.Err() == nil && (errors.As(runErr, &status) && status.ExitCode() == 2 || errors.Is(runErr, exec.ErrNotFound)) {
		return nil, err
	}
	if runErr != nil {
		return nil, fmt.Errorf("look up the user %q: %w", name, runErr)
	}
	found, ok := passwdUser(strings.TrimSuffix(string(out), "\n"))
	if !ok || found.Username != name { // getent also takes a uid for a name.
		return nil, err
	}
	return found, nil
}

// otherDatabases reports whether the system has other databases of users than /etc/passwd, according to the text of
// nsswitch.conf(5). The users of systemd are no accounts.
func otherDatabases(config string) bool {
	for line := range strings.Lines(config) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "passwd:" {
			continue
		}
		return slices.ContainsFunc(words[1:], func(word string) bool {
			return !slices.Contains([]string{"files", "systemd"}, word) && !strings.HasPrefix(word, "[")
		})
	}
	return false
}

// passwdUser returns the user of a line of passwd(5).
func passwdUser(line string) (*user.User, bool) {
	fields := strings.Split(line, ":")
	if len(fields) < 7 {
		return nil, false
	}
	return &user.User{Username: fields[0], Uid: fields[2], Gid: fields[3], Name: fields[4], HomeDir: fields[5]}, true
}
