package token

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func store(t *testing.T) *Store {
	t.Helper()
	return Open(filepath.Join(t.TempDir(), "tokens.json"))
}

func grant(name string) Grant { return Grant{User: "alice", UID: 1001, Service: CPanel, Name: name} }

// T34: a token has 260 random bits. Only its hash is stored, and its id finds it. A token with a wrong byte
// is another token.
func TestT34_Tokens(t *testing.T) {
	s := store(t)
	text, made, err := s.Create(grant("one"))
	require.NoError(t, err)
	require.Regexp(t, `^[A-Z2-7]{64}$`, text)
	kept, err := os.ReadFile(s.path)
	require.NoError(t, err)
	require.NotContains(t, string(kept), text[idLength:], "the file has no token")
	require.Contains(t, string(kept), made.SHA256)
	info, err := os.Stat(s.path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())

	found, err := s.Find(text, "alice", CPanel)
	require.NoError(t, err)
	require.Equal(t, made, found)
	for i := range text {
		other := "A"
		if text[i] == 'A' {
			other = "B"
		}
		_, err := s.Find(text[:i]+other+text[i+1:], "alice", CPanel)
		require.ErrorIs(t, err, ErrNone, "byte %d", i)
	}
	for _, wrong := range []string{"", text + "A", text[1:], strings.ToLower(text), text[:idLength], made.SHA256, made.ID + made.SHA256[:52]} {
		_, err := s.Find(wrong, "alice", CPanel)
		require.ErrorIs(t, err, ErrNone, "%q", wrong)
	}
	_, err = s.Find(text, "bob", CPanel)
	require.ErrorIs(t, err, ErrNone, "another account's")
	_, err = s.Find(text, "alice", WHM)
	require.ErrorIs(t, err, ErrNone, "another port's")
	other, _, err := s.Create(grant("two"))
	require.NoError(t, err)
	require.NotEqual(t, text, other)
}

func TestLifeOfAToken(t *testing.T) {
	s := store(t)
	text, _, err := s.Create(grant("one"))
	require.NoError(t, err)
	_, _, err = s.Create(grant("one"))
	require.ErrorIs(t, err, ErrExists)
	for _, name := range []string{"", "a b", "a\nb", "a:b", "ä", strings.Repeat("a", 51), `"`} {
		_, _, err = s.Create(grant(name))
		require.ErrorIs(t, err, ErrInvalid, "%q", name)
		require.ErrorIs(t, s.Rename("alice", 1001, CPanel, "one", name), ErrInvalid)
	}
	require.NoError(t, s.Rename("alice", 1001, CPanel, "one", "uno"))
	require.ErrorIs(t, s.Rename("alice", 1001, CPanel, "one", "x"), ErrNone)
	require.ErrorIs(t, s.Rename("bob", 1002, CPanel, "uno", "x"), ErrNone)
	found, err := s.Find(text, "alice", CPanel)
	require.NoError(t, err)
	require.Equal(t, "uno", found.Name)

	// Another process sees the change at once.
	other := Open(s.path)
	require.ErrorIs(t, other.Revoke("alice", 1002, CPanel, "uno"), ErrNone, "of the name's former owner")
	require.NoError(t, other.Revoke("alice", 1001, CPanel, "uno"))
	_, err = s.Find(text, "alice", CPanel)
	require.ErrorIs(t, err, ErrNone)

	g := grant("past")
	g.Expires = time.Now().Add(-time.Second)
	text, _, err = s.Create(g)
	require.NoError(t, err)
	_, err = s.Find(text, "alice", CPanel)
	require.ErrorIs(t, err, ErrNone, "its time is over")

	text, _, err = s.Create(grant("gone"))
	require.NoError(t, err)
	require.NoError(t, s.RevokeUser("alice", 1001))
	_, err = s.Find(text, "alice", CPanel)
	require.NoError(t, err, "of who has the name now")
	require.NoError(t, s.RevokeUser("alice", -1))
	_, err = s.Find(text, "alice", CPanel)
	require.ErrorIs(t, err, ErrNone)
	require.NoError(t, s.RevokeUser("alice", -1))
}

