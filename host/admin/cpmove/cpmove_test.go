package cpmove_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/admin/cpmove"
)

// entry is an entry of an archive.
type entry struct {
	name, text string
	kind       byte
	link       string
	mode       int64
}

func archive(t *testing.T, entries ...entry) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, e := range entries {
		if e.kind == 0 {
			e.kind = tar.TypeReg
		}
		if e.mode == 0 {
			e.mode = 0o640
		}
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.link, Mode: e.mode, Size: int64(len(e.text)), Format: tar.FormatPAX}
		require.NoError(t, w.WriteHeader(h))
		_, err := w.Write([]byte(e.text))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	path := filepath.Join(t.TempDir(), "cpmove-alice.tar.gz")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
	return path
}

const users = `DNS=Alice.example
DNS2=second.example
DNS1=first.example
PLAN=gold
MAXPOP=10
SECRET=c4n4ry
MAX_EMAILACCT_QUOTA=1024
SUSPENDED=1
broken line
`

func whole() []entry {
	return []entry{
		{name: "cpmove-alice/", kind: tar.TypeDir, mode: 0o755},
		{name: "cpmove-alice/cp/alice", text: users},
		{name: "cpmove-alice/homedir/etc/", kind: tar.TypeDir, mode: 0o4777},
		{name: "cpmove-alice/homedir/etc/alice.example/shadow", text: "user:$6$x:1::::::\n", mode: 0o4777},
		{name: "cpmove-alice/homedir/etc/other.example/passwd", text: ""},
		{name: "cpmove-alice/homedir/etc/cache/x.cache", text: "x"},
		{name: "cpmove-alice/homedir/mail/alice.example/user/cur/1.a,S=5:2,", text: "12345"},
		{name: "cpmove-alice/homedir/mail/.user@alice_example", kind: tar.TypeSymlink, link: "/home/alice/mail/alice.example/user"},
		{name: "cpmove-alice/homedir/public_html/index.html", text: "not mail"},
		{name: "cpmove-alice/homedir/www", kind: tar.TypeSymlink, link: "public_html"},
		{name: "cpmove-alice/mysql/alice.sql", text: "not mail"},
	}
}

func nothing(string) error { return nil }

func committed() error { return nil }

