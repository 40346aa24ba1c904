package files

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// disk is what a commit does to the file system, one method a system call, so that
// tests can fail each of them and look at their order.
type disk interface {
	create(dir *os.File, name string) (*os.File, error)
	write(f *os.File, content []byte) error
	chown(f *os.File, uid, gid int) error
	chmod(f *os.File, mode uint32) error
	setACL(f *os.File, acl []byte) error // None where acl is nil.
	utimes(f *os.File, mtime unix.Timespec) error
	sync(f *os.File) error
	rename(dir *os.File, from, to string) error
	syncDir(dir, within *os.File) error // within is an open file of the folder's file system.
	unlink(dir *os.File, name string) error
}

const aclName = "system.posix_acl_access"

// osDisk is the file system itself.
type osDisk struct{}

var _ disk = osDisk{}

func (osDisk) create(dir *os.File, name string) (*os.File, error) {
	return openBeneath(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
}

func (osDisk) write(f *os.File, content []byte) error {
	_, err := f.Write(content)
	return err
}

func (osDisk) chown(f *os.File, uid, gid int) error { return f.Chown(uid, gid) }

func (osDisk) chmod(f *os.File, mode uint32) error { return unix.Fchmod(int(f.Fd()), mode) }

func (osDisk) setACL(f *os.File, acl []byte) error {
	if acl != nil {
		return unix.Fsetxattr(int(f.Fd()), aclName, acl, 0)
	}
	if err := unix.Fremovexattr(int(f.Fd()), aclName); !hasNone(err) {
		return err
	}
	return nil
}

func (osDisk) utimes(f *os.File, mtime unix.Timespec) error {
	// By the descriptor: an empty path with AT_EMPTY_PATH is the file itself.
	return unix.UtimesNanoAt(int(f.Fd()), "", []unix.Timespec{mtime, mtime}, unix.AT_EMPTY_PATH)
}

func (osDisk) sync(f *os.File) error { return f.Sync() }

func (osDisk) rename(dir *os.File, from, to string) error {
	return unix.Renameat(int(dir.Fd()), from, int(dir.Fd()), to)
}

func (osDisk) syncDir(dir, within *os.File) error {
	err := unix.Fsync(int(dir.Fd()))
	if errors.Is(err, unix.EBADF) {
		// A folder that may be passed and not read was opened by path alone, which can't
		// be synced; the whole file system can.
		return unix.Syncfs(int(within.Fd()))
	}
	return err
}

func (osDisk) unlink(dir *os.File, name string) error {
	return unix.Unlinkat(int(dir.Fd()), name, 0)
}

// hasNone tells whether err says that a file has no ACL, or its file system knows none.
func hasNone(err error) bool {
	return errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP)
}

// readACL returns the ACL of a file, nil where it has none.
func readACL(f *os.File) ([]byte, error) {
	acl := make([]byte, 64<<10) // The kernel's own bound on an attribute.
	n, err := unix.Fgetxattr(int(f.Fd()), aclName, acl)
	if hasNone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the ACL: %w", err)
	}
	return acl[:n], nil
}

// classify gives an error of the file system the store's name for it.
func classify(op string, err error) error {
	kind := error(nil)
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		kind = store.ErrFull
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		kind = store.ErrReadOnly
	}
	if kind != nil {
		return fmt.Errorf("%w: %s: %w", kind, op, err)
	}
	return fmt.Errorf("%s: %w", op, err)
}
