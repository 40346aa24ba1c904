package files

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// today is day 20000 since 1970.
var today = time.Unix(20000*86400+5, 0)

func nobody(string) (bool, error) { return false, nil }

func TestT30_SetHashesKeepsWhatItDoesNotOwn(t *testing.T) {
	for _, c := range []struct{ name, before, after string }{
		{"a shadow line", "user:$6$old:19000:0:99999:7:::\n", "user:$6$new:20000:0:99999:7:::\n"},
		{"the middle one", "a:x:1::::::\nuser:$6$old:19000::::::\nb:y:2::::::\n", "a:x:1::::::\nuser:$6$new:20000::::::\nb:y:2::::::\n"},
		{"comments, blank lines and foreign lines", "# user:old\n\nnonsense\nuser:$6$old:1::::::\n:::\n\n#end", "# user:old\n\nnonsense\nuser:$6$new:20000::::::\n:::\n\n#end"},
		{"names that only begin or end alike", "user2:a:1::::::\nauser:b:1::::::\nuser:$6$old:1::::::\nuser.x:c:1::::::\n",
			"user2:a:1::::::\nauser:b:1::::::\nuser:$6$new:20000::::::\nuser.x:c:1::::::\n"},
		{"no newline at the end", "a:x:1::::::\nuser:$6$old:1::::::", "a:x:1::::::\nuser:$6$new:20000::::::"},
		{"two fields", "user:$6$old\nb:y\n", "user:$6$new\nb:y\n"},
		{"two fields and CR LF", "user:$6$old\r\nb:y\r\n", "user:$6$new\r\nb:y\r\n"},
		{"nine fields and CR LF", "user:$6$old:1::::::\r\n", "user:$6$new:20000::::::\r\n"},
		{"Dovecot's extra fields", "user:$6$old:1001:1001::/home/u::userdb_quota_rule=*:bytes=1\n", "user:$6$new:1001:1001::/home/u::userdb_quota_rule=*:bytes=1\n"},
		{"no day is no day", "user:$6$old:::::::\n", "user:$6$new:::::::\n"},
		{"a day that is none", "user:$6$old:never::::::\n", "user:$6$new:never::::::\n"},
		{"an empty hash", "user::1::::::\n", "user:$6$new:20000::::::\n"},
		{"suspended", "user:!$6$old:1::::::\n", "user:!$6$new:20000::::::\n"},
		{"suspended twice", "user:!!$6$old:1::::::\n", "user:!!$6$new:20000::::::\n"},
		{"suspended without a hash", "user:!:1::::::\n", "user:!$6$new:20000::::::\n"},
		{"without a password", "user:*:1::::::\n", "user:$6$new:20000::::::\n"},
		{"suspended, with another mark", "user:*$6$old:1::::::\n", "user:*$6$new:20000::::::\n"},
		{"Dovecot's own kind, with as many fields", "user:$6$old:5000:5000::/home/x::userdb_mail=maildir:~/Maildir\n", "user:$6$new:5000:5000::/home/x::userdb_mail=maildir:~/Maildir\n"},
		{"a password that begins like a marker", "user:{PLAIN}!secret:1::::::\n", "user:$6$new:20000::::::\n"},
		{"suspended behind its scheme", "user:{BLF-CRYPT}!$2y$old:1::::::\n", "user:!$6$new:20000::::::\n"},
		{"no colon", "user\nb:y\n", "user:$6$new\nb:y\n"},
		{"blanks around the name and the hash", " user : $6$old :1::::::\nb:y\n", "user:$6$new:20000::::::\nb:y\n"},
		{"blanks around a mark", "user: ! $6$old\n", "user:!$6$new\n"},
		{"the exact name counts", " user:!$6$a:1::::::\nuser:$6$b:1::::::\n", "user:$6$new:20000::::::\n"},
		{"after a NUL byte", "user:$6$old:1::::::\x00rest\r\nb:y\n", "user:$6$new:20000::::::\r\nb:y\n"},
		{"two lines", "user:$6$old:1::::::\nb:y\nuser:$6$other:1::::::\n", "user:$6$new:20000::::::\nb:y\n"},
		{"three lines, the first suspended", "user:!$6$a:1::::::\nuser:$6$b:1::::::\nb:y\nuser:$6$c:1::::::", "user:!$6$new:20000::::::\nb:y\n"},
		{"bytes that are no text", "b\xff:\x01:1::::::\nuser:$6$old:1::::::\n", "b\xff:\x01:1::::::\nuser:$6$new:20000::::::\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, failed := setHashes([]byte(c.before), map[string]string{"user": "$6$new"}, today, nobody)
			require.Empty(t, failed)
			require.Equal(t, c.after, string(got))
		})
	}
}

func TestSetHashesRefuses(t *testing.T) {
	for _, c := range []struct {
		name, before string
		want         error
	}{
		{"no file content", "", store.ErrNoMailbox},
		{"no such line", "a:x\n", store.ErrNoMailbox},
		{"a name in another field", "a:user:x\n", store.ErrNoMailbox},
		{"a commented line", "#user:x\n", store.ErrNoMailbox},
		{"another case", "User:x\n", store.ErrNoMailbox},
		{"locked by cPanel", "user:*LOCKED*$6$old:1::::::\n", store.ErrSuspended},
		{"suspended and locked", "user:!*LOCKED*$6$old:1::::::\n", store.ErrSuspended},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, failed := setHashes([]byte(c.before), map[string]string{"user": "$6$new"}, today, nobody)
			require.ErrorIs(t, failed["user"], c.want)
			require.Equal(t, c.before, string(got))
		})
	}
}

