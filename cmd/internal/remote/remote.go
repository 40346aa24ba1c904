// Package remote runs calls on a host that is already running. On a server with many accounts, the liveapi
// command uses this package instead of starting a host. The host asks the kernel for the uid of the
// connecting process, so a tool can act only for the user that runs it. The package starts no worker and
// reads no configuration.
package remote

import (
	"context"

	"github.com/liveapid/liveapid/client"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/envelope"
)

// Host is a client of a running host. Each call opens and closes a session of its own, so calls may run
// concurrently.
type Host struct{ socket string }

// New returns a client of the host that listens on socket. It does not connect yet: each call opens its own
// connection.
func New(socket string) *Host { return &Host{socket: socket} }

// Do runs a call and returns its result. The Caller is ignored, because the host determines the account from
// the connection.
func (h *Host) Do(ctx context.Context, _ protocol.Caller, call protocol.Call) *protocol.Result {
	return h.ask(ctx, call, func(c *client.Client) ([]byte, error) { return c.Call(ctx, call) })
}

// DoTag runs the tag in text. call is the same tag after parsing and is used only to read the answer; the
// host parses text again and expands the variables in it. The Caller is ignored, as in Do.
func (h *Host) DoTag(ctx context.Context, _ protocol.Caller, text string, call protocol.Call) *protocol.Result {
	return h.ask(ctx, call, func(c *client.Client) ([]byte, error) { return c.Tag(ctx, text) })
}

func (h *Host) ask(ctx context.Context, call protocol.Call, send func(*client.Client) ([]byte, error)) *protocol.Result {
	c, err := client.Dial(ctx, h.socket)
	if err != nil {
		return failed("The host can't be reached and nothing was changed.", err)
	}
	defer func() { _ = c.Close() }() // No answer is pending, so this error is irrelevant.
	answer, err := send(c)
	if err != nil {
		return failed("The host did not answer, so it is not known whether the call took effect.", err)
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
