package builtin_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/modules/accountinfo"
	"github.com/liveapid/liveapid/host/modules/builtin"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/cpvars"
)

var special = builtin.Special{Variables: func(a protocol.Account) cpvars.Lookup { return accountinfo.Lookup(a, "host.example", "11.1") }}

func TestSpecial(t *testing.T) {
	account := protocol.Account{Name: "alice", Home: "/home/alice", Domains: []string{"a.example"}, Data: map[string]string{"PLAN": "big", "LOCALE": "de", "CONTACTEMAIL": "me@example.net"}}
	modules, err := special.Modules(t.Context(), account)
	require.NoError(t, err)
	for _, m := range modules {
		require.NoError(t, m.Validate())
	}
	ask := func(account protocol.Account, module, text string) any {
		result, err := special.Call(t.Context(), host.Request{Caller: protocol.Caller{Account: account}, Call: protocol.Call{
			Module: module, Args: protocol.Args{Named: map[string]any{"text": text}},
		}})
		require.NoError(t, err)
		require.Nil(t, result.Err)
		return result.Data
	}
	for text, want := range map[string]string{
		"$user": "alice", "$homedir": "/home/alice", "$domain": "a.example", "DOMAIN": "a.example", "$lang": "de", "$theme": "jupiter",
		"$CPDATA{'PLAN'}": "big", "$CPDATA{'DNS'}": "a.example", "$CPDATA{'NONE'}": "", "$ENV{'HOME'}": "/home/alice", "$ENV{'PATH'}": "",
		"$ENV{'LIVEAPID_CONFIG'}": "", "$FORM{'x'}": "", "$CONF{'x'}": "", "$isreseller": "0", "$nothing": "",
		"$hostname": "host.example", "$abshomedir": "/home/alice", "$version": "11.1", "$hasvalidshell": "0", "$isresellerlogin": "0",
		"$CPDATA{MAXSUB}": "unlimited", "$CPDATA{'MAXSQL'}": "unlimited", "$CPDATA{'CONTACTEMAIL'}": "me@example.net",
	} {
		require.Equal(t, want, ask(account, "print", text), text)
	}
	require.Equal(t, "", ask(account, "setvar", "dprefix=../"))
	require.Equal(t, "A key", ask(account, "langprint", "A key"))
	require.EqualValues(t, 1, ask(account, "if", "$user==alice"))
	require.EqualValues(t, 0, ask(account, "if", "$haspostgres"))
	require.EqualValues(t, 1, ask(account, "feature", "anything"))
	account.Features = []string{"fileman"}
	require.EqualValues(t, 1, ask(account, "feature", "fileman"))
	require.EqualValues(t, 0, ask(account, "feature", "ftp"))
	account.Features = []string{}
	require.EqualValues(t, 0, ask(account, "feature", "fileman"))
}
