package cpmove_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/admin/cpmove"
)

// tarOf returns a tar file with the entries.
func tarOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.link, Mode: 0o640, Size: int64(len(e.text))}
		if e.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		if e.kind == tar.TypeDir {
			h.Mode = 0o755
		}
		require.NoError(t, w.WriteHeader(h))
		_, err := io.WriteString(w, e.text)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// packers are the ways to pack a tar file.
var packers = map[string]func(t *testing.T, data []byte) []byte{
	"tar": func(_ *testing.T, data []byte) []byte { return data },
	"gzip": func(t *testing.T, data []byte) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, err := z.Write(data)
		require.NoError(t, err)
		require.NoError(t, z.Close())
		return b.Bytes()
	},
	"zstd": func(t *testing.T, data []byte) []byte {
		z, err := zstd.NewWriter(nil)
		require.NoError(t, err)
		return z.EncodeAll(data, nil)
	},
	"bzip2": func(t *testing.T, data []byte) []byte {
		cmd := exec.Command("bzip2", "-c")
		cmd.Stdin = bytes.NewReader(data)
		out, err := cmd.Output()
		require.NoError(t, err, "install bzip2 (make deps)")
		return out
	},
}

// home is the home directory of an account, as entries below prefix.
func home(prefix string) []entry {
	return []entry{
		{name: prefix + "etc/", kind: tar.TypeDir},
		{name: prefix + "etc/alice.example/passwd", text: "user:x:1:1::/x:/bin/false\nmd:x:1:1::/x:/bin/false\n"},
		{name: prefix + "etc/alice.example/shadow", text: "user:$6$x:1::::::\nmd:$6$y:1::::::\n"},
		{name: prefix + "etc/alice.example/quota", text: "user:1048576\n"},
		{name: prefix + "mail/alice.example/user/cur/1.a,S=5:2,", text: "12345"},
		{name: prefix + "mail/alice.example/user/cur/2.a,S=9:2,SZ", text: "\x1f\x8b\x08\x00packed"},
		{name: prefix + "mail/alice.example/md/storage/m.1", text: "mdbox"},
		{name: prefix + "mail/.user@alice_example", kind: tar.TypeSymlink, link: "/home/alice/mail/alice.example/user"},
		{name: prefix + "public_html/index.html", text: "not mail"},
	}
}

// files returns the names and contents below dir.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		if d.IsDir() {
			return nil
		}
		name, err := filepath.Rel(dir, path)
		require.NoError(t, err)
		text, err := os.ReadFile(path)
		out[name] = string(text)
		return err
	}))
	return out
}

// look writes an archive with the given name, and returns its plan.
func look(t *testing.T, name string, data []byte) (file string, plan cpmove.Plan, err error) {
	t.Helper()
	file = filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(file, data, 0o600))
	plan, err = cpmove.Look(t.Context(), file, "", cpmove.DefaultLimits)
	return file, plan, err
}

