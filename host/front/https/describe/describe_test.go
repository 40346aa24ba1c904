package describe_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/front/https/describe"
	"github.com/liveapid/liveapid/protocol"
)

func modules() []protocol.Module {
	account, mailbox := []protocol.Role{protocol.RoleAccount}, []protocol.Role{protocol.RoleAccount, protocol.RoleMailbox}
	password := protocol.Param{Name: "password", Type: protocol.TypeSecret, Required: true, Help: "The new one."}
	return []protocol.Module{
		{Name: "print", Functions: []protocol.Function{{API: protocol.API1, Name: "print", Roles: account}}},
		{Name: "Email", Help: "Mailboxes.", Functions: []protocol.Function{
			{API: protocol.UAPI, Name: "passwd_pop", Help: "Change it.", Changes: true, Roles: mailbox, Feature: "popaccts", Params: []protocol.Param{{Name: "email", Required: true}, password}},
			{API: protocol.API2, Name: "passwdpop", Changes: true, Roles: mailbox, Feature: "popaccts", Params: []protocol.Param{password}},
			{API: protocol.UAPI, Name: "list_pops", Roles: account, Feature: "popaccts", Params: []protocol.Param{
				{Name: "n", Type: protocol.TypeInteger}, {Name: "f", Type: protocol.TypeFlag}, {Name: "a", Type: protocol.TypeAny}}},
			{API: protocol.API1, Name: "addpop", Roles: account},
			{API: protocol.API2, Name: "both", Roles: account},
			{API: protocol.UAPI, Name: "both", Roles: account},
			{API: protocol.UAPI, Name: "mail_server_lookup", Roles: []protocol.Role{protocol.RoleMailServer}},
		}},
		{Name: "Email", Functions: []protocol.Function{{API: protocol.API2, Name: "hidden", Roles: account}, {API: protocol.API2, Name: "both", Roles: account}}},
		{Name: "Email_both", Functions: []protocol.Function{{API: protocol.UAPI, Name: "x", Roles: []protocol.Role{protocol.RoleAdmin}}}},
		{Name: "Free", Functions: []protocol.Function{{API: protocol.UAPI, Name: "say", Open: true, Roles: account}}},
	}
}

func names(list []protocol.Module) (out []string) {
	for _, f := range describe.Functions(list) {
		out = append(out, f.Module+"::"+f.Name)
	}
	return out
}

func TestFor(t *testing.T) {
	caller := protocol.Caller{Role: protocol.RoleAccount}
	require.Equal(t, []string{"Email::addpop", "Email::both", "Email::both", "Email::list_pops", "Email::passwd_pop", "Email::passwdpop", "Free::say"}, names(describe.For(modules(), caller)))
	caller.Features = []string{"popaccts"}
	require.Equal(t, []string{"Email::list_pops", "Email::passwd_pop", "Email::passwdpop"}, names(describe.For(modules(), caller)), "a limited token's")
	caller = protocol.Caller{Role: protocol.RoleMailbox}
	require.Equal(t, []string{"Email::passwd_pop", "Email::passwdpop"}, names(describe.For(modules(), caller)))
	caller.Account.Features = []string{}
	require.Empty(t, describe.For(modules(), caller))
	for _, p := range describe.Pages(describe.For(modules(), protocol.Caller{Role: protocol.RoleAccount})) {
		for _, f := range p.Functions {
			require.Regexp(t, `^[a-z0-9_-]+$`, f.Anchor)
		}
	}
}

func TestOpenAPI(t *testing.T) {
	own := describe.For(modules(), protocol.Caller{Role: protocol.RoleAccount})
	for name, port := range map[string]describe.Port{"cpanel": {Scheme: "cpanel"}, "webmail": {}, "whm": {
		Scheme: "whm", Account: true, Missing: []string{"Broken"},
		Functions: []protocol.Function{{Name: "version"}, {Name: "accountsummary", Params: []protocol.Param{{Name: "user"}}}, {Name: "uapi_cpanel", Changes: true, Open: true}},
	}} {
		text, err := json.Marshal(describe.OpenAPI(own, port, "1"))
		require.NoError(t, err)
		var d struct {
			OpenAPI    string
			Security   []map[string]any
			Info       struct{ Description string }
			Components struct {
				Schemas map[string]struct {
					Properties map[string]any
					Required   []string
				}
				SecuritySchemes map[string]any
			}
			Paths map[string]map[string]struct {
				OperationID string
				Parameters  []struct{ Name string }
				RequestBody struct {
					Content map[string]struct {
						Schema struct{ OneOf []map[string]string }
					}
				}
				Responses map[string]any
			}
		}
		require.NoError(t, json.Unmarshal(text, &d))
		require.Equal(t, "3.1.0", d.OpenAPI)
		require.NotContains(t, string(text), "hidden", "the first module of a name is the one that is called")
		seen := map[string]bool{}
		for path, methods := range d.Paths {
			require.NotContains(t, path, "#", "a client would take what follows for a fragment")
			for method, op := range methods {
				require.False(t, seen[op.OperationID], op.OperationID)
				seen[op.OperationID] = true
				require.NotEmpty(t, op.Responses)
				if method == "get" {
					require.NotContains(t, strings.ToLower(path), "passwd", "no password in a URL")
				}
			}
		}
		for _, ref := range regexp.MustCompile(`"#/components/schemas/([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
			require.Contains(t, d.Components.Schemas, ref[1])
		}
		for _, s := range d.Security {
			for scheme := range s {
				require.Contains(t, d.Components.SecuritySchemes, scheme)
			}
		}
		require.NotContains(t, string(text), "mail_server_lookup")
		if name == "whm" {
			require.Len(t, d.Paths, 4, "one of UAPI and API 2, and its own")
			require.NotContains(t, string(text), `"/execute/`)
			require.Equal(t, "user", d.Paths["/json-api/accountsummary"]["get"].Parameters[1].Name)
			require.NotContains(t, d.Paths["/json-api/uapi_cpanel"], "get", "a password could stand in its URL")
			require.Len(t, d.Paths["/json-api/cpanel"]["post"].RequestBody.Content["application/json"].Schema.OneOf, 6)
			require.Equal(t, []string{"cpanel_jsonapi_user", "cpanel_jsonapi_apiversion", "cpanel_jsonapi_module", "cpanel_jsonapi_func", "email", "password"}, d.Components.Schemas["Email.passwd_pop.3"].Required)
			require.Contains(t, d.Info.Description, "Missing, because it can't be started at the moment: Broken.")
		} else {
			require.Contains(t, d.Paths["/execute/Email/list_pops"], "get")
			require.Len(t, d.Paths["/json-api/cpanel"]["post"].RequestBody.Content["multipart/form-data"].Schema.OneOf, 2)
			require.NotContains(t, d.Paths["/execute/Email/passwd_pop"], "get")
			require.NotContains(t, d.Paths["/execute/Free/say"], "get", "it may change anything")
		}
	}
}
