package https

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"github.com/liveapid/liveapid/host/front/https/request"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/envelope"
)

// APILevel is the version of cPanel's documentation that the answers follow. Clients compare it with the
// version that a function requires.
const APILevel = "11.136.0.0"

// forLimited returns the names of the WHM functions that tokens limited to features may call: functions that
// reveal nothing about accounts, and functions that check the token's features themselves.
func forLimited() []string { return []string{"version", "applist", "uapi_cpanel"} }

// A function that examines all accounts, or that makes the host read all accounts again, takes longer the more
// accounts there are. It counts as one additional call for each accountsOfACall accounts, but at most as
// maxWeight calls, so that it can be called on every server.
const (
	accountsOfACall = 100
	maxWeight       = 25
)

// lightFunctions are the functions that examine no accounts but the one that is named, and change no account's
// file.
var lightFunctions = []string{
	"version", "gethostname", "applist", "myprivs", "listpkgs", "get_feature_names", "verify_user_has_feature", "list_pops_for", "passwd",
	"suspend_outgoing_email", "unsuspend_outgoing_email", "hold_outgoing_email", "release_outgoing_email",
	"api_token_list", "api_token_create", "api_token_update", "api_token_revoke",
}

// weight returns as how many calls the function counts for the caller. The changes of root are never refused
// for the number of accounts.
func (c *whmCall) weight(f whmFunction) int {
	if slices.Contains(lightFunctions, c.name) || f.Changes && c.q.who.role == protocol.RoleAdmin {
		return 1
	}
	return min(1+len(c.q.front.o.Backend.Accounts())/accountsOfACall, maxWeight)
}

// whmCall is one request for a function of WHM's own API.
type whmCall struct {
	q      *exchange
	name   string // The function's name.
	values request.Values
	args   map[string]any // The checked arguments; nil for an open function, which uses values.
	v1     bool           // Version 1 of the API was requested.
	// ctx is the context of the calls that the function makes. It ignores the client's disconnection, so that
	// a change is not interrupted halfway.
	ctx context.Context
	// warnings are about arguments that the function does not have.
	warnings []string
	meta     map[string]any // Added to the metadata of the answer.
	// inBatch receives the answer if the call is part of a batch; otherwise it is nil.
	inBatch *map[string]any
}

// whmFunction defines a function of WHM's own API: its description, and the method that runs it.
type whmFunction struct {
	protocol.Function
	do func(*whmCall)
	// rootOnly means that resellers may not call the function.
	rootOnly bool
}

// Parameters that several functions share.
var (
	pUser    = protocol.Param{Name: "user", Required: true, Help: "The account."}
	pTokenOf = protocol.Param{Name: "token_name", Required: true, Help: "The token's name."}
)

// WHMFunctions returns the descriptions of WHM's own functions, sorted by name.
func WHMFunctions() []protocol.Function {
	all := whmFunctions()
	var out []protocol.Function
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[name].Function)
	}
	return out
}

