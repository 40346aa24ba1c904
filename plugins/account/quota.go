package account

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

// usage contains the bytes and inodes that an account uses, and their limits; 0 means no limit.
type usage struct {
	bytes, byteLimit    int64
	inodes, inodesLimit int64
}

// quota implements the module Quota.
type quota struct {
	mu    sync.Mutex
	known map[string]measured // By home directory.
}

// measured is a result of walking through a home. It is kept for keepMeasured, because the walk reads every
// directory.
type measured struct {
	usage
	at time.Time
}

const keepMeasured = 5 * time.Minute

func newQuota() *quota { return &quota{known: make(map[string]measured)} }

func (q *quota) functions() []sdk.Function {
	return []sdk.Function{
		{
			Function: describe(protocol.UAPI, "get_quota_info", "Show the disk use of the account in MiB, and its limits.",
				"megabytes_used, megabyte_limit, megabytes_remain, the same for inodes, and under_quota_overall; a limit of 0 means none.", false),
			Do: q.info,
		},
		{
			Function: describe(protocol.UAPI, "get_local_quota_info", "Show the disk use of the account in bytes, and its limits.",
				"bytes_used, byte_limit, inodes_used and inode_limit; a limit of 0 means none.", false),
			Do: q.local,
		},
	}
}

func (q *quota) local(ctx context.Context, call *sdk.Call) (any, error) {
	u, err := q.usage(ctx, call.Account)
	if err != nil {
		return nil, err
	}
	return map[string]any{"bytes_used": u.bytes, "byte_limit": u.byteLimit, "inodes_used": u.inodes, "inode_limit": u.inodesLimit}, nil
}

func (q *quota) info(ctx context.Context, call *sdk.Call) (any, error) {
	u, err := q.usage(ctx, call.Account)
	if err != nil {
		return nil, err
	}
	under := func(used, limit int64) int { return bit(limit == 0 || used < limit) }
	remain := func(used, limit int64) int64 { return max(0, limit-used) }
	return map[string]any{
		"megabytes_used": mebibytes(u.bytes), "megabyte_limit": mebibytes(u.byteLimit), "megabytes_remain": mebibytes(remain(u.bytes, u.byteLimit)),
		"inodes_used": u.inodes, "inode_limit": u.inodesLimit, "inodes_remain": remain(u.inodes, u.inodesLimit),
		"under_megabyte_limit": under(u.bytes, u.byteLimit), "under_inode_limit": under(u.inodes, u.inodesLimit),
		"under_quota_overall": under(u.bytes, u.byteLimit) * under(u.inodes, u.inodesLimit),
	}, nil
}

func bit(on bool) int {
	if on {
		return 1
	}
	return 0
}

func mebibytes(n int64) float64 { return math.Round(float64(n)/(1<<20)*100) / 100 }

// usage returns the numbers of the file system's quota. If the file system of the home counts no quota, the
// home is measured, and there are no limits.
func (q *quota) usage(ctx context.Context, a protocol.Account) (usage, error) {
	u, err := fileSystemQuota(a.Home, a.UID)
	if err == nil {
		return u, nil
	}
	q.mu.Lock()
	known, ok := q.known[a.Home]
	q.mu.Unlock()
	if ok && time.Since(known.at) < keepMeasured {
		return known.usage, nil
	}
	if u, err = measure(ctx, a.Home, a.UID); err != nil {
		return u, &protocol.Error{Kind: protocol.KindUnavailable, Message: "The disk use could not be measured at the moment. Try again later.", Err: err}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.known) > 1000 {
		clear(q.known)
	}
	q.known[a.Home] = measured{u, time.Now()}
	return u, nil
}

// block is the kernel's struct if_dqblk (linux/quota.h). Limits are in blocks of 1024 bytes, space is in
// bytes.
type block struct {
	hard, soft, space            uint64
	inodesHard, inodesSoft, used uint64
	blockTime, inodeTime         uint64
	valid                        uint32
	_                            uint32
}

// getUserQuota is the command Q_GETQUOTA for the quota of a user.
const getUserQuota = 0x800007 << 8

// fileSystemQuota reads the quota of uid on the file system of dir, with quotactl_fd of Linux 5.14. It returns
// an error if the file system counts no quota.
func fileSystemQuota(dir string, uid int) (u usage, _ error) {
	f, err := os.Open(dir)
	if err != nil {
		return u, err
	}
	defer func() { _ = f.Close() }()
	var b block
	if _, _, errno := syscall.Syscall6(unix.SYS_QUOTACTL_FD, f.Fd(), getUserQuota, uintptr(uid), uintptr(unsafe.Pointer(&b)), 0, 0); errno != 0 {
		return u, errno
	}
	limit := func(hard, soft uint64) int64 {
		if hard == 0 {
			hard = soft
		}
		return int64(min(hard, math.MaxInt64/1024))
	}
	return usage{
		bytes: int64(min(b.space, math.MaxInt64)), byteLimit: limit(b.hard, b.soft) * 1024,
		inodes: int64(min(b.used, math.MaxInt64)), inodesLimit: limit(b.inodesHard, b.inodesSoft),
	}, nil
}

// measure adds up the files below dir that belong to uid. It does not follow symbolic links, counts a file
// with several names once, and does not enter other file systems.
func measure(ctx context.Context, dir string, uid int) (u usage, _ error) {
	type file struct{ device, inode uint64 }
	seen := make(map[file]bool)
	var device uint64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return nil // The file was removed meanwhile, or is not the account's own.
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil
		}
		if path == dir {
			device = st.Dev
		}
		if st.Dev != device {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if int(st.Uid) != uid {
			return nil
		}
		if st.Nlink > 1 && !d.IsDir() {
			if seen[file{st.Dev, st.Ino}] {
				return nil
			}
			seen[file{st.Dev, st.Ino}] = true
		}
		u.bytes += st.Blocks * 512
		u.inodes++
		return nil
	})
	return u, err
}
