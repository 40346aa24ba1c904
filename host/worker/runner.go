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

// pluginRunner represents a plugin's process for go-plugin. The only output of the process that go-plugin
// reads is the handshake line, after readHandshake has checked it.
type pluginRunner struct {
	*isolate.Process
	name   string // The program's name, for error messages of go-plugin.
	dir    string // The directory in which the plugin's socket must be.
	tls    bool   // Whether the handshake must contain a certificate.
	handed bool   // Whether the worker's user owns dir, so it must be reclaimed.

	checked  *io.PipeReader // go-plugin reads the checked handshake line from this pipe.
	announce *io.PipeWriter // The writing end of checked.

	mu     sync.Mutex
	socket string // The socket's path, if the handshake was accepted.
	err    error  // The reason, if the handshake was rejected.
}

var _ runner.Runner = (*pluginRunner)(nil)

func newRunner(name, dir string) *pluginRunner {
	r := &pluginRunner{name: name, dir: dir}
	r.checked, r.announce = io.Pipe()
	return r
}

// Start implements runner.Runner. It starts the process.
func (r *pluginRunner) Start(context.Context) error {
	if err := r.Process.Start(); err != nil {
		return fmt.Errorf("start the plugin: %w", err)
	}
	return nil
}

// readStdout checks the handshake, passes it on to go-plugin, and discards the rest of the standard output.
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

// handshake returns the path of the worker's socket, or the reason for which the handshake was rejected. Both
// are empty before the handshake.
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

// Stderr implements runner.Runner. It returns an empty stream, because go-plugin parses the lines of standard
// error, and a JSON line of a certain form would end the host.
func (r *pluginRunner) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name implements runner.Runner.
func (r *pluginRunner) Name() string { return r.name }

// ID implements runner.Runner.
func (r *pluginRunner) ID() string { return strconv.Itoa(r.PID()) }

// Diagnose implements runner.Runner.
func (r *pluginRunner) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.Runner. It returns the path of the worker's socket, which was in the
// handshake. Before it returns, it makes the host the owner of the socket and the socket's directory, so that
// the worker's user can no longer replace the socket.
func (r *pluginRunner) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" || filepath.Dir(address) != r.dir {
		return "", "", errors.New("the plugin's socket is not directly in the worker's directory")
	}
	if r.handed {
		// The worker has created its socket and needs no other file in the directory.
		if err := isolate.Reclaim(r.dir); err != nil {
			return "", "", err
		}
	}
	var st unix.Stat_t
	if err := unix.Lstat(address, &st); err != nil {
		return "", "", fmt.Errorf("prepare the plugin's socket: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return "", "", errors.New("the file that the plugin named as its socket is not a socket")
	}
	if r.handed {
		// The owner of the socket file may connect to it, so the host becomes the owner. The worker's process
		// still listens on the socket.
		if err := os.Lchown(address, os.Geteuid(), os.Getegid()); err != nil {
			return "", "", fmt.Errorf("prepare the plugin's socket: %w", err)
		}
	}
	return network, address, nil
}

// HostToPlugin implements runner.Runner. It always fails: the host offers no address to plugins.
func (r *pluginRunner) HostToPlugin(string, string) (string, string, error) {
	return "", "", errors.New("the host offers no services to plugins")
}
