package sdk

import (
	"io"

	"github.com/liveapid/liveapid/protocol/plugin/pluginpb"
)

// GuardedForTest returns server as a worker of the account that the environment would name.
func GuardedForTest(server pluginpb.PluginServer, account string) pluginpb.PluginServer {
	return guarded(server, account)
}

// SetLogForTest sends the log of s to w.
func SetLogForTest(s *Server, w io.Writer) { s.log = w }
