package sdk_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/plugin"
	"github.com/liveapid/liveapid/protocol/plugin/payload"
	"github.com/liveapid/liveapid/protocol/plugin/pluginpb"
)

func fn(name string, do func(context.Context, *sdk.Call) (any, error)) sdk.Function {
	return sdk.Function{Function: protocol.Function{
		API: protocol.UAPI, Name: name, Roles: []protocol.Role{protocol.RoleAccount},
		Params: []protocol.Param{{Name: "password", Type: protocol.TypeSecret}},
	}, Do: do}
}

const canary = "c4n4ry"

func server(t *testing.T) (*sdk.Server, *strings.Builder) {
	t.Helper()
	var log strings.Builder
	s := sdk.NewServer(&sdk.Module{
		Name: "Try", Help: "For tests.",
		Configure: func(settings map[string]any) error {
			if settings["good"] != nil && settings["good"] != "yes" {
				return sdk.ErrSetting("good", "yes")
			}
			return nil
		},
		Functions: []sdk.Function{
			fn("all", func(_ context.Context, c *sdk.Call) (any, error) {
				n, given := c.Int("n")
				c.Message("m")
				c.Warn("w")
				c.Metadata = map[string]any{"k": "v"}
				return map[string]any{
					"string": c.String("s"), "secret": c.Secret("password").Reveal(), "shown": c.String("password"),
					"int": n, "given": given, "flag": c.Flag("f"), "any": c.Value("v"), "has": c.Has("x"),
					"account": c.Account.Name, "role": string(c.Role), "id": c.ID, "texts": []string{"a"},
				}, nil
			}),
			fn("done", func(_ context.Context, c *sdk.Call) (any, error) { return c.Done(), nil }),
			fn("refuse", func(context.Context, *sdk.Call) (any, error) {
				return nil, protocol.NewError(protocol.KindNotFound, "It does not exist.")
			}),
			fn("fail", func(context.Context, *sdk.Call) (any, error) { return nil, errors.New("open /home/alice/etc: no") }),
			fn("panic", func(_ context.Context, c *sdk.Call) (any, error) { panic("with " + c.Secret("password").Reveal()) }),
			fn("unsendable", func(context.Context, *sdk.Call) (any, error) { return make(chan int), nil }),
		},
	})
	sdk.SetLogForTest(s, &log)
	return s, &log
}

func call(t *testing.T, s *sdk.Server, name string, args map[string]any) *protocol.Result {
	t.Helper()
	ask, err := payload.EncodeRequest(payload.Request{
		ID: "id1234", Call: protocol.Call{API: protocol.UAPI, Module: "Try", Func: name, Args: protocol.Args{Named: args}},
		Account: protocol.Account{Name: "alice"}, Role: protocol.RoleAccount,
	})
	require.NoError(t, err)
	answer, err := s.Call(t.Context(), &pluginpb.Payload{Msgpack: ask})
	require.NoError(t, err)
	result, err := payload.DecodeResult(answer.GetMsgpack())
	require.NoError(t, err)
	return result
}

func TestCall(t *testing.T) {
	s, log := server(t)
	got := call(t, s, "all", map[string]any{"s": "text", "password": protocol.NewSecret(canary), "n": protocol.Number("12"), "f": "1", "v": []any{"x"}})
	require.Nil(t, got.Err)
	require.Equal(t, map[string]any{
		"string": "text", "secret": canary, "shown": "[secret]", "int": int64(12), "given": true, "flag": true,
		"any": []any{"x"}, "has": false, "account": "alice", "role": "account", "id": "id1234", "texts": []any{"a"},
	}, got.Data)
	require.Equal(t, []string{"m"}, got.Messages)
	require.Equal(t, []string{"w"}, got.Warnings)
	require.Equal(t, map[string]any{"k": "v"}, got.Metadata)
	require.Nil(t, call(t, s, "done", nil).Data)
	require.Empty(t, log.String())
}

