package isolate

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/protocol"
)

// Cgroups creates a control group (cgroup version 2) for each worker, below the host's own group. The control
// group limits the worker's memory and its number of processes. It also allows the host to kill everything
// that the worker started when the worker ends.
type Cgroups struct {
	root        string // Directory of the host's own group.
	controllers []string
	next        atomic.Uint64
}

// workerTasks is the maximum number of processes and threads of a worker.
const workerTasks = 128

// FindCgroups returns a Cgroups below the group in which this process runs, if the host may create groups
// there. systemd grants that right to a service with Delegate=yes. Otherwise the error names what is missing.
func FindCgroups() (*Cgroups, error) {
	path, err := ownGroup()
	if err != nil {
		return nil, err
	}
	if !delegated(path) {
		return nil, fmt.Errorf("systemd has not delegated the cgroup %s to this process; set Delegate=yes in the systemd unit", path)
	}
	return NewCgroups(path)
}

// delegated reports whether systemd has delegated the group with the directory path to the processes in that
// group.
func delegated(path string) bool {
	for _, name := range []string{"trusted.delegate", "user.delegate"} {
		value := make([]byte, 8)
		if n, err := unix.Getxattr(path, name, value); err == nil && string(value[:n]) == "1" {
			return true
		}
	}
	return false
}

// ownGroup returns the directory of the version 2 group in which this process runs.
func ownGroup() (string, error) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	group := ""
	for line := range strings.Lines(string(own)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			group = strings.TrimSpace(path)
		}
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" && group != "" {
			return filepath.Join(f[1], group), nil
		}
	}
	return "", errors.New("no cgroup v2 hierarchy is mounted, or this process is not in one")
}

// NewCgroups returns a Cgroups that creates groups below the group with the directory root. It first moves
// this process into a subgroup, because the kernel allows no processes in a group that distributes
// controllers to its subgroups. NewCgroups fails if root is the root of all groups, which is not the case for
// a systemd service.
func NewCgroups(root string) (*Cgroups, error) {
	if _, err := os.Stat(filepath.Join(root, "cgroup.type")); err != nil {
		return nil, fmt.Errorf("set up cgroups: %s has no file cgroup.type, so it is the root cgroup or not a cgroup", root)
	}
	c := &Cgroups{root: root}
	host := filepath.Join(root, "host")
	if err := os.Mkdir(host, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("set up cgroups: %w", err)
	}
	if err := os.WriteFile(filepath.Join(host, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return nil, fmt.Errorf("set up cgroups: %w", err)
	}
	has, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return nil, fmt.Errorf("set up cgroups: %w", err)
	}
	for _, name := range []string{"memory", "pids"} {
		if !slices.Contains(strings.Fields(string(has)), name) {
			continue
		}
		if err := os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+"+name), 0); err != nil {
			return nil, fmt.Errorf("set up cgroups: %w", err)
		}
		c.controllers = append(c.controllers, name)
	}
	return c, nil
}

// Controllers returns the available controllers that limit workers: memory, pids, both or none.
func (c *Cgroups) Controllers() []string { return c.controllers }

// Group is the control group of a worker.
type Group struct{ Path string }

// Create creates a group for a worker. It limits the memory of the group to the given number of bytes and the
// number of processes to workerTasks, each only if its controller is available.
func (c *Cgroups) Create(memory int64) (*Group, error) {
	var g *Group
	for {
		g = &Group{Path: filepath.Join(c.root, fmt.Sprintf("worker-%d", c.next.Add(1)))}
		err := os.Mkdir(g.Path, 0o755)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrExist) { // A dead host may have left the group: try the next name.
			return nil, fmt.Errorf("set up cgroups: %w", err)
		}
	}
	set := map[string]string{}
	if slices.Contains(c.controllers, "memory") {
		set["memory.max"], set["memory.oom.group"] = strconv.FormatInt(memory, 10), "1"
	}
	if slices.Contains(c.controllers, "pids") {
		set["pids.max"] = strconv.Itoa(workerTasks)
	}
	for name, value := range set {
		if err := os.WriteFile(filepath.Join(g.Path, name), []byte(value), 0); err != nil {
			g.End()
			return nil, fmt.Errorf("set up cgroups: %w", err)
		}
	}
	return g, nil
}

// End kills every process in the group, including processes that left the worker's session, and removes the
// group when the processes are gone. It gives up after protocol.WorkerKillTimeout.
func (g *Group) End() {
	_ = os.WriteFile(filepath.Join(g.Path, "cgroup.kill"), []byte("1"), 0)
	deadline := time.Now().Add(protocol.WorkerKillTimeout)
	for time.Now().Before(deadline) {
		if err := os.Remove(g.Path); err == nil || errors.Is(err, os.ErrNotExist) {
			return
		}
		time.Sleep(5 * time.Millisecond) // Not empty yet: the processes need time to end. Try again.
	}
}

// ResidentBytes returns the resident memory of a process in bytes, without shared pages. It does not need a
// control group.
func ResidentBytes(pid int) (int64, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0, err
	}
	f := bytes.Fields(text)
	if len(f) < 3 {
		return 0, errors.New("read a process's statm in /proc: too few fields")
	}
	resident, err := strconv.ParseInt(string(f[1]), 10, 64)
	if err != nil {
		return 0, err
	}
	// Shared pages are mostly the program's code, which all workers share.
	shared, err := strconv.ParseInt(string(f[2]), 10, 64)
	if err != nil {
		return 0, err
	}
	return (resident - shared) * int64(os.Getpagesize()), nil
}
