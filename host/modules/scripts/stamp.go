package scripts

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// maxStamped is the maximum number of files of code of each path in a stamp. Further files are not watched.
const maxStamped = 10_000

// code lists the endings of the files that belong to a stamp. Other files count if they are executable. A module may
// keep its data beside its code, and must not start again when it writes data.
var code = []string{".pl", ".pm", ".php", ".inc", ".phtml", ".py", ".rb", ".js", ".mjs", ".lua", ".sh", ".toml"}

// Stamp returns a text that changes when a file of code in the modules directory dir changes.
func Stamp(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	paths := make([]string, len(entries))
	for i, e := range entries {
		paths[i] = filepath.Join(dir, e.Name())
	}
	return stamp(paths)
}

// shared returns the paths in the modules directory that do not belong to one module: libraries, which every module may
// load, and the directory Cpanel.
func (f Finder) shared(entries []fs.DirEntry) []string {
	var paths []string
	for _, e := range entries {
		path := filepath.Join(f.Dir, e.Name())
		isModule := slices.ContainsFunc([]string{"module.pl", "module.php", "module.toml"}, func(name string) bool {
			_, err := os.Stat(filepath.Join(path, name))
			return err == nil
		})
		if !isModule {
			paths = append(paths, path)
		}
	}
	return paths
}

// stamp returns a hash of the names, identities, sizes and times of the files of code at and below paths, each of which
// may be a link. The files in always count whatever their names are.
func stamp(paths []string, always ...string) string {
	hash := sha256.New()
	for _, root := range paths {
		left := maxStamped // Each path has its own number, so that one module does not hide another.
		if real, err := filepath.EvalSymlinks(root); err == nil {
			root = real
		}
		_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return nil // Removed meanwhile: the next stamp differs.
			case e.IsDir() && path != root && strings.HasPrefix(e.Name(), "."):
				return fs.SkipDir
			case e.IsDir():
				return nil
			}
			var st syscall.Stat_t
			known := slices.Contains(code, filepath.Ext(path)) || slices.Contains(always, path)
			if syscall.Stat(path, &st) != nil || !known && st.Mode&0o111 == 0 {
				return nil
			}
			if left--; left < 0 {
				return fs.SkipAll
			}
			_, _ = fmt.Fprintln(hash, path, st.Dev, st.Ino, st.Size, st.Mode, st.Mtim, st.Ctim)
			return nil
		})
	}
	return hex.EncodeToString(hash.Sum(nil))
}