// T41: the message of an internal error is empty, and its private cause says what happened. Arguments are in neither.
func TestT41_FailuresHideWhatIsInside(t *testing.T) {
	for name, logged := range map[string]string{
		"fail": "open /home/alice/etc: no", "panic": "panic of type string at ", "unsendable": "chan int", "absent": `no function "absent"`,
	} {
		s, log := server(t)
		got := call(t, s, name, map[string]any{"password": protocol.NewSecret(canary)})
		require.Equal(t, protocol.KindInternal, got.Err.Kind, name)
		require.Empty(t, got.Err.Message, name)
		require.ErrorContains(t, got.Err.Err, logged)
		require.NotContains(t, got.Err.Err.Error()+log.String(), canary)
	}
	s, log := server(t)
	got := call(t, s, "refuse", nil)
	require.Equal(t, protocol.KindNotFound, got.Err.Kind)
	require.Equal(t, "It does not exist.", got.Err.Message)
	require.Empty(t, log.String())
}

func TestDescribe(t *testing.T) {
	s, _ := server(t)
	describe := func(settings map[string]any) ([]protocol.Module, error) {
		ask, err := payload.EncodeSettings(settings)
		require.NoError(t, err)
		answer, err := s.Describe(t.Context(), &pluginpb.Payload{Msgpack: ask})
		require.NoError(t, err)
		return payload.DecodeModules(answer.GetMsgpack())
	}
	modules, err := describe(nil)
	require.NoError(t, err)
	require.Equal(t, "Try", modules[0].Name)
	require.Len(t, modules[0].Functions, 6)
	_, err = describe(map[string]any{"good": "no"})
	require.ErrorContains(t, err, "setting good: must be yes")

	_, err = sdk.NewServer(&sdk.Module{Name: "Bad", Functions: []sdk.Function{{Function: protocol.Function{API: protocol.UAPI, Name: "f"}}}}).
		Describe(t.Context(), &pluginpb.Payload{Msgpack: []byte{0x80}})
	require.ErrorContains(t, err, "the list of roles is empty")
}

func TestHostileRequests(t *testing.T) {
	s, _ := server(t)
	for _, doc := range []string{"", "\x90", "\xdd\xff\xff\xff\xff", "\x81\xa1a", "\xc1"} {
		_, err := s.Call(t.Context(), &pluginpb.Payload{Msgpack: []byte(doc)})
		require.Error(t, err)
		_, err = s.Describe(t.Context(), &pluginpb.Payload{Msgpack: []byte(doc)})
		require.Error(t, err)
	}
}

// T48: a worker serves only the account for which it was started, whatever the payload says.
func TestT48_AWorkerServesItsAccountAlone(t *testing.T) {
	plain, _ := server(t)
	guarded := sdk.GuardedForTest(plain, plugin.AccountWord(protocol.Account{Name: "alice", UID: 1001}))
	ask := func(s pluginpb.PluginServer, a protocol.Account) error {
		doc, err := payload.EncodeRequest(payload.Request{Call: protocol.Call{API: protocol.UAPI, Module: "Try", Func: "done"}, Account: a})
		require.NoError(t, err)
		_, err = s.Call(t.Context(), &pluginpb.Payload{Msgpack: doc})
		return err
	}
	require.NoError(t, ask(guarded, protocol.Account{Name: "alice", UID: 1001, Domains: []string{"a.example"}}))
	for _, other := range []protocol.Account{{Name: "bob", UID: 1001}, {Name: "alice", UID: 1002}, {Name: "alice", UID: 100170000}, {Name: "", UID: 0}} {
		require.Equal(t, codes.PermissionDenied, status.Code(ask(guarded, other)), other.Name)
		require.NoError(t, ask(plain, other), "a helper serves all")
	}
	// A payload with two accounts is rejected.
	two, err := payload.EncodeRequest(payload.Request{Call: protocol.Call{API: protocol.UAPI, Module: "Try", Func: "done"}, Account: protocol.Account{Name: "alice", UID: 1001}})
	require.NoError(t, err)
	other, err := payload.Encode(map[string]any{"account": map[string]any{"name": "bob", "uid": 1002, "gid": 1002}})
	require.NoError(t, err)
	require.Equal(t, byte(0x80), two[0]&0xf0)
	two = append(append([]byte{two[0] + 1}, two[1:]...), other[1:]...)
	require.NoError(t, payload.Walk(two))
	_, err = guarded.Call(t.Context(), &pluginpb.Payload{Msgpack: two})
	require.ErrorContains(t, err, "is repeated")
	for _, doc := range []string{"", "\x80", "\x81\xa7account\xc0", "\x81\xa7account\x81\xa3uid\xa1x", "\xc1"} {
		_, err := guarded.Call(t.Context(), &pluginpb.Payload{Msgpack: []byte(doc)})
		require.Error(t, err)
	}
}
