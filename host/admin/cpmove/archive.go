package cpmove

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
)

// Limits are the limits for the contents of an archive. An archive that exceeds a limit is rejected with
// ErrHostile.
type Limits struct {
	Bytes   int64 // Maximum size of all files together, in bytes.
	Entries int64
	Ratio   int64 // Maximum compression ratio; see ratioFrom.
}

// DefaultLimits are the limits for an import. They are so high that the archive of a large account does not
// exceed them.
var DefaultLimits = Limits{Bytes: 200 << 30, Entries: 20_000_000, Ratio: 100}

// ratioFrom is the unpacked size, in bytes, above which the compression ratio is checked. A small archive may
// have a high ratio without being hostile.
const ratioFrom = 64 << 20

// ErrHostile is wrapped by the error for an archive that is rejected because its contents are not allowed.
var ErrHostile = errors.New("the archive is rejected")

// Plan describes what Unpack would import from an archive.
type Plan struct {
	Account Account
	Files   int64
	Bytes   int64
	Skipped []string // Symbolic links below mail; they are not imported.
	Notes   []string // Facts about the account that could not be read, for people.
	root    string   // The archive's top directory, for example cpmove-NAME.
}

// maxSkipped is the maximum number of names in Plan.Skipped.
const maxSkipped = 20

// Look reads the whole cpmove archive in file, checks it, and returns its plan. Look writes nothing.
func Look(file string, limits Limits) (Plan, error) {
	var plan Plan
	var users *Account
	userdata := make(map[string][]byte)
	err := each(file, limits, func(h *tar.Header, r io.Reader) error {
		root, rest, _ := strings.Cut(h.Name, "/")
		if plan.root == "" {
			plan.root = root
			name := strings.TrimPrefix(strings.TrimPrefix(root, "cpmove-"), "backup-")
			if name == root || !validName(name) {
				return fmt.Errorf("%w: its top directory is %.60q, not cpmove-NAME or backup-NAME", ErrHostile, root)
			}
			plan.Account.Name = name
		}
		if root != plan.root {
			return fmt.Errorf("%w: the archive has two top directories, %.60q and %.60q", ErrHostile, plan.root, root)
		}
		if rest == "cp/"+plan.Account.Name && h.Typeflag == tar.TypeReg {
			a, err := ParseUsers(plan.Account.Name, r)
			users = &a
			return err
		}
		if name, ok := strings.CutPrefix(rest, "userdata/"); ok && h.Typeflag == tar.TypeReg && len(userdata) < maxUserData {
			// A larger file, or a file beyond the number, is not used: the import needs none of them.
			if text, err := io.ReadAll(io.LimitReader(r, maxUserDataFile)); err == nil {
				userdata[name] = text
			}
			return nil
		}
		name, wanted := inHome(rest)
		if !wanted {
			return nil
		}
		switch h.Typeflag {
		case tar.TypeDir:
		case tar.TypeReg:
			plan.Files++
			plan.Bytes += h.Size
		case tar.TypeSymlink:
			// Archives of a cPanel server contain symbolic links only directly in mail, with names that begin
			// with a dot. Any other link in etc or mail is rejected.
			if strings.Count(name, "/") != 1 || !strings.HasPrefix(name, "mail/.") {
				return fmt.Errorf("%w: %.100q is a symbolic link", ErrHostile, h.Name)
			}
			if len(plan.Skipped) < maxSkipped {
				plan.Skipped = append(plan.Skipped, name)
			}
		default:
			return fmt.Errorf("%w: %.100q is neither a file nor a directory", ErrHostile, h.Name)
		}
		if parts := strings.Split(name, "/"); parts[0] == "etc" && len(parts) > 2 && isDomain(parts[1]) {
			plan.Account.AddFound([]string{parts[1]})
		}
		return nil
	})
	if err != nil {
		return plan, err
	}
	if plan.root == "" {
		return plan, fmt.Errorf("%w: the archive is empty", ErrHostile)
	}
	if users != nil {
		found := plan.Account.Domains
		plan.Account = *users
		plan.Account.AddFound(found)
	}
	if err := plan.Account.AddSites(func(name string) ([]byte, error) {
		if text, ok := userdata[name]; ok {
			return text, nil
		}
		return nil, fs.ErrNotExist
	}); err != nil {
		plan.Notes = append(plan.Notes, "the document roots are not imported: "+err.Error())
	}
	return plan, nil
}

// Maximum number of files in userdata that Look reads, and maximum size of each in bytes.
const (
	maxUserData     = 2000
	maxUserDataFile = 64 << 10
)

// inHome returns the path of an archive entry relative to the home, and reports whether the entry is
// imported. Only entries in etc and mail are imported. rest is the entry's name without the archive's top
// directory.
func inHome(rest string) (string, bool) {
	name, ok := strings.CutPrefix(rest, "homedir/")
	if !ok {
		return "", false
	}
	name = strings.TrimSuffix(name, "/")
	top, _, _ := strings.Cut(name, "/")
	return name, top == "etc" || top == "mail"
}

