// Package remote runs calls on a host that is running: it is what liveapi's tools use instead of a
// host of their own on a server with many accounts. The host asks the kernel which account calls, so
// a tool can act only for the user as whom it runs. The package starts no worker and reads no
// configuration.
package remote

import (
	"context"
	"errors"
	"sync"

	"github.com/liveapid/liveapid/client"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/envelope"
)

// maxKept bounds the idle sessions that a Host keeps open for later calls.
const maxKept = 4

// Host is a running host, reached over its socket.
type Host struct {
	socket string

	mu   sync.Mutex
	idle []*client.Client // Sessions between two calls.
}

// New returns the host that listens on socket. It connects with the first call.
func New(socket string) *Host { return &Host{socket: socket} }

// Close ends the idle sessions.
func (h *Host) Close() error {
	h.mu.Lock()
	idle := h.idle
	h.idle = nil
	h.mu.Unlock()
	var errs []error
	for _, c := range idle {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// Do runs a call. The account is the one that the host identifies, whatever caller says.
func (h *Host) Do(ctx context.Context, _ protocol.Caller, call protocol.Call) *protocol.Result {
	return h.ask(ctx, call, func(c *client.Client) ([]byte, error) { return c.Call(ctx, call) })
}

// DoTag runs a tag, which was parsed into call: the host expands the variables in it.
func (h *Host) DoTag(ctx context.Context, _ protocol.Caller, text string, call protocol.Call) *protocol.Result {
	return h.ask(ctx, call, func(c *client.Client) ([]byte, error) { return c.Tag(ctx, text) })
}

func (h *Host) ask(ctx context.Context, call protocol.Call, send func(*client.Client) ([]byte, error)) *protocol.Result {
	c, err := h.session(ctx)
	if err != nil {
		return failed("The host can't be reached and nothing was changed.", err)
	}
	answer, err := send(c)
	if err != nil {
		_ = c.Close() // It may be broken already.
		return failed("The host gave no answer; whether the call took effect is not known.", err)
	}
	h.keep(c)
	result, err := envelope.Parse(call, answer)
	if err != nil {
		return failed("The host's answer can't be read.", err)
	}
	return result
}

func failed(message string, err error) *protocol.Result {
	return protocol.Failed(&protocol.Error{Kind: protocol.KindUnavailable, Message: message + " (" + err.Error() + ")", Err: err})
}

// session returns an idle session, or a new one.
func (h *Host) session(ctx context.Context) (*client.Client, error) {
	h.mu.Lock()
	if n := len(h.idle); n > 0 {
		c := h.idle[n-1]
		h.idle = h.idle[:n-1]
		h.mu.Unlock()
		return c, nil
	}
	h.mu.Unlock()
	return client.Dial(ctx, h.socket)
}

func (h *Host) keep(c *client.Client) {
	h.mu.Lock()
	if len(h.idle) < maxKept {
		h.idle = append(h.idle, c)
		c = nil
	}
	h.mu.Unlock()
	if c != nil {
		_ = c.Close()
	}
}
