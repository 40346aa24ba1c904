package account

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

func home(t *testing.T) protocol.Account {
	t.Helper()
	return protocol.Account{Name: "demo", UID: os.Getuid(), GID: os.Getgid(), Home: t.TempDir()}
}

// call runs a function as the SDK does.
func call(t *testing.T, a protocol.Account, api protocol.API, module, name string, args map[string]any) (any, error) {
	t.Helper()
	for _, m := range Modules() {
		for _, f := range m.Functions {
			if m.Name != module || f.Name != name || f.API != api {
				continue
			}
			checked, refused := f.Check(protocol.Args{Named: args})
			if refused != nil {
				return nil, refused
			}
			return f.Do(t.Context(), sdk.NewCall(api, a, checked.Named))
		}
	}
	require.Fail(t, "no such function", "%s::%s", module, name)
	return nil, nil
}

func TestNVData(t *testing.T) {
	a := home(t)
	get := func(names string) any {
		got, err := call(t, a, protocol.API2, "NVData", "get", map[string]any{"names": names})
		require.NoError(t, err)
		return got
	}
	require.Equal(t, []any{map[string]any{"name": "mymind", "value": ""}}, get("mymind"))
	got, err := call(t, a, protocol.UAPI, "NVData", "set", map[string]any{"names": "mymind|other", "mymind": "you", "other": "{\"a\": 1}\n"})
	require.NoError(t, err)
	require.Equal(t, []any{map[string]any{"set": "mymind"}, map[string]any{"set": "other"}}, got)
	require.Equal(t, []any{map[string]any{"name": "mymind", "value": "you"}, map[string]any{"name": "other", "value": "{\"a\": 1}\n"}}, get("mymind|other"))
	text, err := os.ReadFile(filepath.Join(a.Home, ".cpanel/nvdata/mymind"))
	require.NoError(t, err)
	require.Equal(t, "you", string(text), "where cPanel keeps it, too")
	info, err := os.Stat(filepath.Join(a.Home, ".cpanel/nvdata/mymind"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	// The same values under their new name.
	got, err = call(t, a, protocol.UAPI, "Personalization", "set", map[string]any{"personalization": map[string]any{"mymind": "me"}})
	require.NoError(t, err)
	require.Equal(t, map[string]any{"personalization": map[string]any{"mymind": map[string]any{"value": "me", "success": int64(1), "reason": "OK"}}}, got)
	got, err = call(t, a, protocol.UAPI, "Personalization", "get", map[string]any{"names": []any{"mymind", "none"}})
	require.NoError(t, err)
	require.Equal(t, map[string]any{"personalization": map[string]any{
		"mymind": map[string]any{"value": "me", "success": int64(1), "reason": "OK"}, "none": map[string]any{"value": nil, "success": int64(1), "reason": "OK"},
	}}, got)
}

// Calls at the same time do not disturb each other. A file that an interrupted call left is removed.
func TestNVDataAtTheSameTime(t *testing.T) {
	a := home(t)
	dir := filepath.Join(a.Home, nvdataDir)
	require.NoError(t, os.MkdirAll(dir, 0o700))
	left, running := filepath.Join(dir, temporary+"old"), filepath.Join(dir, temporary+"new")
	for _, path := range []string{left, running} {
		require.NoError(t, os.WriteFile(path, nil, 0o600))
	}
	old := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(left, old, old))
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for i := range 20 {
				name := fmt.Sprintf("n%d-%d", n, i)
				_, err := call(t, a, protocol.UAPI, "NVData", "set", map[string]any{"names": name, name: "value"})
				require.NoError(t, err)
			}
		})
	}
	all.Wait()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 8*20+1)
	require.NoFileExists(t, left)
	require.FileExists(t, running)
}

func TestNVDataRejects(t *testing.T) {
	a := home(t)
	for _, c := range []struct {
		module, name string
		args         map[string]any
		says         string
	}{
		{"NVData", "get", nil, "‘names’"},
		{"NVData", "get", map[string]any{"names": "|"}, "‘names’"},
		{"NVData", "get", map[string]any{"names": "../x"}, "an invalid name"},
		{"NVData", "get", map[string]any{"names": ".liveapid-x"}, "an invalid name"},
		{"NVData", "get", map[string]any{"names": strings.Repeat("n", 129)}, "an invalid name"},
		{"NVData", "get", map[string]any{"names": strings.Repeat("n|", 101)}, "at most 100"},
		{"NVData", "set", map[string]any{"names": "a"}, "Provide the ‘a’ argument."},
		{"NVData", "set", map[string]any{"names": "a", "a": strings.Repeat("x", 2049)}, "at most 2048 bytes"},
		{"NVData", "set", map[string]any{"names": "a", "a": []any{"x"}}, "must be text"},
		{"Personalization", "get", map[string]any{"names": []any{map[string]any{}}}, "a list of names"},
		{"Personalization", "set", map[string]any{"personalization": "a"}, "must be an object"},
		{"Personalization", "set", map[string]any{"personalization": map[string]any{"a/b": "x"}}, "an invalid name"},
	} {
		_, err := call(t, a, protocol.UAPI, c.module, c.name, c.args)
		require.ErrorContains(t, err, c.says)
	}
	_, err := os.Stat(filepath.Join(a.Home, ".cpanel"))
	require.ErrorIs(t, err, os.ErrNotExist, "nothing was written")
}