// whmFunctions returns the supported functions of WHM's own API by name. These are the functions that clients
// call to find accounts and to act for them.
func whmFunctions() map[string]whmFunction {
	all := make(map[string]whmFunction)
	add := func(name, help string, do func(*whmCall), params ...protocol.Param) *whmFunction {
		all[name] = whmFunction{Function: protocol.Function{Name: name, Help: help, Params: params}, do: do}
		f := all[name]
		return &f
	}
	// change adds a function that changes something.
	change := func(name, help string, rootOnly bool, do func(*whmCall), params ...protocol.Param) {
		f := add(name, help, do, params...)
		f.Changes, f.rootOnly = true, rootOnly
		all[name] = *f
	}
	// open adds a function that takes further parameters.
	open := func(name string, changes bool) {
		f := all[name]
		f.Open, f.Changes = true, changes
		all[name] = f
	}
	add("version", "The server's API level.", (*whmCall).version)
	add("gethostname", "The server's name.", (*whmCall).hostname)
	add("applist", "The functions of this port.", (*whmCall).appList)
	add("myprivs", "What the caller may do.", (*whmCall).privileges)
	add("listaccts", "The accounts that the caller may see.", (*whmCall).listAccounts,
		protocol.Param{Name: "search", Help: "A regular expression. Default: all accounts."},
		protocol.Param{Name: "searchtype", Help: "What it is held against: domain (the default), owner, user, ip or package."},
		protocol.Param{Name: "searchmethod", Help: "regex (the default) or exact."},
		protocol.Param{Name: "want", Help: "The fields to return, with commas. Default: all."})
	open("listaccts", false) // It also accepts the api.* parameters.
	add("accountsummary", "One account, by its name or by one of its domains.", (*whmCall).accountSummary,
		protocol.Param{Name: "user", Help: "The account's name."}, protocol.Param{Name: "domain", Help: "One of its domains, if no name is given."})
	add("listsuspended", "The suspended accounts.", (*whmCall).listSuspended)
	add("listpkgs", "The packages; this server has none.", (*whmCall).listPackages)
	add("get_feature_names", "The features of accounts.", (*whmCall).featureNames)
	add("verify_user_has_feature", "Whether an account has a feature.", (*whmCall).hasFeature, pUser,
		protocol.Param{Name: "feature", Required: true, Help: "The feature's id, such as popaccts."})
	add("getminimumpasswordstrengths", "The least strength of passwords, for each use.", (*whmCall).strengths)
	add("domainuserdata", "The web site of a domain.", (*whmCall).domainUserData, protocol.Param{Name: "domain", Required: true, Help: "The domain."})
	add("get_domain_info", "All domains, with their accounts and document roots.", (*whmCall).domainInfo)
	add("list_pops_for", "The mailboxes of an account.", (*whmCall).listPops, pUser)
	for name, of := range outgoingFunctions {
		change(name, of.help, false, (*whmCall).outgoing, pUser)
	}
	change("create_user_session", "Create a link that signs a user in once.", false, (*whmCall).createSession, pUser,
		protocol.Param{Name: "service", Required: true, Help: "cpaneld, webmaild or whostmgrd."})
	change("suspendacct", "Suspend an account.", false, (*whmCall).suspend, pUser, protocol.Param{Name: "reason", Help: "The reason, for people."})
	change("unsuspendacct", "End the suspension of an account.", false, (*whmCall).suspend, pUser)
	change("passwd", "Change an account's password.", false, (*whmCall).setPassword, pUser,
		protocol.Param{Name: "password", Type: protocol.TypeSecret, Required: true, Help: "The new password."})
	change("createacct", "Register an account for an existing system user.", true, (*whmCall).createAccount,
		protocol.Param{Name: "username", Required: true, Help: "The system user's name, which is the account's name."},
		protocol.Param{Name: "domain", Required: true, Help: "The main domain."},
		protocol.Param{Name: "contactemail", Help: "The contact address."}, protocol.Param{Name: "plan", Help: "The plan, as a fact for programs."},
		protocol.Param{Name: "maxpop", Help: "The maximum number of mailboxes."}, protocol.Param{Name: "owner", Help: "The reseller that owns the account."},
		protocol.Param{Name: "password", Type: protocol.TypeSecret, Help: "The account's password, if this server keeps passwords."})
	change("modifyacct", "Change facts about an account.", true, (*whmCall).modifyAccount, pUser,
		protocol.Param{Name: "contactemail", Help: "The contact address."}, protocol.Param{Name: "plan", Help: "The plan."},
		protocol.Param{Name: "owner", Help: "The reseller that owns the account."}, protocol.Param{Name: "MAXPOP", Help: "The maximum number of mailboxes."},
		protocol.Param{Name: "locale", Help: "The locale."}, protocol.Param{Name: "RS", Help: "The theme."})
	change("removeacct", "Forget an account; its system user, home and mail stay.", true, (*whmCall).removeAccount, pUser)
	add("api_token_list", "The caller's tokens for this port.", (*whmCall).listTokens)
	change("api_token_create", "Create a token for this port.", false, (*whmCall).createToken, pTokenOf,
		protocol.Param{Name: "expires_at", Type: protocol.TypeInteger, Help: "When it expires, in Unix time. Default: never."})
	change("api_token_update", "Give a token another name.", false, (*whmCall).updateToken, pTokenOf, protocol.Param{Name: "new_name", Required: true, Help: "Its new name."})
	change("api_token_revoke", "End tokens.", false, (*whmCall).revokeToken, protocol.Param{Name: "token_name", Required: true, List: true, Help: "The token's name; it may be repeated."})
	add("uapi_cpanel", "Call a UAPI function for an account.", (*whmCall).uapi,
		protocol.Param{Name: "cpanel.user", Required: true, Help: "The account."},
		protocol.Param{Name: "cpanel.module", Required: true, Help: "The function's module."},
		protocol.Param{Name: "cpanel.function", Required: true, Help: "The function."})
	open("uapi_cpanel", true) // It also accepts the parameters of the function that it calls.
	add("batch", "Several functions in one request.", (*whmCall).batch,
		protocol.Param{Name: "command", Required: true, List: true, Help: "A function and its parameters, such as accountsummary?user=demo; it may be repeated."})
	open("batch", true)
	return all
}