func TestAccessHash(t *testing.T) {
	s := store(t)
	line := strings.Repeat("0123456789abcdef", 2)
	hash := strings.Repeat(line+"\n", 29)
	_, err := s.AddAccessHash(hash, Grant{User: "root", Service: WHM, Name: "accesshash"})
	require.NoError(t, err)
	for _, sent := range []string{strings.Repeat(line, 29), strings.ReplaceAll(hash, "\n", " ")} {
		_, err = s.Find(sent, "root", WHM)
		require.NoError(t, err)
	}
	for _, wrong := range []string{strings.Repeat(line, 28), strings.Repeat(line, 28) + line[:31] + "0", line} {
		_, err = s.Find(wrong, "root", WHM)
		require.ErrorIs(t, err, ErrNone)
	}
	_, err = s.Find(hash, "alice", WHM)
	require.ErrorIs(t, err, ErrNone)
	_, err = s.AddAccessHash("short", Grant{User: "root", Service: WHM, Name: "x"})
	require.ErrorIs(t, err, ErrInvalid)
	kept, err := os.ReadFile(s.path)
	require.NoError(t, err)
	require.NotContains(t, string(kept), line)
}

// T42: a truncated or damaged file is rejected completely; no part of it is used.
func TestT42_BrokenFile(t *testing.T) {
	s := store(t)
	text, _, err := s.Create(grant("one"))
	require.NoError(t, err)
	_, _, err = s.Create(grant("two"))
	require.NoError(t, err)
	whole, err := os.ReadFile(s.path)
	require.NoError(t, err)
	for n := range len(whole) - 1 { // Without the last line feed the file is complete.
		require.NoError(t, os.WriteFile(s.path, whole[:n], 0o600))
		_, err := Open(s.path).Find(text, "alice", CPanel)
		require.Error(t, err, "%d bytes", n)
		require.NotErrorIs(t, err, ErrNone, "%d bytes", n)
		require.NotContains(t, err.Error(), "sha256\":")
	}
	for name, content := range map[string]string{
		"two documents": string(whole) + string(whole), "an unknown key": strings.Replace(string(whole), `"name"`, `"nome"`, 1),
		"no name": strings.Replace(string(whole), `"one"`, `"o\ne"`, 1), "a newer version": strings.Replace(string(whole), `"version": 1`, `"version": 2`, 1),
		"no user": strings.Replace(string(whole), `"alice"`, `""`, 1), "no service": strings.Replace(string(whole), `"cpanel"`, `"ftp"`, 1),
	} {
		require.NoError(t, os.WriteFile(s.path, []byte(content), 0o600))
		_, err := Open(s.path).Find(text, "alice", CPanel)
		require.Error(t, err, name)
		require.NotErrorIs(t, err, ErrNone, name)
		require.Error(t, Open(s.path).Revoke("alice", 1001, CPanel, "one"), name)
		kept, err := os.ReadFile(s.path)
		require.NoError(t, err)
		require.Equal(t, content, string(kept), "a broken file is left for its operator")
	}
	require.NoError(t, os.WriteFile(s.path, whole, 0o600))
	require.NoError(t, os.Chmod(s.path, 0o644))
	_, err = Open(s.path).Find(text, "alice", CPanel)
	require.ErrorContains(t, err, "mode 600")
}

// Concurrent changes by several processes are all made.
func TestChangesTogether(t *testing.T) {
	if path := os.Getenv("TOKEN_STORE"); path != "" {
		for i := range 20 {
			_, _, err := Open(path).Create(grant(fmt.Sprintf("p%s-%d", os.Getenv("TOKEN_N"), i)))
			require.NoError(t, err)
		}
		return
	}
	s := store(t)
	var all sync.WaitGroup
	failed := make(chan error, 16)
	for n := range 4 {
		all.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run", "^TestChangesTogether$")
			cmd.Env = append(os.Environ(), "TOKEN_STORE="+s.path, fmt.Sprint("TOKEN_N=", n))
			if out, err := cmd.CombinedOutput(); err != nil {
				failed <- fmt.Errorf("%w: %s", err, out)
			}
		})
		all.Go(func() {
			for i := range 20 {
				if _, _, err := s.Create(grant(fmt.Sprintf("t%d-%d", n, i))); err != nil {
					failed <- err
				}
			}
		})
	}
	all.Wait()
	close(failed)
	for err := range failed {
		require.NoError(t, err)
	}
	tokens, err := s.List("alice")
	require.NoError(t, err)
	require.Len(t, tokens, 160)
	for i := len(tokens); ; i++ {
		if _, _, err = s.Create(grant(fmt.Sprint("more-", i))); err != nil {
			break
		}
	}
	require.True(t, errors.Is(err, ErrFull), "%v", err)
}
