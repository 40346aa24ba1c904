package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/admission"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/front/maildoor"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/protocol"
)

// emails is a plugin in the test's process with fixed answers.
type emails struct{ lookup map[string]any }

// Modules implements host.Plugin.
func (e emails) Modules(context.Context, protocol.Account) ([]protocol.Module, error) {
	params := []protocol.Param{{Name: "email"}}
	return []protocol.Module{{Name: "Email", Functions: []protocol.Function{
		{API: protocol.UAPI, Name: "mail_server_lookup", Roles: []protocol.Role{protocol.RoleMailServer}, Params: params},
		{API: protocol.UAPI, Name: "list_pops", Roles: []protocol.Role{protocol.RoleAccount}, Params: params},
	}}}, nil
}

// Call implements host.Plugin.
func (e emails) Call(context.Context, host.Request) (*protocol.Result, error) {
	return &protocol.Result{Data: e.lookup}, nil
}

// serverOf returns a host in server mode with an account, alice with uid 20001, and the path of her file.
func serverOf(t *testing.T, plugin host.Plugin) (rt *Runtime, file string) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, "alice.toml")
	writeAccount(t, file, 20001)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	m := &server{accounts: account.NewDirectory(account.Sources{Files: dir}), log: log}
	rt = &Runtime{
		Host: host.New(host.Options{Plugins: []host.Plugin{plugin}, Log: log}), mode: m, log: log,
		limits: limits{lookups: admission.NewQuestions(lookupOptions)},
	}
	rt.state.Store(&state{config: &config.Config{Mode: config.Server}, calls: admission.NewCalls(admission.CallOptions{})})
	reloadAll(t, rt)
	return rt, file
}

// reloadAll reloads the accounts. None may be invalid.
func reloadAll(t *testing.T, rt *Runtime) {
	t.Helper()
	_, broken := rt.mode.(*server).accounts.Reload()
	require.Empty(t, broken)
}

func writeAccount(t *testing.T, file string, uid int) {
	t.Helper()
	text := fmt.Sprintf("uid = %d\ngid = %d\nhome = \"/home/alice\"\ndomains = [\"a.example\"]\n", uid, uid)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
}

// T7: after the account's name was given to another user, an old session can't make calls.
func TestT07_TheAccountIsAnotherOneNow(t *testing.T) {
	rt, file := serverOf(t, emails{})
	caller, err := rt.identify(20001)
	require.NoError(t, err)
	call := protocol.Call{API: protocol.UAPI, Module: "Email", Func: "list_pops"}
	require.Nil(t, rt.checked().Do(t.Context(), caller, call).Err)
	writeAccount(t, file, 20002)
	reloadAll(t, rt)
	result := rt.checked().Do(t.Context(), caller, call)
	require.NotNil(t, result.Err)
	require.Equal(t, protocol.KindDenied, result.Err.Kind)
	again, err := rt.identify(20002)
	require.NoError(t, err)
	require.Nil(t, rt.checked().Do(t.Context(), again, call).Err)
	require.NoError(t, os.Remove(file))
	_, _ = rt.mode.(*server).accounts.Reload()
	require.Equal(t, protocol.KindDenied, rt.checked().Do(t.Context(), again, call).Err.Kind)
}

// T33: answers to the mail server are for the domain that it asked for, whatever the account's worker
// answers. The answer decides as which user mail is read, and where.
func TestT33_TheAnswerIsOfTheAskedDomain(t *testing.T) {
	const hash = "$6$x"
	rt, _ := serverOf(t, emails{map[string]any{"address": "user@a.example", "hash": hash}})
	box, err := rt.lookUpMailbox(t.Context(), "User@A.example")
	require.NoError(t, err)
	require.Equal(t, maildoor.Box{Address: "user@a.example", Hash: hash, UID: 20001, GID: 20001, Home: "/home/alice/mail/a.example/user"}, box)
	for _, address := range []string{"user@b.example", "user@sub.a.example", "user", "@a.example", "../../x@a.example", "a/b@a.example", ".x@a.example", "user@a.example@b.example", "user\x00@a.example"} {
		rt, _ := serverOf(t, emails{map[string]any{"address": address, "hash": hash}})
		_, err := rt.lookUpMailbox(t.Context(), "user@a.example")
		require.ErrorContains(t, err, "the plugin's answer does not contain a valid address of the requested domain", address)
	}
	_, err = rt.lookUpMailbox(t.Context(), "user@b.example")
	require.ErrorIs(t, err, maildoor.ErrNone)
}
