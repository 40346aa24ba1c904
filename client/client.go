// Package client is the Go client of a liveapid host. A client opens a session over the host's socket, or
// starts a host of its own and opens the session over pipes. The package implements the client's side of the
// wire format. It reads no account and no configuration.
package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/wire"
)

// maxAnswer is the maximum size of an answer, in bytes. An answer can be larger than the worker's message
// that it comes from, because JSON may escape a single byte as six bytes.
const maxAnswer = 6 * protocol.MaxWorkerMessage

var (
	// ErrNoHost is returned if no host could be reached.
	ErrNoHost = errors.New("client: can't reach a host")
	// ErrOutcomeUnknown is returned if a call was sent but no answer was received. The call may have taken
	// effect, so it is not always safe to repeat.
	ErrOutcomeUnknown = errors.New("no answer arrived, so it is not known whether the call took effect")
)

// endTime is the maximum time that Close waits for the host to end the session, or for a host that Spawn
// started to exit. After this time, Close breaks the connection or kills that host.
const endTime = 10 * time.Second

// Client is a session with answers in JSON. Its methods may be called by several goroutines, but the session
// runs only one call at a time.
type Client struct {
	mu     sync.Mutex
	in     *bufio.Reader
	out    io.Writer
	close  func() error
	cancel func() // cancel ends the connection or kills the host.
	broken error
}

// Dial opens a session with the host that listens on socket.
func Dial(ctx context.Context, socket string) (*Client, error) {
	if len(socket) > protocol.MaxSocketPath {
		// If a socket path is too long, the kernel's error says only "invalid argument". Dial therefore
		// checks the length itself.
		return nil, fmt.Errorf("%w: socket %s: the path of a UNIX socket can have at most %d bytes, but this path has %d", ErrNoHost, socket, protocol.MaxSocketPath, len(socket))
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoHost, err)
	}
	return New(ctx, conn)
}

// New opens a session over conn, an existing connection to a host. Closing the client also closes conn.
func New(ctx context.Context, conn net.Conn) (*Client, error) {
	c := newClient(conn, conn, conn.Close)
	c.cancel = func() { _ = conn.SetDeadline(time.Unix(1, 0)) }
	return c.hello(ctx)
}

// Spawn starts a host as the child process "liveapid stdio", for a single session over pipes. program is the
// path of liveapid, config is the path of its configuration or "", and logs receives the host's log. Close
// ends the host.
func Spawn(ctx context.Context, program string, config string, logs io.Writer) (*Client, error) {
	args := []string{"stdio"}
	if config != "" {
		args = append(args, "--config", config)
	}
	cmd := exec.Command(program, args...)
	cmd.Stderr = logs
	out, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoHost, err)
	}
	in, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoHost, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: start %s: %w", ErrNoHost, program, err)
	}
	c := newClient(in, out, func() error {
		_ = out.Close()
		return cmd.Wait()
	})
	c.cancel = func() { _ = cmd.Process.Kill() }
	return c.hello(ctx)
}

func newClient(in io.Reader, out io.Writer, closer func() error) *Client {
	return &Client{in: bufio.NewReader(in), out: out, close: closer}
}

// hello switches a new session to JSON and returns c. If the host rejects the session, hello closes the
// connection and returns the host's reason in the error.
func (c *Client) hello(ctx context.Context) (*Client, error) {
	answer, _, err := c.roundTrip(ctx, []byte(wire.EnableJSON))
	if err == nil && string(answer) != string(wire.AnswerJSONEnabled) {
		err = errors.New("the host rejected the session: " + failureText(answer))
	}
	if err != nil {
		c.cancel()
		_ = c.close()
		return nil, fmt.Errorf("%w: %w", ErrNoHost, err)
	}
	return c, nil
}

// failureText returns the reason from the answer of a host that rejected the session.
func failureText(answer []byte) string {
	var failure struct{ Error string }
	if json.Unmarshal(answer, &failure) != nil || failure.Error == "" {
		return "it gave no reason"
	}
	return failure.Error
}

// Call runs a call and returns its answer, a JSON envelope. Call returns an error only if there is no answer:
// the failure of a function is reported in the envelope.
func (c *Client) Call(ctx context.Context, call protocol.Call) ([]byte, error) {
	return c.send(ctx, wire.AppendAction(nil, call))
}

// Tag runs a deprecated tag, such as <cpanel print="$user">, and returns the JSON of the answer.
func (c *Client) Tag(ctx context.Context, text string) ([]byte, error) {
	return c.send(ctx, []byte(text))
}

func (c *Client) send(ctx context.Context, payload []byte) ([]byte, error) {
	answer, sent, err := c.roundTrip(ctx, payload)
	if err != nil && sent {
		return nil, fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	return answer, err
}

// roundTrip sends a payload and reads the answer to it. sent reports whether the whole payload was sent.
// After any error, also if ctx ends, the session can't be used any more: a late answer would be read as the
// answer to the next call.
func (c *Client) roundTrip(ctx context.Context, payload []byte) (answer []byte, sent bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return nil, false, c.broken
	}
	stop := context.AfterFunc(ctx, c.cancel)
	defer func() {
		if !stop() && c.broken == nil {
			c.broken = fmt.Errorf("client: %w", ctx.Err()) // ctx ended during the call, so cancel broke the stream.
		}
	}()
	_, writeErr := c.out.Write(wire.AppendFrame(nil, payload))
	// The answer is read even if the write failed: a host that rejects the session sends the reason before it
	// closes the connection.
	if answer, err = wire.ReadAnswer(c.in, maxAnswer); err == nil {
		return answer, true, nil
	}
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case writeErr != nil:
		err = writeErr
	case errors.Is(err, io.EOF):
		err = errors.New("the host closed the session without an answer")
	}
	c.broken = fmt.Errorf("client: %w", err)
	return nil, writeErr == nil, c.broken
}

// Close ends the session. If Spawn started the host, Close also ends the host. If another goroutine still
// waits for an answer, Close breaks the session and that call fails.
func (c *Client) Close() error {
	if !c.mu.TryLock() {
		c.cancel()
		c.mu.Lock()
	}
	if c.broken == nil {
		_, _ = c.out.Write(wire.AppendFrame(nil, []byte(wire.Shutdown)))
		c.broken = errors.New("client: the session is closed")
	}
	c.mu.Unlock()
	defer time.AfterFunc(endTime, c.cancel).Stop()
	return c.close()
}

// Socket returns the path of a host's socket from the environment: the value of CPANEL_CONNECT_SOCKET,
// CPANEL_PHPCONNECT_SOCKET or LIVEAPI_SOCKET, or "" if none of them is set. A host sets these variables for
// the programs that it runs.
func Socket() string {
	for _, name := range []string{"CPANEL_CONNECT_SOCKET", "CPANEL_PHPCONNECT_SOCKET", "LIVEAPI_SOCKET"} {
		if path := os.Getenv(name); path != "" {
			return path
		}
	}
	return ""
}
