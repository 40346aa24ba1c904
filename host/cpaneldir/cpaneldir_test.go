package cpaneldir

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// tree returns a tree in a temporary directory, with libraries and commands.
func tree(t *testing.T) Tree {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"bindings/php/cpanel.php", "bindings/perl/lib/Cpanel/LiveAPI.pm", "bindings/perl/lib/Cpanel/LiveAPI/Codec.pm", "bin/uapi", "bin/cpapi2", "bin/liveapi"} {
		write(t, filepath.Join(dir, name))
	}
	return Tree{Root: filepath.Join(dir, "usr/local/cpanel"), Bindings: filepath.Join(dir, "bindings"), Programs: filepath.Join(dir, "bin")}
}

func write(t *testing.T, path string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte("x"), 0o644))
}

func TestInstallAndRemove(t *testing.T) {
	tree := tree(t)
	require.Equal(t, None, tree.State())
	for range 2 { // Again changes nothing.
		kept, err := tree.Install()
		require.NoError(t, err)
		require.Empty(t, kept)
		require.Equal(t, Ours, tree.State())
	}
	for _, name := range []string{"php/cpanel.php", "Cpanel/LiveAPI.pm", "Cpanel/LiveAPI/Codec.pm", "bin/uapi", "bin/cpapi2"} {
		require.FileExists(t, filepath.Join(tree.Root, name))
	}
	require.NoFileExists(t, filepath.Join(tree.Root, "bin/whmapi1"), "no link to a command that is not installed")
	require.NoError(t, tree.Remove())
	require.NoDirExists(t, tree.Root)
	require.NoError(t, tree.Remove(), "nothing is left to remove")
}

// The link /scripts is created only if it is asked for, and never over something else.
func TestScriptsLink(t *testing.T) {
	tree := tree(t)
	tree.Scripts = filepath.Join(t.TempDir(), "scripts")
	for range 2 {
		kept, err := tree.Install()
		require.NoError(t, err)
		require.Empty(t, kept)
		require.FileExists(t, filepath.Join(tree.Scripts, "whoowns"))
	}
	require.NoError(t, tree.Remove())
	require.NoFileExists(t, tree.Scripts)
	write(t, filepath.Join(tree.Scripts, "mine"))
	kept, err := tree.Install()
	require.NoError(t, err)
	require.Equal(t, []string{tree.Scripts}, kept)
	require.NoError(t, tree.Remove())
	require.FileExists(t, filepath.Join(tree.Scripts, "mine"))
}

// A cPanel server's files are never touched, and neither are files that somebody else has written.
func TestForeignFilesAreKept(t *testing.T) {
	for _, name := range []string{"cpanel", "version", "cpkeyclt"} {
		tree := tree(t)
		write(t, filepath.Join(tree.Root, name))
		_, err := tree.Install()
		require.ErrorIs(t, err, ErrCPanel)
		require.Equal(t, CPanel, tree.State())
		require.NoFileExists(t, filepath.Join(tree.Root, php))
		require.NoError(t, os.MkdirAll(filepath.Join(tree.Root, "php"), 0o755))
		require.NoError(t, os.Symlink(filepath.Join(tree.Bindings, php), filepath.Join(tree.Root, php)))
		require.NoError(t, tree.Remove())
		require.FileExists(t, filepath.Join(tree.Root, php))
	}
	tree := tree(t)
	mine := filepath.Join(tree.Root, php)
	write(t, mine)
	write(t, filepath.Join(tree.Root, "bin/mine"))
	require.NoError(t, os.Symlink("/bin/true", filepath.Join(tree.Root, "bin/uapi")))
	require.Equal(t, Other, tree.State())
	kept, err := tree.Install()
	require.NoError(t, err)
	require.Equal(t, []string{mine, filepath.Join(tree.Root, "bin/uapi")}, kept)
	require.NoError(t, tree.Remove())
	for _, left := range []string{mine, filepath.Join(tree.Root, "bin/mine"), filepath.Join(tree.Root, "bin/uapi")} {
		_, err := os.Lstat(left)
		require.NoError(t, err)
	}
	require.NoFileExists(t, filepath.Join(tree.Root, "Cpanel/LiveAPI.pm"))
}

// A link to nothing in the place of a directory is an error.
func TestLinkInThePlaceOfADirectory(t *testing.T) {
	for _, name := range []string{".", "php", "3rdparty/bin"} {
		tree := tree(t)
		path := filepath.Join(tree.Root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		_ = os.Remove(path)
		require.NoError(t, os.Symlink("/gone", path))
		_, err := tree.Install()
		require.ErrorContains(t, err, path+" exists, but is not a directory, or is a link to nothing")
	}
}

// What Install kept, because somebody else had made it, Remove keeps, too.
func TestRemoveKeepsForeignLinks(t *testing.T) {
	tree := tree(t)
	foreign := map[string]string{"3rdparty/bin/perl": "/opt/perl/bin/perl", "3rdparty/bin/php": "/opt/php/bin/php", "scripts/whoowns": "/opt/other/liveapi"}
	for name, target := range foreign {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(tree.Root, name)), 0o755))
		require.NoError(t, os.Symlink(target, filepath.Join(tree.Root, name)))
	}
	_, err := tree.Install()
	require.NoError(t, err)
	require.NoError(t, tree.Remove())
	for name, want := range foreign {
		target, err := os.Readlink(filepath.Join(tree.Root, name))
		require.NoError(t, err)
		require.Equal(t, want, target)
	}
}

// A link from an older installation, in another directory, is replaced.
func TestLinkOfAnotherInstallation(t *testing.T) {
	tree := tree(t)
	require.NoError(t, os.MkdirAll(filepath.Join(tree.Root, "php"), 0o755))
	require.NoError(t, os.Symlink("/gone/bindings/php/cpanel.php", filepath.Join(tree.Root, php)))
	require.Equal(t, Ours, tree.State())
	kept, err := tree.Install()
	require.NoError(t, err)
	require.Empty(t, kept)
	target, err := os.Readlink(filepath.Join(tree.Root, php))
	require.NoError(t, err)
	require.Equal(t, filepath.Join(tree.Bindings, php), target)
}

// The links can be read by everyone, whatever the umask of the administrator is.
func TestInstallWithStrictUmask(t *testing.T) {
	tree := tree(t)
	old := syscall.Umask(0o077)
	_, err := tree.Install()
	syscall.Umask(old)
	require.NoError(t, err)
	for _, name := range []string{"", "php", "bin", "Cpanel"} {
		info, err := os.Stat(filepath.Join(tree.Root, name))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o755), info.Mode().Perm())
	}
}