// However an archive is named, laid out and packed, the same account comes out.
func TestLayouts(t *testing.T) {
	inner := func(t *testing.T, pack string) string { return string(packers[pack](t, tarOf(t, home("./")...))) }
	users := entry{name: "cp/alice", text: "DNS=alice.example\nMAXPOP=3\n"}
	rest := []entry{{name: "version", text: "1"}, {name: "va/alice.example", text: "info@alice.example: user@alice.example\n"}, {name: "mysql/x.sql", text: "x"}}
	below := func(root string, entries ...entry) (out []entry) {
		for _, e := range entries {
			e.name = root + e.name
			out = append(out, e)
		}
		return out
	}
	all := append(append([]entry{users}, home("homedir/")...), rest...)
	layouts := map[string][]entry{
		"cpmove-alice.tar.gz":                     below("cpmove-alice/", all...),
		"backup-11.27.2026_17-37-04_alice.tar.gz": below("backup-11.27.2026_17-37-04_alice/", all...),
		"backup-alice.tar.gz":                     below("backup-alice/", append([]entry{{name: "", kind: tar.TypeDir}}, all...)...),
		"alice.tar.gz":                            below("alice/", all...),
		"repacked.tar":                            below("./", all...),
		"without a root.tar":                      all,
		"the home first.tar":                      append(home("homedir/"), append(rest, users)...),
		"a root in the dot.tar":                   below("./cpmove-alice/", all...),
		"homedir.tar inside.tar":                  append([]entry{users, {name: "homedir.tar", text: inner(t, "tar")}}, rest...),
		"homedir.tar.gz inside.tar":               below("cpmove-alice/", append([]entry{users, {name: "homedir.tar.gz", text: inner(t, "gzip")}}, rest...)...),
		"homedir.tar.zst inside.tar":              below("cpmove-alice/", append([]entry{users, {name: "homedir.tar", text: inner(t, "zstd")}}, rest...)...),
	}
	for name, entries := range layouts {
		for packer, pack := range packers {
			t.Run(name+" by "+packer, func(t *testing.T) {
				file, plan, err := look(t, name, pack(t, tarOf(t, entries...)))
				require.NoError(t, err)
				require.Equal(t, cpmove.Account{Name: "alice", Domains: []string{"alice.example"}, Data: map[string]string{"MAXPOP": "3"}}, plan.Account)
				require.Equal(t, map[string]*cpmove.Mail{
					"mail/alice.example/user": {Messages: 2, Bytes: 15, Compressed: 1, Format: "maildir"},
					"mail/alice.example/md":   {Messages: -1, Bytes: 5, Format: "mdbox"},
				}, plan.Mail)
				require.Len(t, plan.Left, 1)
				require.Equal(t, "mail/.user@alice_example", plan.Left[0].Path)
				target := t.TempDir()
				require.NoError(t, cpmove.Unpack(t.Context(), file, cpmove.DefaultLimits, plan, target, os.Getuid(), os.Getgid(), nothing, committed))
				got := files(t, target)
				require.Equal(t, "info@alice.example: user@alice.example\n", got["etc/alice.example/forwarders"])
				delete(got, "etc/alice.example/forwarders")
				want := make(map[string]string)
				for _, e := range home("") {
					if e.kind == 0 && !strings.HasPrefix(e.name, "public_html") {
						want[e.name] = e.text
					}
				}
				require.Equal(t, want, got)
			})
		}
	}
}

// What is not unpacked is not judged: the archives of real accounts contain everything.
func TestNotUnpackedNotJudged(t *testing.T) {
	long := strings.Repeat("n", 5000)
	zeros := strings.Repeat("\x00", 80<<20)
	entries := append([]entry{{name: "cpmove-alice/cp/alice", text: "DNS=alice.example\n"}}, home("cpmove-alice/homedir/")...)
	for _, e := range []entry{
		{name: "homedir/public_html/a\\b\n\x01\xff", text: "x"}, {name: "homedir/" + long, text: "x"}, {name: "homedir/link", kind: tar.TypeSymlink, link: "/etc/passwd"},
		{name: "homedir/hard", kind: tar.TypeLink, link: "/etc/passwd"}, {name: "homedir/device", kind: tar.TypeBlock}, {name: "homedir/fifo", kind: tar.TypeFifo},
		{name: "homedir/zeros", text: zeros}, {name: "mysql/zeros", text: zeros},
		{name: "homedir/mailman/x", kind: tar.TypeSymlink, link: "../../.."}, {name: "va/x/y", kind: tar.TypeSymlink, link: "/"}, {name: "va/no domain", text: "x"},
	} {
		e.name = "cpmove-alice/" + e.name
		entries = append(entries, e)
	}
	for i := range 100 {
		entries = append(entries, entry{name: fmt.Sprintf("cpmove-alice/homedir/public_html/%d", i), text: "x"})
	}
	file := filepath.Join(t.TempDir(), "cpmove-alice.tar.gz")
	require.NoError(t, os.WriteFile(file, packers["gzip"](t, tarOf(t, entries...)), 0o600))
	limits := cpmove.Limits{Bytes: 1 << 10, Entries: 20, Ratio: 2}
	plan, err := cpmove.Look(t.Context(), file, "", limits)
	require.NoError(t, err)
	target := t.TempDir()
	require.NoError(t, cpmove.Unpack(t.Context(), file, limits, plan, target, os.Getuid(), os.Getgid(), nothing, committed))
	require.Len(t, files(t, target), 6)
}

