package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/liveapid/liveapid/client"
	"github.com/liveapid/liveapid/protocol"
)

// world is a sandbox for the benchmarks: its directory, its socket and the environment for commands that use
// it. host is nil until serve starts the host.
type world struct {
	b      *bench
	dir    string
	socket string
	env    []string
	host   *exec.Cmd
}

// newWorld creates a sandbox with n mailboxes: the mailbox "user", which every sandbox contains, and b0, b1,
// and so on. config is appended to the sandbox's configuration. newWorld does not start a host.
func (b *bench) newWorld(n int, config string) (*world, error) {
	dir, err := os.MkdirTemp(b.scratch, "w")
	if err != nil {
		return nil, err
	}
	w := &world{b: b, dir: filepath.Join(dir, "s")}
	w.socket = filepath.Join(w.dir, "run", "liveapi.sock")
	w.env = append(os.Environ(), "LIVEAPID_CONFIG="+filepath.Join(w.dir, "liveapid.toml"), "LIVEAPID="+filepath.Join(b.bin, "liveapid"))
	if out, err := exec.Command(filepath.Join(b.bin, "liveapi"), "sandbox", w.dir).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("sandbox: %w: %s", err, out)
	}
	shadow := filepath.Join(w.dir, "home", "demo", "etc", "example.com", "shadow")
	content, err := os.ReadFile(shadow)
	if err != nil {
		return nil, err
	}
	line := strings.TrimPrefix(string(content), "user")
	var text strings.Builder
	text.Write(content)
	for i := range n - 1 {
		text.WriteString("b" + strconv.Itoa(i) + line)
	}
	if err := os.WriteFile(shadow, []byte(text.String()), 0o640); err != nil {
		return nil, err
	}
	path := filepath.Join(w.dir, "liveapid.toml")
	old, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	// The benchmarks do not measure the check of the password strength, so it is turned off.
	old = bytes.Replace(old, []byte("required_strength = 25 "), []byte("required_strength = 0 "), 1)
	return w, os.WriteFile(path, append(old, config...), 0o644)
}

// serve starts the host ("liveapid serve") and waits until the host accepts connections.
func (w *world) serve() error {
	w.host = exec.Command(filepath.Join(w.b.bin, "liveapid"), "serve")
	w.host.Env = w.env
	if err := w.host.Start(); err != nil {
		return err
	}
	for range 1000 {
		c, err := client.Dial(context.Background(), w.socket)
		if err == nil {
			return c.Close()
		}
		time.Sleep(5 * time.Millisecond)
	}
	return errors.New("the host does not listen")
}

// end ends the host.
func (w *world) end() {
	if w.host != nil {
		_ = w.host.Process.Signal(syscall.SIGTERM)
		_ = w.host.Wait()
		w.host = nil
	}
}

func (w *world) stop() {
	w.end()
	_ = os.RemoveAll(filepath.Dir(w.dir))
}

func (w *world) dial() (*client.Client, error) { return client.Dial(context.Background(), w.socket) }

// change sets a new password for the mailbox called box and returns an error if the answer does not report
// success. n is appended to the password, so that each password is different.
func change(c *client.Client, box string, n int) error {
	answer, err := c.Call(context.Background(), protocol.Call{API: protocol.API2, Module: "Email", Func: "passwdpop",
		Args: protocol.Args{Named: map[string]any{"domain": "example.com", "email": box, "password": benchPassword + strconv.Itoa(n)}}})
	if err != nil {
		return err
	}
	var a struct {
		Result struct {
			Data []struct{ Result int }
		} `json:"cpanelresult"`
	}
	if json.Unmarshal(answer, &a) != nil || len(a.Result.Data) != 1 || a.Result.Data[0].Result != 1 {
		return fmt.Errorf("refused: %s", answer)
	}
	return nil
}

// memory returns the current and the highest resident memory of a process, as text in MiB.
func memory(pid int) (now, peak string) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for _, line := range strings.Split(string(text), "\n") {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			now = megabytes(v)
		}
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			peak = megabytes(v)
		}
	}
	return now, peak
}

func megabytes(kb string) string {
	n, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(kb), " kB"), 64)
	return fmt.Sprintf("%.1f MiB", n/1024)
}

// switches returns the number of context switches of a process and of all its descendants until now.
func switches(pid int) (n int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, path := range tasks {
		text, _ := os.ReadFile(path)
		for line := range strings.Lines(string(text)) {
			if name, count, ok := strings.Cut(line, ":"); ok && strings.HasSuffix(name, "voluntary_ctxt_switches") {
				k, _ := strconv.Atoi(strings.TrimSpace(count))
				n += k
			}
		}
	}
	for _, child := range children(pid) {
		n += switches(child)
	}
	return n
}

// children returns the pids of the child processes of a process.
func children(pid int) (out []int) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, path := range threads {
		text, _ := os.ReadFile(path)
		for _, word := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(word); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}
