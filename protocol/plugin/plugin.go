// Package plugin holds the agreement between host and plugin: the go-plugin handshake, the gRPC service of
// pluginpb and the size of messages. Both sides import it, and it knows no module and no account.
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

// Version is the version of the application protocol. It changes if an old plugin can't serve a new host, or
// a new plugin an old host.
const Version = 1

// Name is the name of the plugin in the plugin set.
const Name = "liveapi"

// HardenEnv is set in the environment of workers with another user than the host's: other programs of that user
// must not look into them.
const HardenEnv = "LIVEAPID_HARDEN"

// AccountEnv tells a worker its account, in the form of AccountWord. It is set when the process starts and
// holds for its life. A helper serves all accounts and does not get it.
const AccountEnv = "LIVEAPID_ACCOUNT"

// AccountWord returns the value of AccountEnv for an account.
func AccountWord(a protocol.Account) string { return strconv.Itoa(a.UID) + ":" + a.Name }

// Handshake returns the go-plugin handshake. The cookie keeps people from starting a plugin by hand; it is
// not a secret and protects nothing.
func Handshake() goplugin.HandshakeConfig {
	return goplugin.HandshakeConfig{
		ProtocolVersion:  Version,
		MagicCookieKey:   "LIVEAPID_PLUGIN",
		MagicCookieValue: "b3f1c9a0-liveapi",
	}
}

// Client returns the plugin set of a host. Dispense(Name) returns a pluginpb.PluginClient.
func Client() goplugin.PluginSet { return goplugin.PluginSet{Name: &glue{}} }

// Server returns the plugin set of a plugin that serves server.
func Server(server pluginpb.PluginServer) goplugin.PluginSet {
	return goplugin.PluginSet{Name: &glue{server: server}}
}

// NewGRPCServer returns a gRPC server with this project's limit for messages; go-plugin's default limit is 4
// MiB.
func NewGRPCServer(opts []grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(opts,
		grpc.MaxRecvMsgSize(protocol.MaxWorkerMessage), grpc.MaxSendMsgSize(protocol.MaxWorkerMessage))...)
}

// glue adapts pluginpb to go-plugin.
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
