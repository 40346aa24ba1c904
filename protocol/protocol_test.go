package protocol_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol"
)

func TestParseAPI(t *testing.T) {
	for text, want := range map[string]protocol.API{
		"1": protocol.API1, "2": protocol.API2, "3": protocol.UAPI, "uapi": protocol.UAPI, "UAPI": protocol.UAPI,
	} {
		got, err := protocol.ParseAPI(text)
		require.NoError(t, err)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "0", "4", "2.0", " 2", "api2", strings.Repeat("9", 100)} {
		_, err := protocol.ParseAPI(text)
		require.ErrorContains(t, err, "is not one of 1, 2, 3 and uapi", text)
		require.Less(t, len(err.Error()), 100)
	}
}

func function(api protocol.API) protocol.Function {
	return protocol.Function{
		API: api, Name: "f", Roles: []protocol.Role{protocol.RoleAccount},
		Params: []protocol.Param{
			{Name: "name", Required: true},
			{Name: "password", Type: protocol.TypeSecret},
			{Name: "quota", Type: protocol.TypeInteger},
			{Name: "main", Type: protocol.TypeFlag},
			{Name: "rest", Type: protocol.TypeAny},
		},
	}
}

func TestFunctionCheck(t *testing.T) {
	object := map[string]any{"a": []any{"b"}}
	for _, c := range []struct {
		name string
		args map[string]any
		want map[string]any
		err  string
	}{
		{"all kinds", map[string]any{"name": "n", "password": "p", "quota": "12", "main": "1", "rest": object},
			map[string]any{"name": "n", "password": protocol.NewSecret("p"), "quota": protocol.Number("12"), "main": "1", "rest": object}, ""},
		{"numbers as they were spelled", map[string]any{"name": protocol.Number("007e1"), "quota": protocol.Number("12")},
			map[string]any{"name": "007e1", "quota": protocol.Number("12")}, ""},
		{"what the function does not name is dropped", map[string]any{"name": "n", "api2_sort": "1"}, map[string]any{"name": "n"}, ""},
		{"null is absent", map[string]any{"name": "n", "quota": nil, "rest": nil}, map[string]any{"name": "n"}, ""},
		{"an empty optional text is given", map[string]any{"name": "n", "password": ""},
			map[string]any{"name": "n", "password": protocol.NewSecret("")}, ""},
		{"an empty integer is absent", map[string]any{"name": "n", "quota": ""}, map[string]any{"name": "n"}, ""},
		{"a flag as a word", map[string]any{"name": "n", "main": "True"}, map[string]any{"name": "n", "main": "1"}, ""},
		{"another word", map[string]any{"name": "n", "main": "false"}, map[string]any{"name": "n", "main": "0"}, ""},
		{"a flag as a JSON boolean", map[string]any{"name": "n", "main": true}, map[string]any{"name": "n", "main": "1"}, ""},
		{"missing", map[string]any{}, nil, "Provide the ‘name’ argument."},
		{"empty", map[string]any{"name": ""}, nil, "Provide the ‘name’ argument."},
		{"a required null", map[string]any{"name": nil}, nil, "Provide the ‘name’ argument."},
		{"a boolean as text", map[string]any{"name": true}, nil, "The ‘name’ argument must be text, not a boolean."},
		{"a list as text", map[string]any{"name": []any{"a"}}, nil, "The ‘name’ argument must be text, not a list."},
		{"an object as a secret", map[string]any{"name": "n", "password": object}, nil, "The ‘password’ argument must be text, not an object."},
		{"no integer", map[string]any{"name": "n", "quota": "1.5"}, nil, "The ‘quota’ argument must be a whole number."},
		{"an integer too large", map[string]any{"name": "n", "quota": "9223372036854775808"}, nil, "The ‘quota’ argument must be a whole number."},
		{"a list as an integer", map[string]any{"name": "n", "quota": []any{}}, nil, "The ‘quota’ argument must be a whole number, not a list."},
		{"no flag", map[string]any{"name": "n", "main": "yes"}, nil, "The ‘main’ argument must be 1 or 0."},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := function(protocol.API2).Check(protocol.Args{Named: c.args})
			if c.err != "" {
				require.NotNil(t, err)
				require.Equal(t, c.err, err.Message)
				require.Equal(t, protocol.KindInvalid, err.Kind)
				return
			}
			require.Nil(t, err)
			require.Equal(t, c.want, got.Named)
		})
	}
}

