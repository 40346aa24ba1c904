package worker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/isolate"
)

// pluginRunner is a plugin's process as go-plugin sees it. go-plugin reads nothing of it but a handshake
// that was checked here.
type pluginRunner struct {
	*isolate.Process
	name   string // The program's, for go-plugin's errors.
	dir    string // The only directory in which its socket may be.
	tls    bool   // Its handshake must carry a certificate.
	handed bool   // dir belongs to the worker until the handshake.

	checked  *io.PipeReader // The checked handshake line, for go-plugin.
	announce *io.PipeWriter // The other end of checked.

	mu     sync.Mutex
	socket string // Set when the handshake was accepted.
	err    error  // Set when it was rejected.
}

var _ runner.Runner = (*pluginRunner)(nil)

func newRunner(name, dir string) *pluginRunner {
	r := &pluginRunner{name: name, dir: dir}
	r.checked, r.announce = io.Pipe()
	return r
}

// Start implements runner.Runner.
func (r *pluginRunner) Start(context.Context) error {
	if err := r.Process.Start(); err != nil {
		return fmt.Errorf("start the plugin: %w", err)
	}
	return nil
}

// readStdout passes the checked handshake on to go-plugin and discards the rest of the output.
func (r *pluginRunner) readStdout(stdout io.Reader) {
	in := bufio.NewReaderSize(stdout, maxHandshake)
	line, err := readHandshake(in, r.dir, r.tls)
	r.mu.Lock()
	r.err = err
	if err == nil {
		r.socket = strings.Split(line, "|")[3]
	}
	r.mu.Unlock()
	if err == nil {
		_, _ = io.WriteString(r.announce, line+"\n")
	}
	_ = r.announce.Close()
	_, _ = io.Copy(io.Discard, in)
}

// handshake returns the worker's socket, or the error for which its handshake was rejected.
func (r *pluginRunner) handshake() (socket string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.socket, r.err
}

// Kill implements runner.Runner.
func (r *pluginRunner) Kill(context.Context) error { return r.Process.Kill() }

// Wait implements runner.Runner.
func (r *pluginRunner) Wait(context.Context) error {
	<-r.Exited()
	return nil
}

// Stdout implements runner.Runner. It returns the checked handshake and nothing else.
func (r *pluginRunner) Stdout() io.ReadCloser { return r.checked }

// Stderr implements runner.Runner. It returns an empty stream: go-plugin parses standard error, and one
// JSON line of a certain form ends the host.
func (r *pluginRunner) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name implements runner.Runner.
func (r *pluginRunner) Name() string { return r.name }

// ID implements runner.Runner.
func (r *pluginRunner) ID() string { return strconv.Itoa(r.PID()) }

// Diagnose implements runner.Runner.
func (r *pluginRunner) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.Runner. It returns the socket of the handshake after it has taken the
// socket and its directory away from the worker's user.
func (r *pluginRunner) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" || filepath.Dir(address) != r.dir {
		return "", "", errors.New("the plugin's socket lies outside its directory")
	}
	if r.handed {
		// The worker has made its socket and has no other file to make.
		if err := isolate.Reclaim(r.dir); err != nil {
			return "", "", err
		}
	}
	var st unix.Stat_t
	if err := unix.Lstat(address, &st); err != nil {
		return "", "", fmt.Errorf("the plugin's socket: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return "", "", errors.New("the plugin's socket is not a socket")
	}
	if r.handed {
		// The owner of the file may connect. The listening process stays the worker.
		if err := os.Lchown(address, os.Geteuid(), os.Getegid()); err != nil {
			return "", "", fmt.Errorf("the plugin's socket: %w", err)
		}
	}
	return network, address, nil
}

// HostToPlugin implements runner.Runner. It always fails: the host offers no address to plugins.
func (r *pluginRunner) HostToPlugin(string, string) (string, string, error) {
	return "", "", errors.New("the host serves nothing to plugins")
}