// A link can't make the module read or write outside the home, and what is no file is not read.
func TestNVDataStaysInTheHome(t *testing.T) {
	a := home(t)
	outside := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(outside, []byte("secret"), 0o600))
	dir := filepath.Join(a.Home, ".cpanel/nvdata")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "link")))
	require.NoError(t, exec.Command("mkfifo", filepath.Join(dir, "fifo")).Run())
	require.NoError(t, os.Mkdir(filepath.Join(dir, "dir"), 0o700))
	for _, name := range []string{"link", "fifo", "dir"} {
		_, err := call(t, a, protocol.UAPI, "NVData", "get", map[string]any{"names": name})
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), outside)
	}
	_, err := call(t, a, protocol.UAPI, "NVData", "set", map[string]any{"names": "link", "link": "changed"})
	require.NoError(t, err, "the link is replaced")
	text, err := os.ReadFile(outside)
	require.NoError(t, err)
	require.Equal(t, "secret", string(text))
	require.NoError(t, os.RemoveAll(dir))
	require.NoError(t, os.Symlink(filepath.Dir(outside), dir))
	_, err = call(t, a, protocol.UAPI, "NVData", "set", map[string]any{"names": "secret", "secret": "changed"})
	require.Error(t, err)
	text, err = os.ReadFile(outside)
	require.NoError(t, err)
	require.Equal(t, "secret", string(text))
}

// The number of values is limited, and what an interrupted call left is removed.
func TestNVDataLimits(t *testing.T) {
	a := home(t)
	dir := filepath.Join(a.Home, ".cpanel/nvdata")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	for i := range maxStored {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "n"+strings.Repeat("a", i/100)+"b"+strings.Repeat("c", i%100)), nil, 0o600))
	}
	_, err := call(t, a, protocol.UAPI, "NVData", "set", map[string]any{"names": "one_more", "one_more": "x"})
	require.ErrorContains(t, err, "which is the limit")
	_, err = call(t, a, protocol.UAPI, "NVData", "set", map[string]any{"names": "nb", "nb": "x"})
	require.NoError(t, err, "an existing value may change")
}

// Without a quota of the file system, the home is measured.
func TestQuotaMeasures(t *testing.T) {
	a := home(t)
	if _, err := fileSystemQuota(a.Home, a.UID); err == nil {
		t.Skip("this file system counts quotas")
	}
	require.NoError(t, os.WriteFile(filepath.Join(a.Home, "file"), make([]byte, 1<<20), 0o600))
	require.NoError(t, os.Link(filepath.Join(a.Home, "file"), filepath.Join(a.Home, "same")))
	require.NoError(t, os.Symlink("/usr", filepath.Join(a.Home, "away")))
	got, err := call(t, a, protocol.UAPI, "Quota", "get_local_quota_info", nil)
	require.NoError(t, err)
	local := got.(map[string]any)
	require.GreaterOrEqual(t, local["bytes_used"], int64(1<<20))
	require.Less(t, local["bytes_used"], int64(2<<20), "a file with two names counts once, and links are not followed")
	require.Equal(t, int64(3), local["inodes_used"], "the home, the file and the link")
	require.Equal(t, int64(0), local["byte_limit"])
	got, err = call(t, a, protocol.UAPI, "Quota", "get_quota_info", nil)
	require.NoError(t, err)
	require.Equal(t, 1, got.(map[string]any)["under_quota_overall"])

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = measure(ended, a.Home, a.UID)
	require.ErrorIs(t, err, context.Canceled)
}

// With a quota of the file system, its numbers are reported. The test needs a file system that counts quotas;
// it tries to mount one.
func TestQuotaOfTheFileSystem(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a file system with quotas")
	}
	const uid = 20433
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "usrquota,usrquota_block_hardlimit=1M,usrquota_inode_hardlimit=50", "liveapid-test", dir).CombinedOutput(); err != nil {
		t.Skipf("the kernel has no file system with quotas: %s", out)
	}
	t.Cleanup(func() { require.NoError(t, exec.Command("umount", dir).Run()) })
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), make([]byte, 512<<10), 0o644))
	require.NoError(t, os.Chown(filepath.Join(dir, "file"), uid, uid))
	u, err := newQuota().usage(t.Context(), protocol.Account{Home: dir, UID: uid})
	require.NoError(t, err)
	require.Equal(t, usage{bytes: 512 << 10, byteLimit: 1 << 20, inodes: 1, inodesLimit: 50}, u)
}