// An open function gets undescribed arguments unchanged. Described arguments are checked.
func TestFunctionCheckOpen(t *testing.T) {
	f := protocol.Function{API: protocol.UAPI, Name: "f", Open: true, Params: []protocol.Param{{Name: "p", Type: protocol.TypeSecret}, {Name: "n", Type: protocol.TypeInteger}}}
	args, err := f.Check(protocol.Args{Named: map[string]any{"p": "x", "n": "", "other": []any{protocol.Number("1")}, "empty": ""}})
	require.Nil(t, err)
	require.Equal(t, map[string]any{"p": protocol.NewSecret("x"), "other": []any{protocol.Number("1")}, "empty": ""}, args.Named)
	_, err = f.Check(protocol.Args{Named: map[string]any{"n": "x", "other": "y"}})
	require.ErrorContains(t, err, "‘n’")
}

func TestFunctionCheckPositions(t *testing.T) {
	got, err := function(protocol.API1).Check(protocol.Args{Positional: []any{"n", "p", protocol.Number("3")}})
	require.Nil(t, err)
	require.Equal(t, map[string]any{"name": "n", "password": protocol.NewSecret("p"), "quota": protocol.Number("3")}, got.Named)

	_, err = function(protocol.API1).Check(protocol.Args{})
	require.NotNil(t, err)
	require.Equal(t, "Provide the ‘name’ argument.", err.Message)

	_, err = function(protocol.UAPI).Check(protocol.Args{Positional: []any{"n"}})
	require.NotNil(t, err)
	require.Contains(t, err.Message, "must be sent as names and values")
}

func TestModuleValidate(t *testing.T) {
	module := func(change func(*protocol.Module)) protocol.Module {
		m := protocol.Module{Name: "Email", Functions: []protocol.Function{function(protocol.API2), function(protocol.UAPI)}}
		change(&m)
		return m
	}
	for _, c := range []struct {
		name   string
		change func(*protocol.Module)
		err    string
	}{
		{"fine", func(*protocol.Module) {}, ""},
		{"a module's name", func(m *protocol.Module) { m.Name = "E mail" }, "the name must be a letter"},
		{"a name of 65 letters", func(m *protocol.Module) { m.Name = strings.Repeat("a", 65) }, "the name must be a letter"},
		{"a function's name", func(m *protocol.Module) { m.Functions[0].Name = "1f" }, "the name must be a letter"},
		{"no API", func(m *protocol.Module) { m.Functions[0].API = 0 }, "is not an API"},
		{"the list of roles is empty", func(m *protocol.Module) { m.Functions[0].Roles = nil }, "the list of roles is empty"},
		{"repeated", func(m *protocol.Module) { m.Functions[1].API = protocol.API2 }, "is repeated"},
		{"a type", func(m *protocol.Module) { m.Functions[0].Params[0].Type = "text" }, "is not a known type"},
		{"a parameter twice", func(m *protocol.Module) { m.Functions[0].Params[1].Name = "name" }, "unnamed or repeated"},
		{"a parameter without a name", func(m *protocol.Module) { m.Functions[0].Params[0].Name = "" }, "is unnamed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := module(c.change).Validate()
			if c.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.err)
		})
	}
}

// T41: no way of printing shows a secret or an argument.
func TestT41_SecretsDoNotPrint(t *testing.T) {
	const canary = "c4n4ry"
	secret := protocol.NewSecret(canary)
	args := protocol.Args{Named: map[string]any{"password": secret, "email": canary}, Positional: []any{canary}}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("call", "secret", secret, "args", args)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("call", "secret", secret, "args", args)
	encoded, err := json.Marshal(map[string]any{"s": secret})
	require.NoError(t, err)
	all := log.String() + string(encoded)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		all += fmt.Sprintf(verb+verb, secret, args)
	}
	require.NotContains(t, all, canary)
	require.NotContains(t, all, fmt.Sprintf("%x", canary))
	require.Equal(t, canary, secret.Reveal())
	require.Equal(t, len(canary), secret.Len())
}

