package sdk

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/liveapid/liveapid/protocol/plugin"
	"github.com/liveapid/liveapid/protocol/plugin/payload"
	"github.com/liveapid/liveapid/protocol/plugin/pluginpb"
)

// guard serves the calls of a single account. The process got the account in its environment when it started.
// On some systems a program of the account's user can reach the worker's socket, and a payload of such a
// program must not make the worker act for another account.
type guard struct {
	pluginpb.PluginServer
	account string // In the form of plugin.AccountWord.
}

// guarded returns server for the account in the environment, or server itself if there is none.
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
