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

// markerName is a file in each directory that an import makes: only such directories are swept. The owner of the home
// can move other directories of root there, but can't write into them.
const markerName = ".liveapid-import"

// Unpack extracts the directories etc and mail from an archive, which Look has checked, into home. uid and
// gid become the owner of the files. Neither directory may exist in home yet. Unpack extracts into a
// temporary directory with mode 0700, which belongs to root or to the running user, and moves etc and mail to
// their places at the end: the account can't reach a file before the whole archive is extracted. Before that, it
// calls finish with a path of the temporary directory, and after it commit. If anything fails, also commit, or ctx
// ends, Unpack removes its files. The files of an import that was killed are removed by the next import.
//
// The owner of the home may rename, replace or add anything there at any moment. So the temporary directory is
// checked after it was opened, and used only by its descriptor.
func Unpack(ctx context.Context, file string, limits Limits, plan Plan, home string, uid, gid int, finish func(dir string) error, commit func() error) (err error) {
	root, err := os.OpenRoot(home)
	if err != nil {
		return fmt.Errorf("open the home directory: %w", err)
	}
	defer func() { _ = root.Close() }()
	if err := sweep(root); err != nil {
		return fmt.Errorf("remove what an interrupted import left: %w", err)
	}
	if err := CheckEmpty(home); err != nil {
		return err
	}
	stage, err := newStage(root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.remove()) }()
	u := unpacker{in: stage.in, limits: limits, plan: plan, uid: uid, gid: gid, left: make(map[string]bool)}
	if err := u.run(ctx, file); err != nil {
		return err
	}
	if err := finish(fmt.Sprintf("/proc/self/fd/%d", stage.dir.Fd())); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return stage.publish(commit)
}

// CheckEmpty returns an error if the home already contains etc or mail.
func CheckEmpty(home string) error {
	for _, name := range []string{"etc", "mail"} {
		if _, err := os.Lstat(path.Join(home, name)); err == nil {
			return fmt.Errorf("the home directory %s already contains %s; import into an empty home directory", home, name)
		}
	}
	return nil
}

// stage is the temporary directory of an import.
type stage struct {
	root *os.Root // The home.
	home *os.File
	in   *os.Root // The directory itself.
	dir  *os.File
	name string
}

