package files

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// faultyDisk is the real disk with a hook before and after each call.
type faultyDisk struct {
	osDisk
	before func(op string) error // If it returns an error, the call returns that error and does nothing.
	after  func(op string)
}

func (d faultyDisk) do(op string, call func() error) error {
	if d.before != nil {
		if err := d.before(op); err != nil {
			return err
		}
	}
	err := call()
	if d.after != nil {
		d.after(op)
	}
	return err
}

func (d faultyDisk) create(dir *os.File, name string) (f *os.File, err error) {
	err = d.do("create", func() error { f, err = d.osDisk.create(dir, name); return err })
	return f, err
}
func (d faultyDisk) write(f *os.File, b []byte) error {
	return d.do("write", func() error { return d.osDisk.write(f, b) })
}
func (d faultyDisk) chmod(f *os.File, m uint32) error {
	return d.do("chmod", func() error { return d.osDisk.chmod(f, m) })
}
func (d faultyDisk) utimes(f *os.File, m unix.Timespec) error {
	return d.do("utimes", func() error { return d.osDisk.utimes(f, m) })
}
func (d faultyDisk) sync(f *os.File) error {
	return d.do("sync", func() error { return d.osDisk.sync(f) })
}
func (d faultyDisk) rename(dir *os.File, from, to string) error {
	return d.do("rename", func() error { return d.osDisk.rename(dir, from, to) })
}
func (d faultyDisk) syncDir(dir, within *os.File) error {
	return d.do("syncDir", func() error { return d.osDisk.syncDir(dir, within) })
}
func (d faultyDisk) unlink(dir *os.File, name string) error {
	return d.do("unlink", func() error { return d.osDisk.unlink(dir, name) })
}

// operations are the calls of a change, in order.
var operations = []string{"create", "write", "chmod", "utimes", "sync", "rename", "syncDir"}

// TestMain is also the process that fault tests kill: see child.
func TestMain(m *testing.M) {
	if role := os.Getenv("FILES_TEST_ROLE"); role != "" {
		if err := runRole(role, os.Getenv("FILES_TEST_HOME"), os.Getenv("FILES_TEST_ARG")); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(t *testing.T, w world, role string, arg ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	if os.Geteuid() == 0 { // The test's own directory may not be accessible to the child's user.
		copied := filepath.Join(filepath.Dir(w.home), "child.test")
		if _, err := os.Stat(copied); errors.Is(err, fs.ErrNotExist) {
			content, err := os.ReadFile(self)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(copied, content, 0o755))
		}
		self = copied
	}
	cmd := exec.Command(self)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "FILES_TEST_ROLE="+role, "FILES_TEST_HOME="+w.home, "FILES_TEST_ARG="+strings.Join(arg, ","))
	return cmd
}