// whm serves requests for WHM's own functions at /json-api/NAME and /xml-api/NAME.
func (q *exchange) whm() {
	if q.service != WHM {
		if q.service == CPanel && q.path.Func == "version" {
			// If a user has no access to WHM, cPanel's server gives this answer.
			body := map[string]any{"apiversion": "2", "data": map[string]any{"version": APILevel}, "type": "text"}
			if q.path.XML {
				(&whmCall{q: q}).sendAs(http.StatusOK, "cpanelresult", body)
			} else {
				q.sendJSON(http.StatusOK, map[string]any{"cpanelresult": body})
			}
			return
		}
		q.refuse(http.StatusForbidden, "Access denied: this is a function of WHM's port.")
		return
	}
	values, release, problem := q.read()
	defer release()
	c := &whmCall{q: q, name: q.path.Func, values: values}
	version, more := values.Take("api.version")
	c.v1 = version == "1" || version == "" && c.name == "uapi_cpanel"
	switch {
	case problem != nil:
		c.fail(problem.Status, problem.Message)
	case more != nil:
		c.fail(more.Status, more.Message)
	default:
		c.run()
		q.ran = cmp.Or(q.ran, "WHM::"+c.name)
	}
}

// run checks whether the caller may call the function, and runs it.
func (c *whmCall) run() {
	q := c.q
	function, is := whmFunctions()[c.name]
	switch {
	case q.who.features != nil && !slices.Contains(forLimited(), c.name):
		c.fail(http.StatusForbidden, "Access denied: this token is limited to features, and this function belongs to none.")
	case !is && c.v1:
		c.fail(http.StatusOK, "Unknown app (“"+protocol.Clip(c.name, maxLogged)+"”) requested for this version (1) of the API.")
	case !is:
		c.fail(http.StatusOK, "Unknown App Requested: "+protocol.Clip(c.name, maxLogged))
	case function.rootOnly && q.who.role != protocol.RoleAdmin:
		c.fail(http.StatusOK, "Access denied: only root may call "+c.name+".")
	case function.Changes && !function.Open && q.readOnly():
		c.fail(http.StatusForbidden, "This call may change data. Send the call by POST, with your session's security token.")
	case function.Changes && !function.Open && q.front.o.Admin == nil:
		c.fail(http.StatusOK, "This server does not change accounts.")
	default:
		if c.name != "uapi_cpanel" && c.name != "batch" { // These are counted by the calls that they make.
			leave, refused := q.front.o.Enter(q.holder(), c.weight(function))
			if refused != nil {
				c.fail(http.StatusServiceUnavailable, refused.Message)
				return
			}
			defer leave()
		}
		if !function.Open {
			args, wrong := function.Check(protocol.Args{Named: c.values.Named()})
			if wrong != nil {
				c.fail(http.StatusOK, wrong.Message)
				return
			}
			c.warnings = function.IgnoredWarnings(c.values.Named())
			c.args = args.Named
		}
		ctx, end := q.scoped()
		defer end()
		c.ctx = ctx
		function.do(c)
	}
}

