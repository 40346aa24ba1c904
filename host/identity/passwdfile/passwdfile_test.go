package passwdfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol"
)

func verify(t *testing.T, path, name, password string) bool {
	t.Helper()
	f, err := Open(path)
	require.NoError(t, err)
	ok, err := f.Verify(t.Context(), name, protocol.NewSecret(password))
	require.NoError(t, err)
	return ok
}

func TestSetAndVerify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwords")
	require.False(t, verify(t, path, "alice", "x"), "no file is nobody")
	was, err := Set(path, "alice", protocol.NewSecret("first & one"))
	require.NoError(t, err)
	require.False(t, was)
	_, err = Set(path, "bob", protocol.NewSecret("bob's"))
	require.NoError(t, err)
	was, err = Set(path, "alice", protocol.NewSecret("second: one"))
	require.NoError(t, err)
	require.True(t, was)
	require.True(t, verify(t, path, "alice", "second: one"))
	for _, wrong := range []string{"first & one", "second: one ", "", "second: on", strings.Repeat("x", 600)} {
		require.False(t, verify(t, path, "alice", wrong), "%q", wrong)
	}
	require.True(t, verify(t, path, "bob", "bob's"))
	for _, name := range []string{"", "nobody", "alic", "alice:", "bob\n", "ALICE"} {
		require.False(t, verify(t, path, name, "second: one"), "%q", name)
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(text), "second")
	require.Equal(t, 2, strings.Count(string(text), "\n"))
	_, err = Set(path, "alice", protocol.NewSecret("a\nroot:x"))
	require.Error(t, err)
	was, err = Set(path, "alice", protocol.Secret{})
	require.NoError(t, err)
	require.True(t, was)
	require.False(t, verify(t, path, "alice", "second: one"))
}

// Lines in the formats of Debian's shadow, htpasswd and others. All have the password "pleaseletmein", except
// those that must not allow a sign-in.
func TestForeignLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwords")
	const made = "$y$j9T$NzNwWoVU9dQ1lx.x5xvPH1$faIAkVFWt6Er4AQk/qgH0Eorvzaey.HMRUNyG.gwfO4" // Made by libxcrypt's crypt(3).
	sha := "$6$saltsalt$Epo2xi3fNzX5pdhbo3oJ9W.TG1g3qDq97PvvMRUgZuJTOorXZWwG1VPMDPS5pTZF44i5p/Jbv64aFhvAH07E6/"
	lines := []string{
		"sha:" + sha + ":19000:0:99999:7:::",
		"locked:!" + made + ":19000:0:99999:7:::", "none:*:19000::::::", "empty::19000::::::", "ended:" + sha + ":19000:0:99999:7::19001:", "lasts:" + sha + ":19000:0:99999:7::99999:",
		"plain:pleaseletmein", "broken:$6$", "odd:$y$j9T$", "huge:$y$jzzzzz$abc$def", "rest", "twice:" + sha, "twice:$2y$10$",
	}
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600))
	for _, name := range []string{"sha", "lasts", "twice"} {
		require.True(t, verify(t, path, name, "Old.passw0rd-1"), name)
		require.False(t, verify(t, path, name, "pleaseletmein"), name)
	}
	for _, name := range []string{"locked", "none", "empty", "ended", "plain", "broken", "odd", "huge", "rest"} {
		for _, password := range []string{"pleaseletmein", "Old.passw0rd-1", "", "!", "*"} {
			require.False(t, verify(t, path, name, password), "%s %q", name, password)
		}
	}
	debian := filepath.Join(t.TempDir(), "shadow")
	require.NoError(t, os.WriteFile(debian, []byte("debian:"+made+":19000:0:99999:7:::\nsha:"+sha+"\ntwice:"+sha+"\ntwice:"+made+"\n"), 0o600))
	mixed, err := Open(debian)
	require.NoError(t, err)
	for _, c := range []struct {
		name, password string
		ok             bool
	}{{"debian", "pleaseletmein", true}, {"debian", "pleaseletmeim", false}, {"twice", "Old.passw0rd-1", true}, {"twice", "pleaseletmein", false}} {
		ok, err := mixed.Verify(t.Context(), c.name, protocol.NewSecret(c.password))
		require.NoError(t, err)
		require.Equal(t, c.ok, ok, c.name)
	}
	// T35: a name without a password takes as long as the slowest password, and this time is known.
	require.Equal(t, made, mixed.dummy)
	require.Equal(t, mixed.kinds["$y$j9T"], mixed.Longest())
	require.Greater(t, mixed.Longest(), 2*mixed.kinds["$6"])
	require.Len(t, mixed.kinds, 2)
	require.NoError(t, os.WriteFile(debian, []byte("sha:"+sha+"\n"), 0o600))
	_, err = mixed.Verify(t.Context(), "nobody", protocol.NewSecret("x"))
	require.NoError(t, err)
	require.Equal(t, sha, mixed.dummy)
	require.Equal(t, mixed.kinds["$6"], mixed.Longest())

	require.NoError(t, os.Chmod(path, 0o666))
	f, err := Open(path)
	require.NoError(t, err)
	_, err = f.Verify(t.Context(), "sha", protocol.NewSecret("Old.passw0rd-1"))
	require.ErrorContains(t, err, "no other user can write")
}

// A file of the system is read and never written.
func TestForeignFileIsNotWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shadow")
	const text = "root:*:20228:0:99999:7:::\nalice:$6$a$b:20228:0:99999:7:::\n"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o640))
	for _, password := range []string{"a new one 1", ""} {
		_, err := Set(path, "root", protocol.NewSecret(password))
		require.ErrorIs(t, err, ErrForeign)
	}
	kept, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, text, string(kept))
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "no lock file is left: the system's tools have one by that name")
}