func runRole(role, home, arg string) error {
	s := New(home)
	a := store.Address{Localpart: "user", Domain: domain}
	set := func(name, hash string) error {
		a.Localpart = name
		return s.SetHash(context.Background(), a, hash)
	}
	switch role {
	case "attempt":
		attempt(home, arg)
		return nil
	case "once":
		return set("user", "$6$once")
	case "kill": // KIND:N: kill this process before or after the Nth operation.
		kind, at, _ := strings.Cut(arg, ":")
		n, _ := strconv.Atoi(at)
		kill := func(string) error {
			if n--; n < 0 {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
			return nil
		}
		d := faultyDisk{}
		if kind == "before" {
			d.before = kill
		} else {
			d.after = func(op string) { _ = kill(op) }
		}
		s.disk = d
		return set("user", "$6$killed")
	case "many": // FROM,TO: a change for each of these mailboxes.
		from, to, _ := strings.Cut(arg, ",")
		a, _ := strconv.Atoi(from)
		b, _ := strconv.Atoi(to)
		for i := a; i < b; i++ {
			err := store.ErrBusy // The other processes held the lock for the whole time, and nothing was changed.
			for errors.Is(err, store.ErrBusy) {
				err = set(fmt.Sprintf("u%d", i), fmt.Sprintf("$6$new%d", i))
			}
			if err != nil {
				return fmt.Errorf("u%d: %w", i, err)
			}
		}
		return nil
	case "endless": // Makes changes until it is killed, and prints each acknowledged change.
		for i := 0; ; i++ {
			if err := set("user", fmt.Sprintf("$6$n%d", i)); err != nil {
				return err
			}
			fmt.Println(i)
		}
	}
	return errors.New("no such role")
}

// R1: concurrent changes by several processes are all kept.
func TestR01_NoLostUpdate(t *testing.T) {
	const processes, each = 8, 250
	var before strings.Builder
	for i := range processes * each {
		fmt.Fprintf(&before, "u%d:$6$old:1::::::\n", i)
	}
	w := newWorld(t, before.String())
	var running []*exec.Cmd
	for p := range processes {
		cmd := child(t, w, "many", fmt.Sprint(p*each), fmt.Sprint((p+1)*each))
		out := &strings.Builder{}
		cmd.Stdout = out
		require.NoError(t, cmd.Start())
		running = append(running, cmd)
	}
	for _, cmd := range running {
		require.NoError(t, cmd.Wait(), "%s", cmd.Stdout)
	}
	for i, line := range strings.Split(strings.TrimSuffix(w.read(t), "\n"), "\n") {
		require.True(t, strings.HasPrefix(line, fmt.Sprintf("u%d:$6$new%d:", i, i)), "lost: %s", line)
	}
	require.Equal(t, []string{lockName, "shadow"}, names(t, w.dir))
}

// R1: a program that ignores the lock replaces the file meanwhile. Its change is kept too.
func TestR01_WriterThatIgnoresTheLock(t *testing.T) {
	w := newWorld(t, oneUser)
	s := New(w.home)
	races := 0
	intrude := func(most int) {
		races = 0
		s.disk = faultyDisk{after: func(op string) {
			if op == "sync" && races < most {
				races++
				line := fmt.Sprintf("%sother:$6$o%d:1::::::\n", w.read(t), races)
				require.NoError(t, os.WriteFile(w.shadow+"~", []byte(line), 0o640))
				require.NoError(t, os.Rename(w.shadow+"~", w.shadow))
			}
		}}
	}
	intrude(2)
	require.NoError(t, s.SetHash(t.Context(), box(t, "user"), "$6$new"))
	require.Regexp(t, `^user:\$6\$new:\d+::::::\nother:\$6\$o1:1::::::\nother:\$6\$o2:1::::::\n$`, w.read(t))

	intrude(100)
	require.ErrorIs(t, s.SetHash(t.Context(), box(t, "user"), "$6$newer"), store.ErrBusy)
	require.NotContains(t, w.read(t), "$6$newer")
	require.Equal(t, []string{lockName, "shadow"}, names(t, w.dir))
}

// R2 and R8: if the process is killed before or after any system call, the store is old or new, and the next
// change removes what was left.
func TestR02_KilledAtEverySystemCall(t *testing.T) {
	for _, kind := range []string{"before", "after"} {
		for n, op := range operations {
			t.Run(kind+" "+op, func(t *testing.T) {
				w := newWorld(t, oneUser)
				err := child(t, w, "kill", fmt.Sprintf("%s:%d", kind, n)).Run()
				var exit *exec.ExitError
				require.ErrorAs(t, err, &exit)
				require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal())
				renamed := op == "syncDir" || op == "rename" && kind == "after"
				if renamed {
					require.Contains(t, w.read(t), "user:$6$killed:")
				} else {
					require.Equal(t, oneUser, w.read(t))
				}
				require.NoError(t, New(w.home).SetHash(t.Context(), box(t, "user"), "$6$next"))
				require.Regexp(t, `^user:\$6\$next:\d+::::::\n$`, w.read(t))
				require.Equal(t, []string{lockName, "shadow"}, names(t, w.dir))
			})
		}
	}
}

