package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// interrupted are the changes into which the test injects faults. Each can be made again.
var interrupted = map[string]func(s *Store) error{
	"password": func(s *Store) error { return s.SetHash(context.Background(), boxOf("user"), "$6$changed") },
	"quota":    func(s *Store) error { return s.SetQuota(context.Background(), boxOf("user"), 9<<20) },
	"suspend": func(s *Store) error {
		return s.Suspend(context.Background(), boxOf("user"), store.Login|store.Outgoing|store.Hold, true)
	},
	"delete": func(s *Store) error { return s.Delete(context.Background(), boxOf("user"), store.Keep{}) },
	"delete, keep the mail": func(s *Store) error {
		return s.Delete(context.Background(), boxOf("user"), store.Keep{Mail: true})
	},
	"add": func(s *Store) error {
		return s.Create(context.Background(), store.Mailbox{Address: boxOf("new"), Quota: 7 << 20, Suspended: store.Incoming}, "$6$added")
	},
	"add where mail is": func(s *Store) error {
		err := s.Create(context.Background(), store.Mailbox{Address: boxOf("orphan"), Quota: 7 << 20}, "$6$added")
		if errors.Is(err, store.ErrAside) {
			return nil
		}
		return err
	},
	"add the first of a domain": func(s *Store) error {
		return s.Create(context.Background(), store.Mailbox{Address: store.Address{Localpart: "first", Domain: "second.example"}}, "$6$added")
	},
}

func boxOf(localpart string) store.Address {
	return store.Address{Localpart: localpart, Domain: domain}
}

// attempt is the role of the process that is interrupted. It prints how its change ended.
func attempt(home, name string) {
	s := New(home)
	fmt.Print(".")
	_, _ = os.Stdin.Read(make([]byte, 1))
	mark()
	err := interrupted[name](s)
	mark()
	switch {
	case err == nil:
		fmt.Print("made")
	case errors.Is(err, store.ErrUnknown):
		fmt.Print("unknown")
	case errors.Is(err, store.ErrPartly):
		fmt.Print("partly")
	default:
		fmt.Print("not made: " + err.Error())
	}
}

// tree returns the names and contents of all files below a home. The names of mail that was set aside contain the
// time, so only their beginning is kept.
func tree(t *testing.T, home string) string {
	t.Helper()
	all := make(map[string]string)
	require.NoError(t, filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		name, err := filepath.Rel(home, path)
		require.NoError(t, err)
		if head, rest, aside := strings.Cut(name, asideName+"/orphan-"); aside {
			_, rest, _ = strings.Cut(rest, "/")
			name = head + asideName + "/orphan/" + rest
		}
		if d.IsDir() {
			all[name] = "/"
			return nil
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		if len(text) > 0 || strings.Contains(name, "/cur/") || strings.HasSuffix(name, lockName) {
			all[name] = string(text) // An empty file of the store is the same as none.
		}
		return nil
	}))
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s: %q\n", name, all[name])
	}
	return homes.ReplaceAllString(b.String(), "HOME/mail/")
}

// homes matches the paths of homes, which the lines of passwd contain.
var homes = regexp.MustCompile(`/[^:]*/home/mail/`)

// scene makes a home with three mailboxes, one of them with mail, and with mail that belongs to nobody.
func scene(t *testing.T, home string) {
	t.Helper()
	s := New(home)
	for _, name := range []string{"user", "other", "third"} {
		require.NoError(t, s.Create(t.Context(), store.Mailbox{Address: boxOf(name), Quota: 5 << 20}, "$6$old"))
	}
	require.NoError(t, s.Suspend(t.Context(), boxOf("third"), store.Incoming|store.Hold, true))
	require.NoError(t, s.Delete(t.Context(), boxOf("third"), store.Keep{}))
	for _, name := range []string{"user", "orphan"} {
		cur := filepath.Join(home, "mail", domain, name, "cur")
		require.NoError(t, os.MkdirAll(cur, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(cur, "1"), []byte("private"), 0o600))
	}
}

// memory returns a new directory on a file system in memory, if there is one: the test syncs thousands of files.
func memory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "files-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// copyTree copies a home to a new directory in dir.
func copyTree(t *testing.T, dir, from string) string {
	t.Helper()
	dir, err := os.MkdirTemp(dir, "")
	require.NoError(t, err)
	to := filepath.Join(dir, "home")
	require.NoError(t, os.CopyFS(to, os.DirFS(from)))
	// The record of a deletion has the identity of a directory, which the copy does not have.
	record := filepath.Join(to, "etc", domain, intentName)
	text, err := os.ReadFile(record)
	if errors.Is(err, fs.ErrNotExist) {
		return to
	}
	require.NoError(t, err)
	var all []work
	require.NoError(t, json.Unmarshal(text, &all))
	for i, w := range all {
		was, err := New(from).identityOf(domain, w.Localpart)
		require.NoError(t, err)
		if w.Dir != "" && w.Dir == was {
			all[i].Dir, err = New(to).identityOf(domain, w.Localpart)
			require.NoError(t, err)
		}
	}
	text, err = json.Marshal(all)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(record, text, 0o600))
	return to
}