func TestSetHashesAddsALineForAMailboxWithoutOne(t *testing.T) {
	known := func(name string) (bool, error) { return name == "user" || name == "another", nil }
	got, failed := setHashes([]byte("a:x:1::::::"), map[string]string{"user": "$6$n", "another": "$6$m", "nobody": "$6$o"}, today, known)
	require.Equal(t, "a:x:1::::::\nanother:$6$m:20000::::::\nuser:$6$n:20000::::::\n", string(got))
	require.Len(t, failed, 1)
	require.ErrorIs(t, failed["nobody"], store.ErrNoMailbox)
}

func TestT27_CheckHash(t *testing.T) {
	for _, hash := range []string{"$6$salt$abc./", "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$c2FsdA$aGFzaA", "{BLF-CRYPT}$2y$10$abc"} {
		require.NoError(t, store.CheckHash(hash))
	}
	for _, hash := range []string{"", "a:b", "a\nb", "a\rb", "a\x00b", "a b", "a\x7f", "päß", "abc[13]", strings.Repeat("a", 513)} {
		require.ErrorIs(t, store.CheckHash(hash), store.ErrUnsafe, "%q", hash)
	}
}

// Concurrent changes of many mailboxes have the same result as consecutive changes.
func TestSetHashesTogether(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2_000 {
		before := generate(r)
		hashes := map[string]string{"user": "$6$a", "user2": "$6$b", "a": "$6$c", "nobody": "$6$d"}
		together, failedTogether := setHashes(before, hashes, today, nobody)
		single := before
		for name, hash := range hashes {
			next, failed := setHashes(single, map[string]string{name: hash}, today, nobody)
			require.Equal(t, failed[name], failedTogether[name], "%s in %q", name, before)
			single = next
		}
		require.Equal(t, string(single), string(together))
	}
}

// generate returns a store with random lines, among them a line for user.
func generate(r *rand.Rand) []byte {
	pieces := []string{"a", "user", "user2", ":", "!", "*", "*LOCKED*", "$6$x", "#", " ", "\t", "\xff", "{X}", "1", "=", "\r"}
	var b bytes.Buffer
	lines := r.IntN(30)
	at := r.IntN(lines + 1)
	for i := range lines + 1 {
		if i == at {
			fmt.Fprintf(&b, "user:%s$6$old%d:%d::::::", []string{"", "!", "!!"}[r.IntN(3)], r.IntN(9), r.IntN(30000))
		} else {
			var line string
			for range r.IntN(8) {
				line += pieces[r.IntN(len(pieces))]
			}
			if l, ok := lineAt([]byte(line), 0); ok && string(l.name) == "user" {
				continue
			}
			b.WriteString(line)
		}
		b.WriteByte('\n')
	}
	out := b.Bytes()
	if r.IntN(4) == 0 {
		out = bytes.TrimRight(out, "\n")
	}
	return out
}

// R7: a change modifies a single line of any store, and only two fields in it.
func TestR07_NobodyElsesBytesChange(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		before := generate(r)
		after, failed := setHashes(before, map[string]string{"user": "$6$new"}, today, nobody)
		require.Empty(t, failed, "%q", before)
		old, now := bytes.Split(before, []byte("\n")), bytes.Split(after, []byte("\n"))
		require.Len(t, now, len(old))
		for i := range old {
			if !bytes.HasPrefix(old[i], []byte("user:")) {
				require.Equal(t, old[i], now[i])
				continue
			}
			was, is := strings.Split(string(old[i]), ":"), strings.Split(string(now[i]), ":")
			require.Len(t, is, len(was))
			require.Equal(t, strings.Split(was[1], "$")[0]+"$6$new", is[1])
			require.Equal(t, "20000", is[2])
			require.Equal(t, was[3:], is[3:])
		}
	}
}

// A change is found afterwards, nothing else changed, and no file causes a panic.
func FuzzShadow(f *testing.F) {
	for _, seed := range []string{
		"user:$6$old:19000:0:99999:7:::\n", "user:!x\r\n", "a\nuser:*LOCKED*$1$x:::", "user:{SHA512-CRYPT}!$6$x\nb:c", "user", ":", "\n\nuser:\n", "user:a\nuser:b",
	} {
		f.Add([]byte(seed), "user", "$6$new")
	}
	f.Fuzz(func(t *testing.T, content []byte, name, hash string) {
		box, err := store.NewAddress(name, "example.com")
		if err != nil || store.CheckHash(hash) != nil {
			return
		}
		was, findErr := entryFor(content, box.Localpart)
		after, failed := setHashes(content, map[string]string{box.Localpart: hash}, today, nobody)
		if findErr != nil {
			require.Error(t, failed[box.Localpart])
			require.Equal(t, content, after)
			return
		}
		if was.flags().Has(store.Locked) {
			require.ErrorIs(t, failed[box.Localpart], store.ErrSuspended)
			return
		}
		require.Empty(t, failed)
		now, err := entryFor(after, box.Localpart)
		require.NoError(t, err)
		require.Empty(t, now.others)
		without := func(content []byte) string { // All lines but those of the mailbox.
			var b strings.Builder
			for at := 0; at < len(content); {
				l, ok := lineAt(content, at)
				if !ok || string(l.name) != box.Localpart {
					b.Write(content[at:l.end])
				}
				at = l.end
			}
			return b.String()
		}
		require.Equal(t, without(content), without(after))
		marks, _ := store.SplitMarks(hash)
		require.Equal(t, was.mark()+marks, now.marks, "a suspended login stays suspended")
	})
}
