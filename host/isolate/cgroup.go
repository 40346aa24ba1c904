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

// Cgroups makes a control group (version 2) for each worker, below the host's own: its
// memory and the number of its processes are bounded, and whatever it started ends with it.
type Cgroups struct {
	root        string // The folder of the host's own group.
	controllers []string
	next        atomic.Uint64
}

// workerTasks bounds a worker's processes and threads.
const workerTasks = 128

// FindCgroups returns the host's own group, where it may make groups below it: systemd gives a
// service that right with Delegate=yes. The error says what is missing.
func FindCgroups() (*Cgroups, error) {
	path, err := ownGroup()
	if err != nil {
		return nil, err
	}
	if !delegated(path) {
		return nil, fmt.Errorf("the group %s is not this program's to divide: systemd's Delegate=yes makes it so", path)
	}
	return NewCgroups(path)
}

// delegated tells whether systemd leaves a group to what runs in it.
func delegated(path string) bool {
	for _, name := range []string{"trusted.delegate", "user.delegate"} {
		value := make([]byte, 8)
		if n, err := unix.Getxattr(path, name, value); err == nil && string(value[:n]) == "1" {
			return true
		}
	}
	return false
}

// ownGroup returns the folder of the group of version 2 that this process is in.
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
	return "", errors.New("there are no control groups of version 2")
}

// NewCgroups makes groups below the group whose folder is root: the processes in it move to a
// group of their own first, as the kernel asks. Of the root of all groups it makes none: a
// service has its own.
func NewCgroups(root string) (*Cgroups, error) {
	if _, err := os.Stat(filepath.Join(root, "cgroup.type")); err != nil {
		return nil, fmt.Errorf("control groups: %s is no group of this program's own", root)
	}
	c := &Cgroups{root: root}
	host := filepath.Join(root, "host")
	if err := os.Mkdir(host, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("control groups: %w", err)
	}
	if err := os.WriteFile(filepath.Join(host, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return nil, fmt.Errorf("control groups: %w", err)
	}
	has, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return nil, fmt.Errorf("control groups: %w", err)
	}
	for _, name := range []string{"memory", "pids"} {
		if !slices.Contains(strings.Fields(string(has)), name) {
			continue
		}
		if err := os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+"+name), 0); err != nil {
			return nil, fmt.Errorf("control groups: %w", err)
		}
		c.controllers = append(c.controllers, name)
	}
	return c, nil
}

// Controllers are those that bound workers: memory, pids.
func (c *Cgroups) Controllers() []string { return c.controllers }

// Group is the control group of one worker.
type Group struct{ Path string }

// Create makes a group whose members may take so many bytes of memory.
func (c *Cgroups) Create(memory int64) (*Group, error) {
	var g *Group
	for {
		g = &Group{Path: filepath.Join(c.root, fmt.Sprintf("worker-%d", c.next.Add(1)))}
		err := os.Mkdir(g.Path, 0o755)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrExist) { // One that a host before this one left.
			return nil, fmt.Errorf("control groups: %w", err)
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
			return nil, fmt.Errorf("control groups: %w", err)
		}
	}
	return g, nil
}

// End kills every process in the group, also such as left the worker's session, and removes it
// when they are gone.
func (g *Group) End() {
	_ = os.WriteFile(filepath.Join(g.Path, "cgroup.kill"), []byte("1"), 0)
	deadline := time.Now().Add(protocol.WorkerKillTimeout)
	for time.Now().Before(deadline) {
		if err := os.Remove(g.Path); err == nil || errors.Is(err, os.ErrNotExist) {
			return
		}
		time.Sleep(5 * time.Millisecond) // The kernel tells nobody of the last one's end but by a file.
	}
}

// ResidentBytes is the memory that a process holds, without a group's help.
func ResidentBytes(pid int) (int64, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0, err
	}
	f := bytes.Fields(text)
	if len(f) < 3 {
		return 0, errors.New("statm: too few fields")
	}
	resident, err := strconv.ParseInt(string(f[1]), 10, 64)
	if err != nil {
		return 0, err
	}
	// What is shared is the program's text, of which all workers have one.
	shared, err := strconv.ParseInt(string(f[2]), 10, 64)
	if err != nil {
		return 0, err
	}
	return (resident - shared) * int64(os.Getpagesize()), nil
}
