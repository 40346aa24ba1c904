package email_test

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/plugins/email"
	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/plugin/payload"
	"github.com/liveapid/liveapid/protocol/plugin/pluginpb"
)

// BenchmarkPasswdPop measures a change in the worker, with 16 callers.
func BenchmarkPasswdPop(b *testing.B) {
	home := b.TempDir()
	dir := home + "/etc/example.com"
	require.NoError(b, os.MkdirAll(dir, 0o755))
	var lines strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&lines, "b%d:%s:1::::::\n", i, oldHash)
	}
	require.NoError(b, os.WriteFile(dir+"/shadow", []byte(lines.String()), 0o640))
	server := sdk.NewServer(email.Modules()...)
	settings, err := payload.EncodeSettings(map[string]any{"required_strength": 0})
	require.NoError(b, err)
	_, err = server.Describe(b.Context(), &pluginpb.Payload{Msgpack: settings})
	require.NoError(b, err)
	var n atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			ask, err := payload.EncodeRequest(payload.Request{
				ID: "id", Account: protocol.Account{Name: "alice", Home: home, Domains: []string{"example.com"}}, Role: protocol.RoleAccount,
				Call: protocol.Call{API: protocol.UAPI, Module: "Email", Func: "passwd_pop", Args: protocol.Args{Named: map[string]any{
					"email": fmt.Sprintf("b%d", n.Add(1)%1000), "password": protocol.NewSecret("new"),
				}}},
			})
			require.NoError(b, err)
			answer, err := server.Call(b.Context(), &pluginpb.Payload{Msgpack: ask})
			require.NoError(b, err)
			result, err := payload.DecodeResult(answer.GetMsgpack())
			require.NoError(b, err)
			require.Nil(b, result.Err)
		}
	})
}
