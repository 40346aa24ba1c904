package sdk

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/liveapid/liveapid/protocol/plugin"
	"github.com/liveapid/liveapid/protocol/plugin/payload"
	"github.com/liveapid/liveapid/protocol/plugin/pluginpb"
)

// guard is the gRPC service of an account's worker. It rejects calls for other accounts: on some systems, a
// program of the account's user can connect to the worker's socket, and must not be able to make the worker
// act for another account. The worker reads its account from the environment when it starts.
type guard struct {
	pluginpb.PluginServer
	account string // In the form that plugin.AccountWord returns.
}

// guarded returns server restricted to account. If account is "", it returns server unchanged.
func guarded(server pluginpb.PluginServer, account string) pluginpb.PluginServer {
	if account == "" {
		return server
	}
	return guard{PluginServer: server, account: account}
}

// Call implements pluginpb.PluginServer. It rejects a call for another account.
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