// text returns the argument called name, or "".
func (c *whmCall) text(name string) string {
	switch v := c.args[name].(type) {
	case string:
		return v
	case protocol.Number:
		return string(v)
	}
	return ""
}

// reply answers the request with status 200. In version 1 of the API, the body contains data together with
// metadata. In version 0, old is the whole body.
func (c *whmCall) reply(data map[string]any, old map[string]any) {
	if !c.v1 {
		if len(c.warnings) > 0 {
			old["warnings"] = c.warnings
		}
		c.send(http.StatusOK, old)
		return
	}
	meta := map[string]any{"version": 1, "command": c.name, "reason": "OK", "result": 1}
	if len(c.warnings) > 0 {
		meta["output"] = map[string]any{"warnings": c.warnings}
	}
	maps.Copy(meta, c.meta)
	c.send(http.StatusOK, map[string]any{"metadata": meta, "data": data})
}

func (c *whmCall) fail(status int, message string) {
	if c.v1 {
		c.send(status, map[string]any{"metadata": map[string]any{"version": 1, "command": c.name, "reason": message, "result": 0}})
		return
	}
	// Clients without a version look at error, at status and statusmsg, or at the list result where a success
	// has one.
	body := map[string]any{"error": message, "status": 0, "statusmsg": message}
	if slices.Contains(listResults, c.name) {
		body["result"] = []any{map[string]any{"status": 0, "statusmsg": message}}
	}
	c.send(status, body)
}

func (c *whmCall) send(status int, body map[string]any) {
	switch {
	case c.inBatch != nil:
		*c.inBatch = body
	case !c.q.path.XML:
		c.q.sendJSON(status, body)
	case c.v1: // Element name as in WHM's documentation of version 1.
		c.sendAs(status, "result", body)
	default:
		c.sendAs(status, c.name, body)
	}
}

// sendAs sends body as XML, in a root element called name.
func (c *whmCall) sendAs(status int, name string, body map[string]any) {
	text, err := json.Marshal(body)
	if err != nil {
		text = []byte("{}")
	}
	c.q.sendXML(status, name, text)
}

// uapi implements uapi_cpanel: it calls a UAPI function for an account.
func (c *whmCall) uapi() {
	var problem *request.Error
	take := func(name string) string {
		text, err := c.values.Take(name)
		switch {
		case problem != nil:
		case err != nil:
			problem = err
		case text == "":
			problem = &request.Error{Status: http.StatusOK, Message: "Provide the ‘" + name + "’ argument."}
		}
		return text
	}
	user, module, function := take("cpanel.user"), take("cpanel.module"), take("cpanel.function")
	if problem != nil {
		c.fail(problem.Status, problem.Message)
		return
	}
	caller, why := c.q.callerFor(user)
	if why != "" {
		c.fail(http.StatusForbidden, why)
		return
	}
	call := protocol.Call{API: protocol.UAPI, Module: protocol.Clip(module, maxLogged), Func: protocol.Clip(function, maxLogged), Quoted: true, Args: protocol.Args{Named: c.values.Named()}}
	c.q.run(caller, call, func(status int, call protocol.Call, result *protocol.Result) {
		if status != http.StatusOK {
			c.fail(status, result.Err.Message)
			return
		}
		body := envelope.UAPIResult(call, result)
		if len(body) > protocol.MaxAnswer {
			body = envelope.UAPIResult(call, protocol.Failed(envelope.TooLarge()))
		}
		data := map[string]any{"uapi": json.RawMessage(body)}
		c.reply(data, data)
	})
}