// R2, R5: if processes are killed at random moments, no file is torn and no acknowledged change is lost.
func TestR05_KilledAtRandom(t *testing.T) {
	w := newWorld(t, oneUser)
	for range 60 {
		cmd := child(t, w, "endless")
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		require.True(t, lines.Scan(), "it made a change")
		acknowledged, _ := strconv.Atoi(lines.Text())
		delay := time.NewTimer(rand.N(8 * time.Millisecond))
		<-delay.C
		require.NoError(t, cmd.Process.Kill())
		for lines.Scan() {
			acknowledged, _ = strconv.Atoi(lines.Text())
		}
		_ = cmd.Wait()
		var kept int
		n, err := fmt.Sscanf(w.read(t), "user:$6$n%d:", &kept)
		require.NoError(t, err, w.read(t))
		require.Equal(t, 1, n)
		require.GreaterOrEqual(t, kept, acknowledged)
		require.LessOrEqual(t, kept, acknowledged+1)
		require.True(t, strings.HasSuffix(w.read(t), "::::::\n"))
	}
	require.NoError(t, New(w.home).SetHash(t.Context(), box(t, "user"), "$6$last"))
	require.Equal(t, []string{lockName, "shadow"}, names(t, w.dir))
}

// R3: the order of the calls, and every state after a power failure: data that was not synced may be
// truncated anywhere, and a rename that was not synced may be undone.
func TestR03_PowerLoss(t *testing.T) {
	before := oneUser + strings.Repeat("other:$6$x:1::::::\n", 80)
	w := newWorld(t, before)
	s := New(w.home)
	var calls []string
	s.disk = faultyDisk{after: func(op string) { calls = append(calls, op) }}
	require.NoError(t, s.SetHash(t.Context(), box(t, "user"), "$6$new"))
	require.Equal(t, operations, calls)
	after := w.read(t)

	states := 0
	for crash := range len(calls) + 1 {
		var data, synced, renamed, renameSynced bool
		for _, op := range calls[:crash] {
			switch op {
			case "write":
				data = true
			case "sync":
				synced = true
			case "rename":
				renamed = true
			case "syncDir":
				renameSynced = true
			}
		}
		for cut := 0; cut <= len(after); cut++ {
			temp := ""
			switch {
			case synced:
				temp = after
			case data:
				temp = after[:cut]
			}
			for _, early := range []bool{false, true} { // The new name is on disk.
				if early && !renamed || !early && renameSynced {
					continue
				}
				onDisk := before
				if early {
					onDisk = temp
				}
				states++
				require.True(t, onDisk == before || onDisk == after, "crash after %v, %d bytes", calls[:crash], cut)
				if crash == len(calls) {
					require.Equal(t, after, onDisk, "acknowledged")
				}
			}
		}
	}
	require.Greater(t, states, 10_000)
}

// R4: an error of any call leaves the old file and no other files, or the outcome is reported as unknown.
func TestR04_ErrorsOfTheDisk(t *testing.T) {
	for _, errno := range []unix.Errno{unix.ENOSPC, unix.EDQUOT, unix.EIO, unix.EMFILE, unix.EROFS, unix.EACCES} {
		for _, op := range operations {
			t.Run(errno.Error()+" at "+op, func(t *testing.T) {
				w := newWorld(t, oneUser)
				s := New(w.home)
				failed := false
				s.disk = faultyDisk{before: func(got string) error {
					if got == op && !failed {
						failed = true
						return errno
					}
					return nil
				}}
				err := s.SetHash(t.Context(), box(t, "user"), "$6$new")
				require.ErrorIs(t, err, errno)
				if op == "syncDir" {
					require.ErrorIs(t, err, store.ErrUnknown)
				} else {
					require.NotErrorIs(t, err, store.ErrUnknown)
					require.Equal(t, oneUser, w.read(t))
				}
				switch {
				case op == "syncDir":
				case errno == unix.ENOSPC || errno == unix.EDQUOT:
					require.ErrorIs(t, err, store.ErrFull)
				case errno == unix.EROFS || errno == unix.EACCES:
					require.ErrorIs(t, err, store.ErrReadOnly)
				}
				require.Equal(t, []string{lockName, "shadow"}, names(t, w.dir))
				require.NoError(t, s.SetHash(t.Context(), box(t, "user"), "$6$next"), "the lock is free again")
			})
		}
	}
}

