package files

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// readByMaps is Read in a simpler way that needs more time and memory. It returns the mailboxes of a domain, sorted by local part, and the lines that are not taken as mailboxes. read
// returns the contents of the file called name, or nothing if there is no such file.
func readByMaps(domain string, read func(name string) ([]byte, error)) ([]store.Entry, []store.Odd, error) {
	passwd, err := read(passwdName)
	if err != nil {
		return nil, nil, err
	}
	shadow, err := read(shadowName)
	if err != nil {
		return nil, nil, err
	}
	var odd []store.Odd
	boxes := make(map[string]*store.Entry, bytes.Count(shadow, []byte{'\n'}))
	add := func(file, name string) *store.Entry {
		b := boxes[name]
		if b == nil {
			a, err := store.NewAddress(name, domain)
			if err == nil && a.Localpart != name {
				err = errors.New("has upper-case letters; a mail server looks mailboxes up in lower case")
			}
			if err != nil {
				odd = append(odd, store.Odd{Name: name, Where: "etc/" + domain + "/" + file, Reason: "the name " + strings.TrimPrefix(err.Error(), "email: ")})
				return nil
			}
			b = &store.Entry{Mailbox: store.Mailbox{Address: a, Suspended: store.Login}, Hash: store.NoPassword}
			boxes[name] = b
		}
		return b
	}
	for name, l := range counting(shadow) {
		if b := add(shadowName, name); b != nil {
			b.Suspended, b.Hash = store.ParseField(string(l.field))
			if !l.exact {
				b.Suspended |= store.Login
			}
		}
	}
	for l := range each(passwd) {
		if _, inShadow := boxes[string(l.name)]; !inShadow {
			add(passwdName, string(l.name))
		}
	}
	quota, err := read(quotaName)
	if err != nil {
		return nil, nil, err
	}
	for name, l := range counting(quota) {
		if b := boxes[name]; b != nil {
			b.Quota, b.BadQuota = parseQuota(l.field)
		}
	}
	for _, f := range flagFiles {
		content, err := read(f.name)
		if err != nil {
			return nil, nil, err
		}
		for l := range each(content) {
			if b := boxes[string(l.name)]; b != nil {
				b.Suspended |= f.flag
			}
		}
	}
	list := make([]store.Entry, 0, len(boxes))
	for _, b := range boxes {
		list = append(list, *b)
	}
	slices.SortFunc(list, func(a, b store.Entry) int { return cmp.Compare(a.Localpart, b.Localpart) })
	slices.SortFunc(odd, func(a, b store.Odd) int { return cmp.Compare(a.Name+"\x00"+a.Where, b.Name+"\x00"+b.Where) })
	return list, slices.CompactFunc(odd, func(a, b store.Odd) bool { return a.Name == b.Name }), nil
}

// counting returns the line that counts for each mailbox in content, by name.
func counting(content []byte) map[string]line {
	out := make(map[string]line, bytes.Count(content, []byte{'\n'}))
	for l := range each(content) {
		if old, twice := out[string(l.name)]; !twice || l.before(old) {
			out[string(l.name)] = l
		}
	}
	return out
}

// Read and readByMaps return the same for files that are odd in every way.
func TestReadIsTheSameAsBySimplerMeans(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	name := func() string {
		return pick("a", "b", "c", "aa", "ab", "user", "Info", "o'brien", "", "#x", "x.y", ".x", "a-b", "a+b", "a@b", "ü", strings.Repeat("l", 65)) + pick("", "", "1", "2", "3")
	}
	for round := range 5000 {
		files := map[string][]byte{}
		// Lines in the same order in every file, then changed here and there, as programs and people leave them.
		names := make([]string, random.IntN(12))
		for i := range names {
			names[i] = name()
		}
		if random.IntN(3) == 0 {
			slices.Sort(names)
		}
		fields := map[string]func() string{
			passwdName: func() string { return "x:1:1::/home:/bin/false" },
			shadowName: func() string {
				return pick("$6$salt$hash", "!$6$salt$hash", "*LOCKED*$6$s$h", "", "*", "!", "{PLAIN}x", " $6$s$h ", "!!") + pick(":1::::", "", ":")
			},
			quotaName: func() string {
				return pick("0", "5", "12345678901234567890", "10S", "", " 7 ", "-1", "007", "999999999999999999")
			},
		}
		for _, f := range flagFiles {
			fields[f.name] = func() string { return pick("", "1") }
		}
		for file, field := range fields {
			var text strings.Builder
			for _, n := range names {
				for range []int{1, 1, 1, 1, 0, 2}[random.IntN(6)] {
					fmt.Fprintf(&text, "%s%s%s:%s%s", pick("", "", "", " ", "\t"), n, pick("", "", "", " "), field(), pick("\n", "\n", "\n", "\r\n", "\x00\n"))
				}
				if random.IntN(8) == 0 {
					fmt.Fprintf(&text, "%s:%s\n", name(), field())
				}
				if random.IntN(20) == 0 {
					text.WriteString(pick("\n", "junk\n", ":\n", "# note\n", "\x00\n"))
				}
			}
			files[file] = []byte(strings.TrimSuffix(text.String(), pick("", "\n")))
		}
		read := func(file string) ([]byte, error) { return files[file], nil }
		want, wantOdd, err := readByMaps("example.com", read)
		require.NoError(t, err)
		got, odd, err := Read("example.com", read)
		require.NoError(t, err)
		require.Equal(t, len(want), len(got))
		for i := range want {
			require.Equal(t, want[i], got[i], "round %d: %q", round, files)
		}
		require.ElementsMatch(t, wantOdd, odd, "round %d: %q", round, files)
		got, _, err = readDomain("example.com", false, read)
		require.NoError(t, err)
		for i := range want {
			require.Equal(t, want[i].Mailbox, got[i].Mailbox)
			require.Empty(t, got[i].Hash)
		}
	}
	broken := errors.New("broken")
	for _, file := range []string{passwdName, shadowName, quotaName, flagFiles[0].name} {
		_, _, err := Read("example.com", func(name string) ([]byte, error) {
			if name == file {
				return nil, broken
			}
			return nil, nil
		})
		require.ErrorIs(t, err, broken)
	}
}

func BenchmarkRead(b *testing.B) {
	var passwd, shadow, quota strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&passwd, "b%d:x:1:1::/home/demo/mail/example.com/b%d:/bin/false\n", i, i)
		fmt.Fprintf(&shadow, "b%d:$6$abcdefghijklmnop$%086d:20000::::::\n", i, i)
		fmt.Fprintf(&quota, "b%d:%d\n", i, i)
	}
	files := map[string][]byte{passwdName: []byte(passwd.String()), shadowName: []byte(shadow.String()), quotaName: []byte(quota.String())}
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = readDomain("example.com", false, func(name string) ([]byte, error) { return files[name], nil })
	}
}
