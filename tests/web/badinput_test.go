package web

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// Invalid input to the modules with facts about the account, in each way in and in each envelope: the error
// names the argument, and says what is right.
func TestBadInputOfFacts(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	web := w.OpenHTTPS(t)
	w.Serve(t)
	web.Wait(t)
	c := w.Dial(t)
	bearer := "Authorization: cpanel demo:" + w.Token(t, "demo")
	for _, row := range []struct{ api, module, function, args, says string }{
		{"uapi", "DomainInfo", "domains_data", "format=yaml", "The ‘format’ argument must be hash or list."},
		{"uapi", "DomainInfo", "single_domain_data", "", "Provide the ‘domain’ argument."},
		{"uapi", "DomainInfo", "single_domain_data", "domain=other.example", "The ‘domain’ argument must be a domain of the account."},
		{"uapi", "Features", "has_feature", "", "Provide the ‘name’ argument."},
		{"uapi", "StatsBar", "get_stats", "", "Provide the ‘display’ argument."},
		{"uapi", "Variables", "get_user_information", "name=color", "The ‘name’ argument is not the name of a fact: “color”."},
		{"uapi", "Variables", "get_server_information", "name=color", "The ‘name’ argument is not the name of a fact: “color”."},
		{"uapi", "Variables", "get_session_information", "name=color", "The ‘name’ argument is not the name of a fact: “color”."},
		{"uapi", "NVData", "get", "", "Provide the ‘names’ argument."},
		{"uapi", "NVData", "get", "names=../x", "The ‘names’ argument contains an invalid name, “../x”"},
		{"uapi", "NVData", "set", "names=color", "Provide the ‘color’ argument."},
		{"uapi", "NVData", "set", "names=.x&.x=1", "The ‘names’ argument contains an invalid name"},
		{"uapi", "Personalization", "get", "", "Provide the ‘names’ argument."},
		{"uapi", "Personalization", "set", "personalization=red", "The ‘personalization’ argument must be an object"},
		{"uapi", "Batch", "strict", "", "Provide the ‘command’ argument."},
		{"uapi", "Batch", "strict", "command=list_pops", "The ‘command’ argument, call 1: it must be a JSON list"},
		{"uapi", "Batch", "strict", `command=["Batch","strict"]`, "The ‘command’ argument, call 1: a batch can't contain a batch."},
		{"uapi", "Email", "get_pop_quota", "", "Provide the ‘email’ argument."},
		{"uapi", "Email", "get_client_settings", "account=../x", "The ‘account’ argument is not a valid mailbox name"},
		{"uapi", "Email", "get_webmail_settings", "account=x@other.example", "You do not have access to the domain “other.example”."},
		{"2", "StatsBar", "stat", "", "Provide the ‘display’ argument."},
		{"2", "NVData", "get", "", "Provide the ‘names’ argument."},
		{"2", "NVData", "set", "names=color", "Provide the ‘color’ argument."},
		{"2", "Email", "addpop", "email=user&password=x", "Provide the ‘domain’ argument."},
		{"2", "Email", "editquota", "email=nobody@example.com&quota=many", "The ‘quota’ argument"},
	} {
		values, err := url.ParseQuery(row.args)
		require.NoError(t, err)
		args := map[string]string{}
		var words []string
		for name, all := range values {
			args[name] = all[0]
			words = append(words, name+"="+all[0])
		}
		object, err := json.Marshal(args)
		require.NoError(t, err)
		require.Contains(t, errorOf(t, row.api, c.Call(row.api, row.module, row.function, string(object))), row.says, row)

		command, rest := "cpapi2", web.CPanel+"/json-api/cpanel?cpanel_jsonapi_apiversion=2&cpanel_jsonapi_module="+row.module+"&cpanel_jsonapi_func="+row.function
		if row.api == "uapi" {
			command, rest = "uapi", web.CPanel+"/execute/"+row.module+"/"+row.function
		}
		cmd := w.Command(t, command, append([]string{"--user=demo", "--output=json", row.module, row.function}, words...)...)
		require.Contains(t, errorOf(t, row.api, hosttest.Output(t, cmd)), row.says, row)

		status, body := web.Ask(t, "POST", rest, values.Encode(), bearer)
		require.Equal(t, 200, status, row)
		require.Contains(t, errorOf(t, row.api, body), row.says, row)
	}

	// The envelope of API 1, and an argument that a function does not know.
	answer := c.Call("1", "Email", "getpopquota", `[]`)
	require.Contains(t, answer, `"event":{"reason":"Provide the ‘email’ argument.","result":0}`)
	answer = c.Call("uapi", "Email", "count_pops", `{"domian":"example.com"}`)
	require.Contains(t, answer, "The function has no ‘domian’ argument; it was ignored.")
}

// errorOf returns the error in the envelope of an answer, which must be one of a failure.
func errorOf(t *testing.T, api, answer string) string {
	t.Helper()
	var uapi struct {
		Result *struct {
			Status int
			Errors []string
			Data   any
		}
		Status int
		Errors []string
		Data   any
	}
	var api2 struct {
		Result struct {
			Error string
			Data  []struct {
				Result int
				Reason string
			}
		} `json:"cpanelresult"`
	}
	if api == "2" {
		require.NoError(t, json.Unmarshal([]byte(answer), &api2), answer)
		require.Len(t, api2.Result.Data, 1, answer)
		require.Zero(t, api2.Result.Data[0].Result)
		require.Equal(t, api2.Result.Error, api2.Result.Data[0].Reason)
		return api2.Result.Error
	}
	require.NoError(t, json.Unmarshal([]byte(answer), &uapi), answer)
	if uapi.Result != nil { // In the answer of a command and of the socket, but not of HTTPS.
		uapi.Status, uapi.Errors, uapi.Data = uapi.Result.Status, uapi.Result.Errors, uapi.Result.Data
	}
	require.Zero(t, uapi.Status, answer)
	require.Nil(t, uapi.Data, answer)
	return strings.Join(uapi.Errors, "\n")
}
