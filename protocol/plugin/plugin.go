// Package plugin holds what host and plugin must agree on: the go-plugin handshake,
// the gRPC service of pluginpb and the size of messages. Both halves import it;
// it belongs to neither, and knows no module and no account.
package plugin

import (
	"context"
	"errors"
	"strconv"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/plugin/pluginpb"
)

// Version is the application protocol. It changes when an old plugin could not serve
// a new host, or the other way round.
const Version = 1

// Name is the one plugin in the plugin set.
const Name = "liveapi"

// HardenEnv is set in the environment of workers with another user than the host's: what that
// user runs must not look into them.
const HardenEnv = "LIVEAPID_HARDEN"

// AccountEnv tells a worker which account it serves, as AccountWord writes it. It is set when the
// process starts and holds for its life; the host sets none for a helper, which serves all accounts.
const AccountEnv = "LIVEAPID_ACCOUNT"

// AccountWord returns the value of AccountEnv for an account.
func AccountWord(a protocol.Account) string { return strconv.Itoa(a.UID) + ":" + a.Name }

// Handshake returns the go-plugin handshake. The cookie keeps people from starting a
// plugin by hand; it is no secret and protects nothing.
func Handshake() goplugin.HandshakeConfig {
	return goplugin.HandshakeConfig{
		ProtocolVersion:  Version,
		MagicCookieKey:   "LIVEAPID_PLUGIN",
		MagicCookieValue: "b3f1c9a0-liveapi",
	}
}

// Client returns the plugin set of a host. Dispense(Name) gives a
// pluginpb.PluginClient.
func Client() goplugin.PluginSet { return goplugin.PluginSet{Name: &glue{}} }

// Server returns the plugin set of a plugin that serves server.
func Server(server pluginpb.PluginServer) goplugin.PluginSet {
	return goplugin.PluginSet{Name: &glue{server: server}}
}

// NewGRPCServer returns a gRPC server with the bound on messages; go-plugin's default
// refuses more than 4 MiB.
func NewGRPCServer(opts []grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(opts,
		grpc.MaxRecvMsgSize(protocol.MaxWorkerMessage), grpc.MaxSendMsgSize(protocol.MaxWorkerMessage))...)
}

// glue fits pluginpb into go-plugin.
type glue struct {
	goplugin.NetRPCUnsupportedPlugin
	server pluginpb.PluginServer
}

var _ goplugin.GRPCPlugin = (*glue)(nil)

func (g *glue) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	if g.server == nil {
		return errors.New("plugin: no server to register")
	}
	pluginpb.RegisterPluginServer(s, g.server)
	return nil
}

func (g *glue) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return pluginpb.NewPluginClient(conn), nil
}
