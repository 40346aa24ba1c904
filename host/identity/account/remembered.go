package account

import (
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/protocol"
)

// Remembered is an account of a Dir that is read again only when its file has changed. It is safe for concurrent
// use. Callers must not change the maps and slices of the account.
type Remembered struct {
	dir  *Dir
	name string
	now  func() time.Time

	mu      sync.Mutex
	version version
	account protocol.Account
}

// version contains the properties of a file that change when a program writes or replaces it.
type version struct {
	device, inode, size int64
	modified, changed   unix.Timespec
}

// settled is the age at which a file's version is reliable: two changes within the kernel's clock tick can have the
// same times.
const settled = 2 * time.Second

// NewRemembered returns the account called name in dir.
func NewRemembered(dir *Dir, name string) *Remembered {
	return &Remembered{dir: dir, name: name, now: time.Now}
}

// Account returns the account as its file describes it now. It returns the errors of Dir.ByName.
func (r *Remembered) Account() (protocol.Account, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var stat unix.Stat_t
	if err := unix.Stat(filepath.Join(r.dir.path, r.name+".toml"), &stat); err != nil {
		return r.dir.ByName(r.name)
	}
	now := version{int64(stat.Dev), int64(stat.Ino), stat.Size, stat.Mtim, stat.Ctim}
	if now == r.version {
		return r.account, nil
	}
	account, err := r.dir.ByName(r.name)
	if err == nil && r.now().Sub(time.Unix(stat.Ctim.Unix())) > settled {
		r.version, r.account = now, account
	}
	return account, err
}
