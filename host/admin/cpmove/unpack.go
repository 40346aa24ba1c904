package cpmove

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tempPrefix begins the names of the directories into which archives are unpacked.
const tempPrefix = ".liveapid-import-"

// Unpack extracts the directories etc and mail from an archive, which Look has checked, into home. uid and
// gid become the owner of the files. Neither directory may exist in home yet. Unpack extracts into a
// temporary directory with mode 0700, which belongs to root or to the running user, and moves etc and mail to
// their places at the end: the account can't reach a file before the whole archive is extracted. Before that, it
// calls finish with a path of the temporary directory.
//
// If ctx ends, Unpack removes what it has written. What an import left that was killed is removed by the next one.
func Unpack(ctx context.Context, file string, limits Limits, plan Plan, home string, uid, gid int, finish func(dir string) error) error {
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
	if err := sweep(root); err != nil {
		return fmt.Errorf("remove what an interrupted import left: %w", err)
	}
	temp := fmt.Sprintf("%s%d-%d", tempPrefix, os.Getpid(), time.Now().UnixNano())
	if err := root.Mkdir(temp, 0o700); err != nil {
		return fmt.Errorf("create a temporary directory in the home directory: %w", err)
	}
	defer func() { _ = root.RemoveAll(temp) }()
	in, err := root.OpenRoot(temp)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	dir, err := in.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil { // So that no other import sweeps it.
		return fmt.Errorf("lock the temporary directory: %w", err)
	}
	u := unpacker{in: in, limits: limits, plan: plan, uid: uid, gid: gid}
	if err := u.run(ctx, file); err != nil {
		return err
	}
	// The owner of the home can rename the directory, but the descriptor still refers to it.
	if err := finish(fmt.Sprintf("/proc/self/fd/%d", dir.Fd())); err != nil {
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

// sweep removes the temporary directories of imports that were killed: those that this user owns, and that no
// process has locked.
func sweep(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	if err = errors.Join(err, dir.Close()); err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, tempPrefix) {
			continue
		}
		old, err := root.Open(name)
		if err != nil {
			continue // A link that leads out of the home, or a directory of somebody else.
		}
		var st unix.Stat_t
		err = unix.Fstat(int(old.Fd()), &st)
		if err == nil && int(st.Uid) == os.Geteuid() && st.Mode&unix.S_IFMT == unix.S_IFDIR && unix.Flock(int(old.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			err = root.RemoveAll(name)
		}
		if err = errors.Join(err, old.Close()); err != nil {
			return err
		}
	}
	return nil
}

// unpacker writes the files of an archive below in.
type unpacker struct {
	in          *os.Root
	limits      Limits
	plan        Plan
	uid, gid    int
	files, size int64
}

func (u *unpacker) run(ctx context.Context, file string) error {
	if err := each(ctx, file, u.plan.root, func(e entry) error { return u.entry(ctx, e) }); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(u.plan.Forwarders)) {
		if err := u.write(ctx, name, 0o600, strings.NewReader(string(u.plan.Forwarders[name]))); err != nil {
			return fmt.Errorf("keep the forwarders: %w", err)
		}
	}
	return nil
}

// errChanged means that the archive file was replaced by another one since Look checked it.
var errChanged = fmt.Errorf("%w: the archive file changed between the check and the import", ErrHostile)

func (u *unpacker) entry(ctx context.Context, e entry) error {
	name, unpack := wanted(e.name)
	if !unpack {
		return nil
	}
	mode := fs.FileMode(e.Mode)
	switch e.Typeflag {
	case tar.TypeDir:
		if err := u.makeAll(name); err != nil {
			return err
		}
		return u.in.Chmod(name, mode&0o770|0o700)
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		if err := u.counted(e.Size); err != nil {
			return err
		}
		return u.write(ctx, name, mode&0o664|0o600, e.data)
	case tar.TypeLink:
		if slices.ContainsFunc(u.plan.Left, func(l LeftOut) bool { return l.Path == name }) {
			return nil
		}
		other, unpacked := wanted(e.target)
		if box := mailboxOf(name); box == "" || !unpacked || mailboxOf(other) != box {
			return errChanged
		}
		from, err := u.in.Open(other)
		if err != nil {
			return errors.Join(errChanged, err)
		}
		defer func() { _ = from.Close() }()
		info, err := from.Stat()
		if err == nil {
			err = u.counted(info.Size())
		}
		if err != nil {
			return err
		}
		return u.write(ctx, name, mode&0o664|0o600, from)
	case tar.TypeSymlink:
		return nil
	}
	return errChanged
}

// counted returns an error if there are more files, or more bytes, than Look has found.
func (u *unpacker) counted(size int64) error {
	if u.files, u.size = u.files+1, u.size+size; u.files > u.plan.Files || u.size > u.plan.Bytes {
		return errChanged
	}
	return nil
}

// write creates a file that belongs to the account.
func (u *unpacker) write(ctx context.Context, name string, mode fs.FileMode, from io.Reader) error {
	if err := u.makeAll(path.Dir(name)); err != nil {
		return err
	}
	f, err := u.in.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: it contains %.100q twice", ErrHostile, name)
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(f, readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return from.Read(p)
	}))
	if err == nil && os.Geteuid() == 0 {
		err = f.Chown(u.uid, u.gid)
	}
	if err == nil {
		err = f.Chmod(mode)
	}
	return errors.Join(err, f.Close())
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// makeAll makes a directory and its missing parents, which belong to the account.
func (u *unpacker) makeAll(name string) error {
	if name == "." || name == "" {
		return nil
	}
	err := u.in.Mkdir(name, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err = u.makeAll(path.Dir(name)); err == nil {
			err = u.in.Mkdir(name, 0o700)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return nil
	}
	return u.in.Lchown(name, u.uid, u.gid)
}
