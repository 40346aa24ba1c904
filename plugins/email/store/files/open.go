package files

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// MaxFile is the maximum size of a store's file, in bytes. A domain with 100,000 mailboxes needs 12 MiB.
const MaxFile = 64 << 20

// resolve contains the openat2 flags with which every name below a home is opened: the path must not leave
// the directory or follow a link.
const resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

// openBeneath opens path below dir. It does not follow links, and does not block if path is a FIFO.
func openBeneath(dir *os.File, path string, flags int, mode uint64) (*os.File, error) {
	flags |= unix.O_CLOEXEC | unix.O_NOFOLLOW
	if flags&unix.O_PATH == 0 {
		flags |= unix.O_NONBLOCK // openat2 rejects O_NONBLOCK together with O_PATH.
	}
	how := unix.OpenHow{Flags: uint64(flags), Mode: mode, Resolve: resolve}
	for range 16 {
		fd, err := unix.Openat2(int(dir.Fd()), path, &how)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), path), nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue // EAGAIN: during a rename, the kernel can't check the path.
		case errors.Is(err, unix.ELOOP), errors.Is(err, unix.EXDEV):
			return nil, fmt.Errorf("%w: the path %s contains a symbolic link, or leads out of its directory", store.ErrUnsafe, path)
		case errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV), errors.Is(err, unix.EISDIR):
			return nil, fmt.Errorf("%w: %s is not a regular file", store.ErrUnsafe, path)
		case errors.Is(err, unix.ENOTDIR):
			return nil, fmt.Errorf("%w: %s is not a directory", store.ErrUnsafe, path)
		case errors.Is(err, unix.ENOSYS):
			return nil, fmt.Errorf("open %s: the kernel does not support openat2; Linux 5.6 or newer is needed", path)
		}
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return nil, fmt.Errorf("%w: can't open %s, because the kernel could not check the path during concurrent renames", store.ErrUnsafe, path)
}

// openDir opens the directory at path below dir, and checks that it belongs to owner.
func openDir(dir *os.File, path string, owner int) (*os.File, error) {
	f, err := openBeneath(dir, path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, unix.EACCES) {
		// The user may be allowed to enter the directory but not to read it. An O_PATH descriptor is enough
		// to open files in such a directory.
		f, err = openBeneath(dir, path, unix.O_PATH|unix.O_DIRECTORY, 0)
	}
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(int(f.Fd()), &st); err == nil && int(st.Uid) != owner {
		err = fmt.Errorf("%w: %s belongs to uid %d, not to uid %d", store.ErrUnsafe, path, st.Uid, owner)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// openFile opens a file of a store. It checks that the file is regular, belongs to owner, has a single link,
// and is not larger than MaxFile.
func openFile(dir *os.File, name string, flags int, mode uint64, owner int) (*os.File, unix.Stat_t, error) {
	var st unix.Stat_t
	f, err := openBeneath(dir, name, flags, mode)
	if err != nil {
		return nil, st, err
	}
	if err = unix.Fstat(int(f.Fd()), &st); err == nil {
		err = checkFile(name, st, owner)
	}
	if err != nil {
		_ = f.Close()
		return nil, st, err
	}
	return f, st, nil
}

func checkFile(name string, st unix.Stat_t, owner int) error {
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return fmt.Errorf("%w: %s is not a regular file", store.ErrUnsafe, name)
	case int(st.Uid) != owner:
		return fmt.Errorf("%w: %s belongs to uid %d, not to uid %d", store.ErrUnsafe, name, st.Uid, owner)
	case st.Nlink != 1:
		return fmt.Errorf("%w: %s has %d hard links, not 1", store.ErrUnsafe, name, st.Nlink)
	case st.Size > MaxFile:
		return fmt.Errorf("%w: %s has %d bytes, but the limit is %d", store.ErrUnsafe, name, st.Size, MaxFile)
	}
	return nil
}

// readFile returns the content of a store's file, and the file's state when it was opened.
func readFile(dir *os.File, name string, owner int) ([]byte, unix.Stat_t, error) {
	f, st, err := openFile(dir, name, unix.O_RDONLY, 0, owner)
	for try := 0; err != nil && st.Mode != 0 && st.Nlink == 0 && try < 10; try++ { // Replaced after it was opened.
		f, st, err = openFile(dir, name, unix.O_RDONLY, 0, owner)
	}
	if err != nil {
		return nil, st, err
	}
	defer func() { _ = f.Close() }()
	content := make([]byte, st.Size)
	if _, err := io.ReadFull(f, content); err != nil {
		return nil, st, fmt.Errorf("read %s: %w", name, err)
	}
	return content, st, nil
}
