// Package plugin defines what host and plugin must agree on: the go-plugin handshake, the gRPC service of
// package pluginpb, and the maximum size of messages. Both sides import this package. It does not depend on
// modules or accounts.
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

// Version is the version of the protocol between host and plugin. It must be changed if an old plugin can't
// work with a new host, or a new plugin with an old host.
const Version = 1

// Name is the key of the gRPC service in go-plugin's plugin set.
const Name = "liveapi"

// HardenEnv is an environment variable that the host sets for a worker that runs as a different user from the
// host. The worker must then protect its memory against other processes of its user.
const HardenEnv = "LIVEAPID_HARDEN"

// AccountEnv is the environment variable that contains the account of a worker, in the form that AccountWord
// returns. A worker serves only this account until it exits. The variable is not set for a helper, which
// serves all accounts.
const AccountEnv = "LIVEAPID_ACCOUNT"

// AccountWord returns the value of AccountEnv for an account: its uid and its name.
func AccountWord(a protocol.Account) string { return strconv.Itoa(a.UID) + ":" + a.Name }

// Handshake returns the settings of the go-plugin handshake. The only purpose of the cookie is to stop people
// from starting a plugin by accident. The cookie is public, so it does not protect against an attacker.
func Handshake() goplugin.HandshakeConfig {
	return goplugin.HandshakeConfig{
		ProtocolVersion:  Version,
		MagicCookieKey:   "LIVEAPID_PLUGIN",
		MagicCookieValue: "b3f1c9a0-liveapi",
	}
}

// Client returns the plugin set for the host's side. Its Dispense(Name) returns a pluginpb.PluginClient.
func Client() goplugin.PluginSet { return goplugin.PluginSet{Name: &glue{}} }

// Server returns the plugin set for the plugin's side. The gRPC calls of the host go to server.
func Server(server pluginpb.PluginServer) goplugin.PluginSet {
	return goplugin.PluginSet{Name: &glue{server: server}}
}

// Window is the number of bytes that a side may send before the other side has read them. A fixed window saves
// time: by default, gRPC measures the connection, with a ping after each message, to find a size for the window.
const Window = 1 << 20

// NewGRPCServer returns a gRPC server that accepts messages of up to protocol.MaxWorkerMessage bytes in both
// directions. gRPC's default limit for received messages is only 4 MiB.
func NewGRPCServer(opts []grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(opts,
		grpc.StaticStreamWindowSize(Window), grpc.StaticConnWindowSize(Window),
		grpc.MaxRecvMsgSize(protocol.MaxWorkerMessage), grpc.MaxSendMsgSize(protocol.MaxWorkerMessage))...)
}

// glue implements go-plugin's GRPCPlugin interface for the service of pluginpb. server is nil on the host's
// side.
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
