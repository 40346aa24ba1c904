package isolate

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrBinary is returned for a plugin binary that must not be executed.
var ErrBinary = errors.New("isolate: plugin binary rejected")

// OpenBinary opens a plugin's binary and checks the open file. The caller later executes the same descriptor,
// so a file that replaces the binary in the meantime never runs. sum is the required SHA-256 of the binary;
// if sum is nil, the checksum is not checked. If trusted is true, only root may be able to write the binary
// and the directories above it.
func OpenBinary(path string, sum []byte, trusted bool) (*os.File, error) {
	if trusted {
		if err := checkParents(path); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrPermission) && sum == nil {
		// A binary that may be executed but not read can be opened with O_PATH. Such a descriptor is enough
		// for execve.
		f, err = os.OpenFile(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBinary, err)
	}
	if err := checkBinary(f, sum, trusted); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%w: %s: %w", ErrBinary, path, err)
	}
	return f, nil
}

func checkBinary(f *os.File, sum []byte, trusted bool) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errors.New("it is not a regular file")
	}
	if trusted && (st.Uid != 0 || st.Mode&0o022 != 0) {
		return errors.New("the file must belong to root, and no other user may have write permission")
	}
	if sum == nil {
		return nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := h.Sum(nil); subtle.ConstantTimeCompare(got, sum) != 1 {
		return fmt.Errorf("its SHA-256 is %x, but the configuration requires %x", got, sum)
	}
	return nil
}

// CheckTrusted returns an error if a user other than root could have written the file or directory at path:
// if path or a directory above it belongs to another user, or if its group or other users may write it.
func CheckTrusted(path string) error {
	if err := checkParents(path); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFREG && kind != unix.S_IFDIR || st.Uid != 0 || st.Mode&0o022 != 0 {
		return fmt.Errorf("%w: %s must be a regular file or a directory that belongs to root and that no other user can write", ErrBinary, path)
	}
	return nil
}

// checkParents checks each directory above path: it must belong to root, must not be a symbolic link, and
// must not be writable for its group or for other users. A sticky directory such as /tmp is rejected, too,
// because other users can create names in it.
func checkParents(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%w: %s: the path must be absolute", ErrBinary, path)
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		var st unix.Stat_t
		if err := unix.Lstat(dir, &st); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrBinary, dir, err)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Uid != 0 || st.Mode&0o022 != 0 {
			return fmt.Errorf("%w: %s must be a directory that belongs to root and that no other user can write", ErrBinary, dir)
		}
		if dir == "/" {
			return nil
		}
	}
}