func TestError(t *testing.T) {
	cause := errors.New("/home/alice/etc")
	err := fmt.Errorf("wrapped: %w", &protocol.Error{Kind: protocol.KindFailed, Message: "It failed.", Err: cause})
	require.ErrorIs(t, err, cause)
	require.Equal(t, "It failed.", protocol.AsError(err).Message)
	require.Nil(t, protocol.AsError(cause))
	require.Equal(t, "It failed.: /home/alice/etc", protocol.AsError(err).Error())
	require.Equal(t, "x", protocol.NewError(protocol.KindFailed, "x").Error())
}

func TestListParameters(t *testing.T) {
	f := protocol.Function{API: protocol.UAPI, Name: "f", Params: []protocol.Param{{Name: "command", Type: protocol.TypeAny, Required: true, List: true}, {Name: "n", Type: protocol.TypeInteger, List: true}}}
	for _, c := range []struct {
		name string
		args map[string]any
		want map[string]any
		err  string
	}{
		{"one", map[string]any{"command": "a"}, map[string]any{"command": []any{"a"}}, ""},
		{"repeated", map[string]any{"command": []any{"a", "b"}}, map[string]any{"command": []any{"a", "b"}}, ""},
		{"indexed, in the order of the numbers", map[string]any{"command-10": "c", "command-2": "b", "command-0": "a"}, map[string]any{"command": []any{"a", "b", "c"}}, ""},
		{"an indexed list is one value", map[string]any{"command-0": []any{"M", "f"}}, map[string]any{"command": []any{[]any{"M", "f"}}}, ""},
		{"both", map[string]any{"command": "a", "command-0": "b"}, map[string]any{"command": []any{"a", "b"}}, ""},
		{"each value is checked", map[string]any{"command": "a", "n-0": "1", "n-1": protocol.Number("2")}, map[string]any{"command": []any{"a"}, "n": []any{protocol.Number("1"), protocol.Number("2")}}, ""},
		{"missing", map[string]any{}, nil, "Provide the ‘command’ argument."},
		{"an empty list", map[string]any{"command": []any{}}, nil, "Provide the ‘command’ argument."},
		{"a wrong value", map[string]any{"command": "a", "n-1": "x"}, nil, "The ‘n’ argument must be a whole number."},
	} {
		got, err := f.Check(protocol.Args{Named: c.args})
		if c.err != "" {
			require.NotNil(t, err, c.name)
			require.Equal(t, c.err, err.Message, c.name)
			continue
		}
		require.Nil(t, err, c.name)
		require.Equal(t, c.want, got.Named, c.name)
		require.Empty(t, f.IgnoredWarnings(c.args), c.name)
	}
	warnings := f.IgnoredWarnings(map[string]any{"other": 1, "command-0": 1, "command-x": 1, "command-01": 1, "cpanel_x": 1})
	require.Len(t, warnings, 3)
	for i, name := range []string{"command-01", "command-x", "other"} {
		require.Equal(t, "The function has no ‘"+name+"’ argument; it was ignored.", warnings[i])
	}
}

func TestSites(t *testing.T) {
	a := protocol.Account{Home: "/home/demo", Domains: []string{"example.com", "shop.example.com", "alias.example", "addon.example", "*.example.com"},
		Sites: map[string]protocol.Site{"addon.example": {Kind: protocol.AddonSite, Root: "sites/addon"}, "example.com": {Root: "/srv/www"}}}
	require.Equal(t, protocol.Site{Kind: protocol.MainSite, Root: "/srv/www"}, a.Site("example.com"))
	require.Equal(t, protocol.Site{Kind: protocol.SubSite, Root: "/home/demo/shop.example.com"}, a.Site("shop.example.com"))
	require.Equal(t, protocol.Site{Kind: protocol.ParkedSite, Root: "/srv/www"}, a.Site("alias.example"), "an alias shows the main domain's site")
	require.Equal(t, protocol.Site{Kind: protocol.AddonSite, Root: "/home/demo/sites/addon"}, a.Site("addon.example"))
	require.Equal(t, []string{"example.com", "alias.example", "addon.example"}, a.DomainsOf(protocol.MainSite, protocol.ParkedSite, protocol.AddonSite))
	require.Equal(t, []string{"shop.example.com"}, a.DomainsOf(protocol.SubSite), "no wildcard")
	require.Equal(t, "/home/demo/public_html", protocol.Account{Home: "/home/demo", Domains: []string{"example.com"}}.Site("example.com").Root)
}
