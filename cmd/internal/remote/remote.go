// Package remote runs calls on a running host. On a server with many accounts, liveapi's tools use it instead
// of starting a host. The host asks the kernel which account calls, so a tool can act for its own user only.
// The package starts no worker and reads no configuration.
package remote

import (
	"context"

	"github.com/liveapid/liveapid/client"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/envelope"
)

// Host is a running host. Each call has a session of its own.
type Host struct{ socket string }

// New returns the host that listens on socket. It connects for each call.
func New(socket string) *Host { return &Host{socket: socket} }

// Do runs a call. The host identifies the account; caller is ignored.
func (h *Host) Do(ctx context.Context, _ protocol.Caller, call protocol.Call) *protocol.Result {
	return h.ask(ctx, call, func(c *client.Client) ([]byte, error) { return c.Call(ctx, call) })
}

// DoTag runs a tag, which was parsed into call. The host expands the variables in it.
func (h *Host) DoTag(ctx context.Context, _ protocol.Caller, text string, call protocol.Call) *protocol.Result {
	return h.ask(ctx, call, func(c *client.Client) ([]byte, error) { return c.Tag(ctx, text) })
}

func (h *Host) ask(ctx context.Context, call protocol.Call, send func(*client.Client) ([]byte, error)) *protocol.Result {
	c, err := client.Dial(ctx, h.socket)
	if err != nil {
		return failed("The host can't be reached and nothing was changed.", err)
	}
	defer func() { _ = c.Close() }() // The answer has come, or never will.
	answer, err := send(c)
	if err != nil {
		return failed("The host gave no answer; whether the call took effect is not known.", err)
	}
	result, err := envelope.Parse(call, answer)
	if err != nil {
		return failed("The host's answer can't be read.", err)
	}
	return result
}

func failed(message string, err error) *protocol.Result {
	return protocol.Failed(&protocol.Error{Kind: protocol.KindUnavailable, Message: message + " (" + err.Error() + ")", Err: err})
}