// R4 on a real full disk, and in a read-only directory.
func TestR04_FullDisk(t *testing.T) {
	needRoot(t)
	before := oneUser + strings.Repeat("other:$6$x:1::::::\n", 2000)
	w := newWorld(t, "")
	require.NoError(t, unix.Mount("tmpfs", w.dir, "tmpfs", 0, "size=96k"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(w.dir, unix.MNT_DETACH)) })
	require.NoError(t, os.WriteFile(w.shadow, []byte(before), 0o640))
	s := New(w.home)
	require.NoError(t, s.SetHash(t.Context(), box(t, "user"), "$6$fits"))
	filled := w.read(t)
	filler, err := os.Create(filepath.Join(w.dir, "filler"))
	require.NoError(t, err)
	for {
		if _, err = filler.Write(make([]byte, 4096)); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, unix.ENOSPC)
	require.NoError(t, filler.Close())
	require.ErrorIs(t, s.SetHash(t.Context(), box(t, "user"), "$6$toomuch"), store.ErrFull)
	require.Equal(t, filled, w.read(t))
	require.Equal(t, []string{lockName, "filler", "shadow"}, names(t, w.dir))
	require.NoError(t, os.Remove(filepath.Join(w.dir, "filler")))
	require.NoError(t, s.SetHash(t.Context(), box(t, "user"), "$6$again"))

	require.NoError(t, unix.Mount("", w.dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	readOnly := w.read(t)
	require.ErrorIs(t, s.SetHash(t.Context(), box(t, "user"), "$6$readonly"), store.ErrReadOnly)
	require.Equal(t, readOnly, w.read(t))
}

// R8: temporary files with another name are not removed.
func TestR08_OnlyItsOwnLitterGoes(t *testing.T) {
	w := newWorld(t, oneUser)
	for _, name := range []string{tempName, "shadow.tmp", ".shadow.other.tmp", "shadow.lock"} {
		require.NoError(t, os.WriteFile(filepath.Join(w.dir, name), []byte("x"), 0o600))
	}
	require.NoError(t, New(w.home).SetHash(t.Context(), box(t, "user"), "$6$new"))
	require.Equal(t, []string{lockName, ".shadow.other.tmp", "shadow", "shadow.lock", "shadow.tmp"}, names(t, w.dir))
}

// R1: the lock file is removed, and another process locks a new one. No file is torn and no change is lost.
func TestR01_LockFileReplaced(t *testing.T) {
	w := newWorld(t, "a:$6$old:1::::::\nb:$6$old:1::::::\n")
	first, second := New(w.home), New(w.home)
	meanwhile := false
	first.disk = faultyDisk{after: func(op string) {
		if op == "sync" && !meanwhile {
			meanwhile = true
			require.NoError(t, os.Remove(filepath.Join(w.dir, lockName)))
			require.NoError(t, second.SetHash(t.Context(), box(t, "b"), "$6$second"))
		}
	}}
	require.NoError(t, first.SetHash(t.Context(), box(t, "a"), "$6$first"))
	require.True(t, meanwhile)
	require.Regexp(t, `^a:\$6\$first:\d+::::::\nb:\$6\$second:\d+::::::\n$`, w.read(t))
	require.Equal(t, []string{lockName, "shadow"}, names(t, w.dir))
}

// R1: a program that writes shadow in place has truncated it when a mailbox without a line is changed. The
// program's next write is not lost.
func TestR01_WriterInPlace(t *testing.T) {
	w := newWorld(t, "user:$6$old:1::::::\nother:$6$x:1::::::\n")
	require.NoError(t, os.WriteFile(filepath.Join(w.dir, "passwd"), []byte("user:x:\nother:x:\n"), 0o644))
	writer, err := os.OpenFile(w.shadow, os.O_WRONLY|os.O_TRUNC, 0)
	require.NoError(t, err)
	s := New(w.home)
	s.settle = func() { // The empty file was read, and the change waits a moment.
		_, err = writer.WriteString("user:$6$old:1::::::\nother:$6$y:1::::::\n")
		require.NoError(t, err)
		require.NoError(t, writer.Close())
	}
	require.NoError(t, s.SetHash(t.Context(), box(t, "user"), "$6$new"))
	require.Regexp(t, `^user:\$6\$new:\d+::::::\nother:\$6\$y:1::::::\n$`, w.read(t))
}
