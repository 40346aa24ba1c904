package sdk

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/liveapid/liveapid/protocol/plugin"
	"github.com/liveapid/liveapid/protocol/plugin/payload"
	"github.com/liveapid/liveapid/protocol/plugin/pluginpb"
)

// guard serves the calls of one account alone. Which one was said when the process started, in its
// environment: a program of the account's user can reach the worker's socket on some systems, and what
// such a program writes into a payload must not make the worker act for somebody else.
type guard struct {
	pluginpb.PluginServer
	account string // As plugin.AccountWord writes it.
}

// guarded returns server for the account that the environment names; server itself if it names none.
func guarded(server pluginpb.PluginServer, account string) pluginpb.PluginServer {
	if account == "" {
		return server
	}
	return guard{PluginServer: server, account: account}
}

// Call implements pluginpb.PluginServer.
func (g guard) Call(ctx context.Context, in *pluginpb.Payload) (*pluginpb.Payload, error) {
	a, err := payload.AccountOf(in.GetMsgpack())
	if err != nil {
		return nil, err
	}
	if plugin.AccountWord(a) != g.account {
		return nil, status.Error(codes.PermissionDenied, "this worker serves another account")
	}
	return g.PluginServer.Call(ctx, in)
}