// Hard links inside a mailbox, sparse files, and names with odd characters in mail become files, with GNU tar's own
// archives.
func TestGNUTar(t *testing.T) {
	src := t.TempDir()
	cur := filepath.Join(src, "cpmove-alice/homedir/mail/alice.example/user/cur")
	etc := filepath.Join(src, "cpmove-alice/homedir/etc/alice.example")
	require.NoError(t, os.MkdirAll(cur, 0o755))
	require.NoError(t, os.MkdirAll(etc, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(etc, "shadow"), []byte("user:$6$x:1::::::\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(cur, "1"), []byte("one"), 0o600))
	require.NoError(t, os.Link(filepath.Join(cur, "1"), filepath.Join(cur, "2")))
	require.NoError(t, os.Link(filepath.Join(cur, "1"), filepath.Join(cur, "3 \\odd\n\xff")))
	sparse, err := os.Create(filepath.Join(cur, "4"))
	require.NoError(t, err)
	_, err = sparse.WriteAt([]byte("end"), 1<<20)
	require.NoError(t, err)
	require.NoError(t, sparse.Close())
	for _, format := range []string{"gnu", "pax", "oldgnu"} {
		t.Run(format, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "alice.tar.gz")
			out, err := exec.Command("tar", "-C", src, "--sparse", "--format="+format, "-czf", file, "cpmove-alice").CombinedOutput()
			require.NoError(t, err, "%s", out)
			plan, err := cpmove.Look(t.Context(), file, "", cpmove.DefaultLimits)
			require.NoError(t, err)
			require.EqualValues(t, 5, plan.Files)
			require.EqualValues(t, 18+3+3+3+1<<20+3, plan.Bytes)
			target := t.TempDir()
			require.NoError(t, cpmove.Unpack(t.Context(), file, cpmove.DefaultLimits, plan, target, os.Getuid(), os.Getgid(), nothing, committed))
			box := filepath.Join(target, "mail/alice.example/user/cur")
			for name, text := range map[string]string{"1": "one", "2": "one", "3 \\odd\n\xff": "one", "4": strings.Repeat("\x00", 1<<20) + "end"} {
				got, err := os.ReadFile(filepath.Join(box, name))
				require.NoError(t, err)
				require.Equal(t, text, string(got), name)
				var st unix.Stat_t
				require.NoError(t, unix.Lstat(filepath.Join(box, name), &st))
				require.EqualValues(t, 1, st.Nlink, "a file of its own")
			}
		})
	}
}

// A few bytes of an archive can stand for gigabytes of holes: what would be written counts.
func TestSparseBomb(t *testing.T) {
	src := t.TempDir()
	cur := filepath.Join(src, "cpmove-alice/homedir/mail/alice.example/user/cur")
	require.NoError(t, os.MkdirAll(cur, 0o755))
	f, err := os.Create(filepath.Join(cur, "1"))
	require.NoError(t, err)
	require.NoError(t, f.Truncate(6<<30))
	require.NoError(t, f.Close())
	for _, format := range []string{"gnu", "pax"} {
		file := filepath.Join(t.TempDir(), "alice.tar.gz")
		out, err := exec.Command("tar", "-C", src, "--sparse", "--format="+format, "-czf", file, "cpmove-alice").CombinedOutput()
		require.NoError(t, err, "%s", out)
		_, err = cpmove.Look(t.Context(), file, "", cpmove.DefaultLimits)
		require.ErrorIs(t, err, cpmove.ErrHostile, format)
		require.ErrorContains(t, err, "times as large as the archive file")
		_, err = cpmove.Look(t.Context(), file, "", cpmove.Limits{Bytes: 1 << 30, Entries: 10, Ratio: 1 << 40})
		require.ErrorContains(t, err, "more than 1073741824 bytes", format)
	}
	// Many hard links to a large file are as many files.
	entries := []entry{{name: "cpmove-alice/homedir/mail/alice.example/user/cur/0", text: strings.Repeat("0123456789", 1<<20)}}
	for i := 1; i < 200; i++ {
		entries = append(entries, entry{name: fmt.Sprintf("cpmove-alice/homedir/mail/alice.example/user/cur/%d", i), kind: tar.TypeLink, link: entries[0].name})
	}
	_, _, err = look(t, "alice.tar.gz", packers["gzip"](t, tarOf(t, entries...)))
	require.ErrorIs(t, err, cpmove.ErrHostile)
	// A link to a file that is not there is left out.
	_, plan, err := look(t, "alice.tar", tarOf(t, append(home("cpmove-alice/homedir/"),
		entry{name: "cpmove-alice/homedir/mail/alice.example/user/cur/9", kind: tar.TypeLink, link: "cpmove-alice/homedir/mail/alice.example/user/cur/8"})...))
	require.NoError(t, err)
	require.Equal(t, "mail/alice.example/user/cur/9", plan.Left[1].Path)
}

// An import that is interrupted leaves nothing, and what a killed one left is removed by the next one, but not what
// a running one writes.
func TestInterruptedImport(t *testing.T) {
	file, plan, err := look(t, "alice.tar", tarOf(t, append([]entry{{name: "alice/cp/alice", text: "DNS=alice.example\n"}}, home("alice/homedir/")...)...))
	require.NoError(t, err)
	target := t.TempDir()
	running := filepath.Join(target, ".liveapid-import-running")
	killed := filepath.Join(target, ".liveapid-import-killed")
	require.NoError(t, os.Mkdir(running, 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(killed, "mail"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(killed, ".liveapid-import"), nil, 0o600))
	// What only has such a name stays, and a FIFO does not block.
	require.NoError(t, os.Mkdir(filepath.Join(target, ".liveapid-import-other"), 0o700))
	require.NoError(t, unix.Mkfifo(filepath.Join(target, ".liveapid-import-fifo"), 0o600))
	require.NoError(t, os.Symlink(t.TempDir(), filepath.Join(target, ".liveapid-import-link")))
	lock, err := os.Open(running)
	require.NoError(t, err)
	defer func() { _ = lock.Close() }()
	require.NoError(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))

	ctx, cancel := context.WithCancel(t.Context())
	err = cpmove.Unpack(ctx, file, cpmove.DefaultLimits, plan, target, os.Getuid(), os.Getgid(), func(dir string) error {
		require.FileExists(t, filepath.Join(dir, "etc/alice.example/shadow"))
		cancel()
		return ctx.Err()
	}, committed)
	require.ErrorIs(t, err, context.Canceled)
	left := func() (names []string) {
		entries, err := os.ReadDir(target)
		require.NoError(t, err)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	require.Equal(t, []string{".liveapid-import-fifo", ".liveapid-import-link", ".liveapid-import-other", ".liveapid-import-running"}, left())
	require.ErrorIs(t, cpmove.Unpack(ctx, file, cpmove.DefaultLimits, plan, target, os.Getuid(), os.Getgid(), nothing, committed), context.Canceled)
	require.Equal(t, []string{".liveapid-import-fifo", ".liveapid-import-link", ".liveapid-import-other", ".liveapid-import-running"}, left())
	require.NoError(t, cpmove.Unpack(t.Context(), file, cpmove.DefaultLimits, plan, target, os.Getuid(), os.Getgid(), nothing, committed))
	require.Equal(t, []string{".liveapid-import-fifo", ".liveapid-import-link", ".liveapid-import-other", ".liveapid-import-running", "etc", "mail"}, left())
}

// A damaged archive is never imported as if it were whole.
func TestDamagedArchives(t *testing.T) {
	data := tarOf(t, append([]entry{{name: "alice/cp/alice", text: "DNS=alice.example\n"}}, home("alice/homedir/")...)...)
	sum := packers["gzip"](t, data)
	sum[len(sum)-6] ^= 1
	zeros := bytes.Clone(data)
	clear(zeros[2048:4096])
	for name, c := range map[string]struct {
		data []byte
		says string
	}{
		"a wrong checksum":     {sum, "checksum"},
		"cut compressed data":  {packers["gzip"](t, data)[:200], "the archive is damaged"},
		"cut between entries":  {data[:3*512], "its end is missing"},
		"cut inside an entry":  {data[:4*512-100], "the archive is damaged"},
		"zeros in the middle":  {zeros, "more data after its end"},
		"xz":                   {append([]byte("\xfd7zXZ\x00"), make([]byte, 600)...), "with xz"},
		"a cut home inside":    {tarOf(t, entry{name: "alice/homedir.tar", text: string(data[:4*512])}), "homedir.tar: the archive is damaged"},
		"nothing but a header": {data[:512], "the archive is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := look(t, "alice.tar", c.data)
			require.ErrorContains(t, err, c.says)
		})
	}
}

// Archives with other files first, or with the home alone, are understood.
func TestOddRoots(t *testing.T) {
	for name, entries := range map[string][]entry{
		"only a home":            home("homedir/"),
		"a file of another tool": append([]entry{{name: "._cpmove-alice", text: "x"}, {name: "README", text: "x"}}, home("cpmove-alice/homedir/")...),
		"a sum of the home":      append(home("cpmove-alice/homedir/"), entry{name: "cpmove-alice/homedir.tar.md5", text: "x"}, entry{name: "cpmove-alice/homedir.tar"}),
		"a bad second user":      append(home("cpmove-alice/homedir/"), entry{name: "cpmove-alice/cp/alice", text: "DNS=alice.example\n"}, entry{name: "cpmove-alice/cp/bob", text: strings.Repeat("#\n", 1<<20)}),
	} {
		t.Run(name, func(t *testing.T) {
			_, plan, err := look(t, "cpmove-alice.tar", tarOf(t, entries...))
			require.NoError(t, err)
			require.Equal(t, "alice", plan.Account.Name)
			require.Equal(t, []string{"alice.example"}, plan.Account.Domains)
			require.Len(t, plan.Lists, 3)
		})
	}
	file := filepath.Join(t.TempDir(), "upload.tar")
	require.NoError(t, os.WriteFile(file, tarOf(t, home("homedir/")...), 0o600))
	_, err := cpmove.Look(t.Context(), file, "", cpmove.DefaultLimits)
	require.ErrorContains(t, err, "is not the account's mail", "the link names alice")
	plan, err := cpmove.Look(t.Context(), file, "alice", cpmove.DefaultLimits)
	require.NoError(t, err)
	require.Equal(t, "alice", plan.Account.Name)
}

// The times of messages, which are the dates of their arrival, are kept. If the account can't be registered, nothing
// stays in its home.
func TestUnpackedTimes(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	when := time.Date(2011, 5, 4, 3, 2, 1, 0, time.UTC)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "alice/homedir/mail/alice.example/user/cur/1", Mode: 0o600, ModTime: when, Typeflag: tar.TypeReg}))
	require.NoError(t, w.Close())
	file, plan, err := look(t, "alice.tar", b.Bytes())
	require.NoError(t, err)
	target := t.TempDir()
	refused := errors.New("not registered")
	err = cpmove.Unpack(t.Context(), file, cpmove.DefaultLimits, plan, target, os.Getuid(), os.Getgid(), nothing, func() error { return refused })
	require.ErrorIs(t, err, refused)
	entries, err := os.ReadDir(target)
	require.NoError(t, err)
	require.Empty(t, entries)
	require.NoError(t, cpmove.Unpack(t.Context(), file, cpmove.DefaultLimits, plan, target, os.Getuid(), os.Getgid(), nothing, committed))
	info, err := os.Stat(filepath.Join(target, "mail/alice.example/user/cur/1"))
	require.NoError(t, err)
	require.Equal(t, when, info.ModTime().UTC())
}