// newStage makes a temporary directory in the home.
func newStage(root *os.Root) (s *stage, err error) {
	s = &stage{root: root, name: fmt.Sprintf("%s%d-%d", tempPrefix, os.Getpid(), time.Now().UnixNano())}
	if err := root.Mkdir(s.name, 0o700); err != nil {
		return nil, fmt.Errorf("create a temporary directory in the home directory: %w", err)
	}
	defer func() {
		if err != nil {
			_ = s.close()
		}
	}()
	if s.home, err = root.Open("."); err != nil {
		return nil, err
	}
	if s.in, err = root.OpenRoot(s.name); err != nil {
		return nil, err
	}
	if s.dir, err = s.in.Open("."); err != nil {
		return nil, err
	}
	var st unix.Stat_t
	names, err := s.dir.Readdirnames(1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := unix.Fstat(int(s.dir.Fd()), &st); err != nil || len(names) > 0 || int(st.Uid) != os.Geteuid() || st.Mode&0o7777 != 0o700 {
		return nil, errors.Join(err, fmt.Errorf("somebody has replaced the temporary directory %s in the home directory: import again when nobody changes it", s.name))
	}
	if err := unix.Flock(int(s.dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil { // So that no other import sweeps it.
		return nil, fmt.Errorf("lock the temporary directory: %w", err)
	}
	return s, s.in.WriteFile(markerName, nil, 0o600)
}

// publish moves etc and mail to their places and calls commit. If that fails, it moves them back.
func (s *stage) publish(commit func() error) (err error) {
	var moved []string
	defer func() {
		for _, name := range moved {
			if err != nil {
				err = errors.Join(err, unix.Renameat2(int(s.home.Fd()), name, int(s.dir.Fd()), name, unix.RENAME_NOREPLACE))
			}
		}
	}()
	for _, name := range []string{"etc", "mail"} {
		if _, err := s.in.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := unix.Renameat2(int(s.dir.Fd()), name, int(s.home.Fd()), name, unix.RENAME_NOREPLACE); err != nil {
			return fmt.Errorf("move %s from the temporary directory into the home directory: %w", name, err)
		}
		moved = append(moved, name)
	}
	return commit()
}

// remove removes the temporary directory with its contents.
func (s *stage) remove() error {
	_, err := s.dir.Seek(0, io.SeekStart)
	names, readErr := s.dir.Readdirnames(-1)
	err = errors.Join(err, readErr)
	for _, name := range names {
		err = errors.Join(err, s.in.RemoveAll(name))
	}
	var named, open unix.Stat_t
	if unix.Fstatat(int(s.home.Fd()), s.name, &named, unix.AT_SYMLINK_NOFOLLOW) == nil && unix.Fstat(int(s.dir.Fd()), &open) == nil && named.Ino == open.Ino && named.Dev == open.Dev {
		err = errors.Join(err, s.root.Remove(s.name))
	}
	return errors.Join(err, s.close())
}

func (s *stage) close() (err error) {
	if s.dir != nil {
		err = s.dir.Close()
	}
	if s.in != nil {
		err = errors.Join(err, s.in.Close())
	}
	if s.home != nil {
		err = errors.Join(err, s.home.Close())
	}
	return err
}

// sweep removes the temporary directories of imports that were killed: those that this user owns, that contain the
// marker, and that no process has locked.
func sweep(root *os.Root) error {
	home, err := root.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = home.Close() }()
	names, err := home.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, tempPrefix) {
			if err := sweepOne(root, home, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func sweepOne(root *os.Root, home *os.File, name string) error {
	fd, err := unix.Openat(int(home.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil // Not a directory.
	}
	dir := os.NewFile(uintptr(fd), name)
	var st, marker unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err != nil || int(st.Uid) != os.Geteuid() || st.Mode&0o7777 != 0o700 ||
		unix.Fstatat(fd, markerName, &marker, unix.AT_SYMLINK_NOFOLLOW) != nil || int(marker.Uid) != os.Geteuid() || marker.Dev != st.Dev ||
		unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) != nil {
		return errors.Join(err, dir.Close())
	}
	in, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return errors.Join(err, dir.Close())
	}
	// The marker goes last, so that an interrupted sweep is continued.
	names, err := dir.Readdirnames(-1)
	for _, inner := range names {
		if inner != markerName {
			err = errors.Join(err, in.RemoveAll(inner))
		}
	}
	if err == nil {
		err = errors.Join(in.Remove(markerName), root.Remove(name))
	}
	return errors.Join(err, in.Close(), dir.Close())
}

// unpacker writes the files of an archive below in.
type unpacker struct {
	in          *os.Root
	limits      Limits
	plan        Plan
	uid, gid    int
	files, size int64
	left        map[string]bool // The names in plan.Left.
}

func (u *unpacker) run(ctx context.Context, file string) error {
	for _, l := range u.plan.Left {
		u.left[l.Path] = true
	}
	if err := each(ctx, file, u.plan.root, func(e entry) error { return u.entry(ctx, e) }); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(u.plan.Forwarders)) {
		if err := u.write(ctx, name, 0o600, time.Now(), strings.NewReader(string(u.plan.Forwarders[name]))); err != nil {
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
		if _, replaced := u.plan.Forwarders[name]; replaced { // Of an earlier import; the archive has newer ones.
			return nil
		}
		return u.write(ctx, name, mode&0o664|0o600, e.ModTime, e.data)
	case tar.TypeLink:
		if u.left[name] {
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
		return u.write(ctx, name, mode&0o664|0o600, e.ModTime, from)
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

// write creates a file that belongs to the account. The time is kept: it is the date at which a message arrived.
func (u *unpacker) write(ctx context.Context, name string, mode fs.FileMode, modified time.Time, from io.Reader) error {
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
	if when := unix.NsecToTimespec(modified.UnixNano()); err == nil && modified.Unix() > 0 {
		err = unix.UtimesNanoAt(int(f.Fd()), "", []unix.Timespec{when, when}, unix.AT_EMPTY_PATH)
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