func TestArchive(t *testing.T) {
	file := archive(t, whole()...)
	plan, err := cpmove.Look(t.Context(), file, "", cpmove.DefaultLimits)
	require.NoError(t, err)
	require.Equal(t, cpmove.Account{
		Name: "alice", Domains: []string{"alice.example", "first.example", "second.example", "other.example"}, Suspended: true,
		Data: map[string]string{"PLAN": "gold", "MAXPOP": "10", "MAX_EMAILACCT_QUOTA": "1024"},
	}, plan.Account)
	require.EqualValues(t, 4, plan.Files)
	require.Equal(t, []cpmove.LeftOut{{Path: "mail/.user@alice_example", Reason: "a symbolic link to /home/alice/mail/alice.example/user"}}, plan.Left)

	home := t.TempDir()
	require.NoError(t, cpmove.Unpack(t.Context(), file, cpmove.DefaultLimits, plan, home, os.Getuid(), os.Getgid(), nothing, committed))
	var got []string
	require.NoError(t, filepath.Walk(home, func(path string, info os.FileInfo, err error) error {
		require.NoError(t, err)
		if name, _ := filepath.Rel(home, path); name != "." {
			got = append(got, name+" "+info.Mode().String())
		}
		return nil
	}))
	require.Equal(t, []string{
		"etc drwxrwx---", "etc/alice.example drwx------", "etc/alice.example/shadow -rw-rw-r--",
		"etc/cache drwx------", "etc/cache/x.cache -rw-r-----", "etc/other.example drwx------", "etc/other.example/passwd -rw-r-----",
		"mail drwx------", "mail/alice.example drwx------", "mail/alice.example/user drwx------", "mail/alice.example/user/cur drwx------",
		"mail/alice.example/user/cur/1.a,S=5:2, -rw-r-----",
	}, got)
	require.ErrorContains(t, cpmove.Unpack(t.Context(), file, cpmove.DefaultLimits, plan, home, 0, 0, nothing, committed), "already contains etc")

	// An archive that is replaced after the check leaves no files.
	swapped := archive(t, append(whole(), entry{name: "cpmove-alice/homedir/mail/more", text: "x"})...)
	home = t.TempDir()
	require.ErrorIs(t, cpmove.Unpack(t.Context(), swapped, cpmove.DefaultLimits, plan, home, os.Getuid(), os.Getgid(), nothing, committed), cpmove.ErrHostile)
	entries, err := os.ReadDir(home)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestHostileArchives(t *testing.T) {
	in := func(e entry) []entry {
		e.name = "cpmove-alice/homedir/" + e.name
		return append(whole(), e)
	}
	for name, c := range map[string]struct {
		entries []entry
		limits  cpmove.Limits
		says    string
	}{
		"upwards":                        {entries: in(entry{name: "mail/../../../x", text: "x"}), says: "leads out of the archive"},
		"upwards, elsewhere":             {entries: append(whole(), entry{name: "../x", text: "x"}), says: "leads out of the archive"},
		"absolute":                       {entries: append(whole(), entry{name: "/etc/passwd", text: "x"}), says: "the entry name"},
		"a link in etc":                  {entries: in(entry{name: "etc/alice.example/passwd", kind: tar.TypeSymlink, link: "/etc/passwd"}), says: "is a symbolic link"},
		"a link deep in mail":            {entries: in(entry{name: "mail/alice.example/x", kind: tar.TypeSymlink, link: "/etc"}), says: "is a symbolic link"},
		"a link to another's mail":       {entries: in(entry{name: "mail/.x", kind: tar.TypeSymlink, link: "/home/bob/mail/x"}), says: "is a symbolic link"},
		"a link that climbs":             {entries: in(entry{name: "mail/x", kind: tar.TypeSymlink, link: "alice.example/../../etc"}), says: "is a symbolic link"},
		"through a link":                 {entries: append(in(entry{name: "mail/x", kind: tar.TypeSymlink, link: "alice.example"}), entry{name: "cpmove-alice/homedir/mail/x/y", text: "x"}), says: "is a symbolic link and a directory"},
		"before a link":                  {entries: append(in(entry{name: "mail/x/y", text: "x"}), entry{name: "cpmove-alice/homedir/mail/x", kind: tar.TypeSymlink, link: "alice.example"}), says: "is a symbolic link and a directory"},
		"a hard link to another mailbox": {entries: in(entry{name: "mail/alice.example/other/cur/1", kind: tar.TypeLink, link: "cpmove-alice/homedir/mail/alice.example/user/cur/1.a,S=5:2,"}), says: "not a file of the same mailbox"},
		"a hard link in etc":             {entries: in(entry{name: "etc/alice.example/quota", kind: tar.TypeLink, link: "cpmove-alice/homedir/etc/alice.example/shadow"}), says: "not a file of the same mailbox"},
		"mail is a symbolic link":        {entries: in(entry{name: "mail", kind: tar.TypeSymlink, link: "/etc"}), says: "is a symbolic link"},
		"a hard link":                    {entries: in(entry{name: "mail/x", kind: tar.TypeLink, link: "cpmove-alice/cp/alice"}), says: "not a file of the same mailbox"},
		"a device":                       {entries: in(entry{name: "mail/x", kind: tar.TypeBlock}), says: "neither a file nor a directory"},
		"a FIFO":                         {entries: in(entry{name: "etc/x", kind: tar.TypeFifo}), says: "neither a file nor a directory"},
		"a long name":                    {entries: in(entry{name: "mail/" + strings.Repeat("a", 300), text: "x"}), says: "is too long"},
		"a deep name":                    {entries: in(entry{name: "mail/" + strings.Repeat("a/", 2000) + "x", text: "x"}), says: "is too long"},
		"mail is a file":                 {entries: []entry{{name: "cpmove-alice/homedir/mail", text: "x"}}, says: "is not a directory"},
		"a long link":                    {entries: in(entry{name: "mail/.x", kind: tar.TypeSymlink, link: strings.Repeat("a", 5000)}), says: "too long symbolic links"},
		"another account inside":         {entries: []entry{{name: "cpmove-alice/cp/root", text: "DNS=a.example\n"}}, says: "pass the name of the account with --name"},
		"two top directories":            {entries: append(whole(), entry{name: "cpmove-bob/cp/bob", text: "x"}), says: "two top directories"},
		"no account":                     {entries: []entry{{name: "something/x", text: "x"}}, says: "not that of a cPanel account"},
		"a name that is none":            {entries: []entry{{name: "cpmove-$(id)/cp/$(id)", text: "x"}}, says: "pass the name of the account with --name"},
		"empty":                          {says: "is empty"},
		"too many entries":               {entries: whole(), limits: cpmove.Limits{Bytes: 1 << 30, Entries: 3, Ratio: 100}, says: "more than 3 entries"},
		"too many bytes":                 {entries: whole(), limits: cpmove.Limits{Bytes: 10, Entries: 100, Ratio: 100}, says: "more than 10 bytes"},
		"a bomb":                         {entries: in(entry{name: "mail/x", text: strings.Repeat("\x00", 80<<20)}), says: "100 times as large as the archive file"},
		"a long users file":              {entries: append([]entry{{name: "cpmove-alice/cp/alice", text: strings.Repeat("#\n", 1<<20)}}, whole()[2:]...), says: "users file has more"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.limits == (cpmove.Limits{}) {
				c.limits = cpmove.DefaultLimits
			}
			_, err := cpmove.Look(t.Context(), archive(t, c.entries...), "", c.limits)
			require.ErrorContains(t, err, c.says)
		})
	}
	file := filepath.Join(t.TempDir(), "x")
	require.NoError(t, os.WriteFile(file, []byte("no archive"), 0o600))
	_, err := cpmove.Look(t.Context(), file, "", cpmove.DefaultLimits)
	require.ErrorContains(t, err, "not an archive")
}

// A name that comes twice is refused before anything is written.
func TestTwice(t *testing.T) {
	file := archive(t, append(whole(), entry{name: "cpmove-alice/homedir/etc/alice.example/shadow", text: "x"})...)
	_, err := cpmove.Look(t.Context(), file, "", cpmove.DefaultLimits)
	require.ErrorIs(t, err, cpmove.ErrHostile)
	require.ErrorContains(t, err, "twice")
}

func FuzzParseUsers(f *testing.F) {
	f.Add(users)
	f.Add("DNS=\nDNS99999999999999999999=x\n=\n")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := cpmove.ParseUsers("alice", strings.NewReader(text))
		if err == nil {
			require.NotContains(t, a.Domains, "")
		}
	})
}