// The owner of the home swaps the temporary directory for one of its own: nothing is written there.
func TestSwappedDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("another owner of the home needs root")
	}
	file, plan, err := look(t, "alice.tar", tarOf(t, append([]entry{{name: "alice/cp/alice", text: "DNS=alice.example\n"}}, home("alice/homedir/")...)...))
	require.NoError(t, err)
	const tenant = 20571
	target := t.TempDir()
	require.NoError(t, os.Chown(target, tenant, tenant))
	err = cpmove.Unpack(t.Context(), file, cpmove.DefaultLimits, plan, target, tenant, tenant, func(dir string) error {
		// While root unpacks, the directory is renamed, and another one with its name leads elsewhere.
		names, err := filepath.Glob(filepath.Join(target, ".liveapid-import-*"))
		require.NoError(t, err)
		require.Len(t, names, 1)
		require.NoError(t, os.Rename(names[0], filepath.Join(target, "kept")))
		require.NoError(t, os.Mkdir(names[0], 0o777))
		require.NoError(t, os.Symlink("/etc", filepath.Join(names[0], "etc")))
		return nil
	}, committed)
	require.NoError(t, err)
	info, err := os.Lstat(filepath.Join(target, "etc"))
	require.NoError(t, err)
	require.True(t, info.IsDir(), "the files that were unpacked, not what was put in their place")
	require.FileExists(t, filepath.Join(target, "mail/alice.example/user/cur/1.a,S=5:2,"))
}

func FuzzLook(f *testing.F) {
	var small bytes.Buffer
	w := tar.NewWriter(&small)
	for _, e := range home("cpmove-a/homedir/") {
		kind := e.kind
		if kind == 0 {
			kind = tar.TypeReg
		}
		_ = w.WriteHeader(&tar.Header{Name: e.name, Typeflag: kind, Linkname: e.link, Size: int64(len(e.text)), Mode: 0o600})
		_, _ = io.WriteString(w, e.text)
	}
	_ = w.Close()
	f.Add(small.Bytes())
	f.Add([]byte("BZh9"))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd})
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		file := filepath.Join(dir, "x.tar")
		require.NoError(t, os.WriteFile(file, data, 0o600))
		plan, err := cpmove.Look(t.Context(), file, "", cpmove.Limits{Bytes: 1 << 20, Entries: 100, Ratio: 100})
		if err != nil {
			return
		}
		target := filepath.Join(dir, "home")
		require.NoError(t, os.Mkdir(target, 0o700))
		_ = cpmove.Unpack(t.Context(), file, cpmove.Limits{Bytes: 1 << 20, Entries: 100, Ratio: 100}, plan, target, os.Getuid(), os.Getgid(), nothing, committed)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, 2, "nothing beside the home")
	})
}