// Unpack extracts the directories etc and mail from an archive, which Look has checked, into home. uid and
// gid become the owner of the files. Neither directory may exist in home yet. Unpack extracts into a
// temporary directory with mode 0700, which belongs to root or to the running user, and moves etc and mail to
// their places at the end: the account can't reach a file before the whole archive is extracted.
func Unpack(file string, limits Limits, plan Plan, home string, uid, gid int) error {
	root, err := os.OpenRoot(home)
	if err != nil {
		return fmt.Errorf("open the home directory: %w", err)
	}
	defer func() { _ = root.Close() }()
	for _, name := range []string{"etc", "mail"} {
		if _, err := root.Lstat(name); err == nil {
			return fmt.Errorf("the home directory %s already contains %s; import into an empty home directory", home, name)
		}
	}
	temp := fmt.Sprintf(".liveapi-import-%d-%d", os.Getpid(), time.Now().UnixNano())
	if err := root.Mkdir(temp, 0o700); err != nil {
		return fmt.Errorf("create a temporary directory in the home directory: %w", err)
	}
	defer func() { _ = root.RemoveAll(temp) }()
	in, err := root.OpenRoot(temp)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	if err := unpackInto(in, file, limits, plan, uid, gid); err != nil {
		return err
	}
	for _, name := range []string{"etc", "mail"} {
		if _, err := in.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := root.Rename(path.Join(temp, name), name); err != nil {
			return fmt.Errorf("move %s from the temporary directory into the home directory: %w", name, err)
		}
	}
	return nil
}

func unpackInto(in *os.Root, file string, limits Limits, plan Plan, uid, gid int) error {
	own := func(name string) error {
		if os.Geteuid() != 0 {
			return nil
		}
		return in.Lchown(name, uid, gid)
	}
	var files, size int64
	return each(file, limits, func(h *tar.Header, r io.Reader) error {
		root, rest, _ := strings.Cut(h.Name, "/")
		name, wanted := inHome(rest)
		if root != plan.root || !wanted {
			return nil
		}
		switch h.Typeflag {
		case tar.TypeDir:
			if err := makeAll(in, name, own); err != nil {
				return err
			}
			return in.Chmod(name, fs.FileMode(h.Mode)&0o770|0o700)
		case tar.TypeReg:
			// The archive file may have been replaced by another file since Look checked it.
			if files, size = files+1, size+h.Size; files > plan.Files || size > plan.Bytes {
				return fmt.Errorf("%w: the archive file changed between the check and the import", ErrHostile)
			}
			if err := makeAll(in, path.Dir(name), own); err != nil {
				return err
			}
			f, err := in.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return fmt.Errorf("%w: %.100q: %w", ErrHostile, h.Name, err)
			}
			_, err = io.Copy(f, r)
			if err == nil && os.Geteuid() == 0 {
				err = f.Chown(uid, gid)
			}
			if err == nil {
				err = f.Chmod(fs.FileMode(h.Mode)&0o664 | 0o600)
			}
			return errors.Join(err, f.Close())
		case tar.TypeSymlink:
			return nil
		}
		return fmt.Errorf("%w: the archive file changed between the check and the import", ErrHostile)
	})
}

func makeAll(in *os.Root, name string, own func(string) error) error {
	if name == "." || name == "" {
		return nil
	}
	if err := makeAll(in, path.Dir(name), own); err != nil {
		return err
	}
	err := in.Mkdir(name, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return own(name)
}

// each reads the archive in file and calls do for every entry. Before each call it checks the entry's name
// and the limits.
func each(file string, limits Limits, do func(*tar.Header, io.Reader) error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", file)
	}
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("%s is not a .tar.gz archive: %w", file, err)
	}
	// The counter reads below the tar reader, so that it also counts bytes that do not belong to an archive
	// entry, such as padding.
	counted := &counter{r: unpacked, packed: info.Size(), limits: limits}
	archive := tar.NewReader(counted)
	var entries, size int64
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			if counted.over != nil {
				return counted.over
			}
			return fmt.Errorf("the archive is damaged: %w", err)
		}
		if entries++; entries > limits.Entries {
			return fmt.Errorf("%w: the archive has more than %d entries", ErrHostile, limits.Entries)
		}
		if size += h.Size; h.Size < 0 || size > limits.Bytes || size < 0 {
			return fmt.Errorf("%w: the unpacked files have more than %d bytes", ErrHostile, limits.Bytes)
		}
		if err := checkName(h.Name); err != nil {
			return err
		}
		h.Name = path.Clean(h.Name)
		if err := do(h, archive); err != nil {
			if counted.over != nil {
				return counted.over
			}
			return err
		}
	}
}

func checkName(name string) error {
	if name == "" || len(name) > 4096 || path.IsAbs(name) || strings.ContainsAny(name, "\x00\\") {
		return fmt.Errorf("%w: the entry name %.100q is empty, absolute or too long, or contains a backslash or NUL byte", ErrHostile, name)
	}
	for _, part := range strings.Split(name, "/") {
		if part == ".." {
			return fmt.Errorf("%w: the entry name %.100q contains .., which leads out of the archive", ErrHostile, name)
		}
	}
	return nil
}

// counter is a reader that counts the unpacked bytes and fails if the compression ratio exceeds the limit.
type counter struct {
	r            io.Reader
	packed, read int64
	limits       Limits
	over         error
}

// Read implements io.Reader. After the limit is exceeded, every Read returns the same error.
func (c *counter) Read(p []byte) (int, error) {
	if c.over != nil {
		return 0, c.over
	}
	n, err := c.r.Read(p)
	c.read += int64(n)
	if c.read > ratioFrom && c.read/c.limits.Ratio > c.packed {
		c.over = fmt.Errorf("%w: the unpacked archive is more than %d times as large as the archive file", ErrHostile, c.limits.Ratio)
		return n, c.over
	}
	return n, err
}

// validName reports whether name is a possible name of a system user.
func validName(name string) bool {
	if name == "" || len(name) > 32 || name[0] == '-' {
		return false
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
