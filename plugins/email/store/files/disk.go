package files

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// disk is the interface of the file system operations with which commit writes files, with a method for each
// system call. Tests replace it to make a given call fail and to check the order of the calls.
type disk interface {
	create(dir *os.File, name string) (*os.File, error)
	write(f *os.File, content []byte) error
	chown(f *os.File, uid, gid int) error
	chmod(f *os.File, mode uint32) error
	setACL(f *os.File, acl []byte) error // If acl is nil, the file's ACL is removed.
	utimes(f *os.File, mtime unix.Timespec) error
	sync(f *os.File) error
	rename(dir *os.File, from, to string) error
	syncDir(dir, within *os.File) error // within: any open file on the file system that contains dir.
	unlink(dir *os.File, name string) error
}

const aclName = "system.posix_acl_access"

// osDisk implements disk with the real file system.
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
	// With AT_EMPTY_PATH and an empty path, the call changes the file that the descriptor refers to.
	return unix.UtimesNanoAt(int(f.Fd()), "", []unix.Timespec{mtime, mtime}, unix.AT_EMPTY_PATH)
}

func (osDisk) sync(f *os.File) error { return f.Sync() }

func (osDisk) rename(dir *os.File, from, to string) error {
	return unix.Renameat(int(dir.Fd()), from, int(dir.Fd()), to)
}

func (osDisk) syncDir(dir, within *os.File) error {
	err := unix.Fsync(int(dir.Fd()))
	if errors.Is(err, unix.EBADF) {
		// A directory that this user may enter but not read was opened with O_PATH, and fsync rejects such a
		// descriptor. Syncing the whole file system has the same effect.
		return unix.Syncfs(int(within.Fd()))
	}
	return err
}

func (osDisk) unlink(dir *os.File, name string) error {
	return unix.Unlinkat(int(dir.Fd()), name, 0)
}

// hasNone reports whether err, from reading or removing an ACL, means that the file has no ACL or that the
// file system does not support ACLs.
func hasNone(err error) bool {
	return errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP)
}

// readACL returns the ACL of f, or nil if f has no ACL.
func readACL(f *os.File) ([]byte, error) {
	acl := make([]byte, 64<<10) // The kernel's maximum for an attribute.
	n, err := unix.Fgetxattr(int(f.Fd()), aclName, acl)
	if hasNone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the ACL: %w", err)
	}
	return acl[:n], nil
}

// classify wraps a file system error in the matching error of package store, if there is one. op describes
// the operation that failed.
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