// R20: whatever system call of a change fails, and wherever the process is killed, the change is made as a whole
// or not at all, the answer is right, nothing is left over, and trying again is safe.
func TestR20_InterruptedAtEverySystemCall(t *testing.T) {
	canTrace(t)
	base := filepath.Join(memory(t), "home")
	require.NoError(t, os.Mkdir(base, 0o755))
	scene(t, base)
	self, err := os.Executable()
	require.NoError(t, err)
	// next is a change of another mailbox, which is made after the interruption, in each domain.
	next := func(home string) error {
		err := New(home).SetHash(t.Context(), store.Address{Localpart: "none", Domain: "second.example"}, "$6$next")
		if !errors.Is(err, store.ErrNoMailbox) {
			return err
		}
		return New(home).SetHash(t.Context(), boxOf("other"), "$6$next")
	}

	for name, change := range interrupted {
		for _, errno := range []unix.Errno{0, unix.EIO, unix.ENOSPC, unix.EROFS} {
			if errno != 0 && errno != unix.EIO && strings.Contains(name, " ") {
				continue // As without the variation.
			}
			t.Run(name+", "+describe(errno), func(t *testing.T) {
				t.Parallel()
				dir := memory(t)
				old, made := copyTree(t, dir, base), copyTree(t, dir, base)
				wasOld := tree(t, old)
				require.NoError(t, change(New(made)))
				isNew := tree(t, made)
				require.NoError(t, next(old))
				require.NoError(t, next(made))
				oldTree, newTree := tree(t, old), tree(t, made)
				require.NotEqual(t, oldTree, newTree)

				for at := 0; ; at++ {
					home := copyTree(t, dir, base)
					env := append(os.Environ(), "GORACE=atexit_sleep_ms=0", "FILES_TEST_ROLE=attempt", "FILES_TEST_HOME="+home, "FILES_TEST_ARG="+name)
					answer, failed, err := traced([]string{self}, env, fault{errno, at})
					require.NoError(t, err)
					if failed == "" {
						require.Equal(t, "made", answer)
						require.Greater(t, at, 5)
						break
					}
					what := fmt.Sprintf("%s at %s, no. %d: %q", describe(errno), failed, at, answer)
					again := copyTree(t, dir, home)

					// What readers see at once, and what the next change leaves.
					now := tree(t, home)
					require.NoError(t, next(home), what)
					after := withoutTrash(tree(t, home))
					switch {
					case answer == "made":
						hidden := []string{"etc/" + domain + "/.", "etc/second.example/."} // Temporary files, and the record.
						require.Equal(t, without(isNew, hidden...), withoutTrash(without(now, hidden...)), what)
						require.Equal(t, newTree, after, what)
					case strings.HasPrefix(answer, "not made"):
						require.Equal(t, withoutLock(wasOld), withoutLock(withoutEmptyDomain(now)), what)
						require.Equal(t, oldTree, withoutEmptyDomain(after), what)
					case answer == "partly":
						require.Contains(t, []string{"delete", "quota"}, name, what)
					default: // Killed, or unknown.
						require.Contains(t, []string{oldTree, newTree}, withoutEmptyDomain(after), what)
					}

					// Trying again at once, and after the next change.
					begun := strings.Contains(now, intentName)
					for _, home := range []string{again, home} {
						err := change(New(home))
						if home == again && begun && answer != "made" {
							require.NoError(t, err, what) // It finishes the change itself, and says so.
						}
						if !errors.Is(err, store.ErrNoMailbox) && !errors.Is(err, store.ErrExists) {
							require.NoError(t, err, what)
						}
						require.NoError(t, next(home), what)
						if answer != "partly" {
							require.Equal(t, newTree, tree(t, home), what)
						}
					}

					// A mailbox of the same name has no mail of the old one, unless it was kept.
					if strings.HasPrefix(name, "delete") {
						err := New(again).Create(t.Context(), store.Mailbox{Address: boxOf("user")}, "$6$x")
						if !errors.Is(err, store.ErrAside) {
							require.NoError(t, err, what)
						}
						_, err = os.Stat(filepath.Join(again, "mail", domain, "user", "cur", "1"))
						require.Equal(t, name == "delete, keep the mail", err == nil, what)
					}
					require.NoError(t, errors.Join(os.RemoveAll(filepath.Dir(home)), os.RemoveAll(filepath.Dir(again))))
				}
			})
		}
	}
}

func describe(errno unix.Errno) string {
	if errno == 0 {
		return "killed"
	}
	return unix.ErrnoName(errno)
}

// without returns a tree without the lines that begin with one of the prefixes.
func without(tree string, prefixes ...string) string {
	var b strings.Builder
	for line := range strings.Lines(tree) {
		if !slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(line, prefix) }) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// withoutTrash leaves out mail that is being removed: the next deletion of the domain goes on.
func withoutTrash(tree string) string { return without(tree, "mail/"+domain+"/"+trashName) }

// withoutEmptyDomain leaves out the directories of a domain without mailboxes.
func withoutEmptyDomain(tree string) string {
	if strings.Contains(tree, "second.example/shadow") {
		return tree
	}
	return without(tree, "etc/second.example", "mail/second.example")
}

func withoutLock(tree string) string { return without(tree, "etc/"+domain+"/"+lockName) }
