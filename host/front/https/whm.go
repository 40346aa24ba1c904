package https

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/liveapid/liveapid/host/front/https/request"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/envelope"
	"github.com/liveapid/liveapid/protocol/listing"
)

// APILevel is the version of cPanel's documentation that the answers follow. Clients compare it with the
// version that a function requires.
const APILevel = "11.136.0.0"

// forLimited returns the names of the WHM functions that tokens limited to features may call: functions that
// reveal nothing about accounts, and functions that check the token's features themselves.
func forLimited() []string { return []string{"version", "applist", "uapi_cpanel"} }

// accountsOfACall is the number of accounts for which a WHM function counts as one additional call, because a
// function that examines many accounts takes longer.
const accountsOfACall = 100

// whmCall is one request for a function of WHM's own API.
type whmCall struct {
	q      *exchange
	values request.Values
	v1     bool           // Version 1 of the API was requested.
	meta   map[string]any // Added to the metadata of the answer.
}

// whmFunction defines a function of WHM's own API: its description, and the method that runs it.
type whmFunction struct {
	protocol.Function
	do func(*whmCall)
}

// whmFunctions returns the supported functions of WHM's own API by name. These are the functions that clients
// call to find accounts and to act for them.
func whmFunctions() map[string]whmFunction {
	all := make(map[string]whmFunction)
	add := func(name, help string, do func(*whmCall), params ...protocol.Param) {
		// listaccts also accepts the api.* parameters, and uapi_cpanel also accepts the parameters of the
		// UAPI function that it calls.
		open := name == "listaccts" || name == "uapi_cpanel"
		all[name] = whmFunction{protocol.Function{Name: name, Help: help, Params: params, Open: open, Changes: name == "uapi_cpanel"}, do}
	}
	add("version", "The server's API level.", (*whmCall).version)
	add("applist", "The functions of this port.", (*whmCall).appList)
	add("listaccts", "The accounts that the caller may see.", (*whmCall).listAccounts,
		protocol.Param{Name: "search", Help: "A regular expression. Default: all accounts."},
		protocol.Param{Name: "searchtype", Help: "What it is held against: domain (the default), owner, user, ip or package."},
		protocol.Param{Name: "searchmethod", Help: "regex (the default) or exact."},
		protocol.Param{Name: "want", Help: "The fields to return, with commas. Default: all."})
	add("accountsummary", "One account, by its name or by one of its domains.", (*whmCall).accountSummary,
		protocol.Param{Name: "user", Help: "The account's name."}, protocol.Param{Name: "domain", Help: "One of its domains, if no name is given."})
	add("uapi_cpanel", "Call a UAPI function for an account.", (*whmCall).uapi,
		protocol.Param{Name: "cpanel.user", Required: true, Help: "The account."},
		protocol.Param{Name: "cpanel.module", Required: true, Help: "The function's module."},
		protocol.Param{Name: "cpanel.function", Required: true, Help: "The function."})
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
	c := &whmCall{q: q, values: values}
	version, more := values.Take("api.version")
	c.v1 = version == "1" || version == "" && q.path.Func == "uapi_cpanel"
	function, is := whmFunctions()[q.path.Func]
	switch {
	case problem != nil:
		c.fail(problem.Status, problem.Message)
	case more != nil:
		c.fail(more.Status, more.Message)
	case q.who.features != nil && !slices.Contains(forLimited(), q.path.Func):
		c.fail(http.StatusForbidden, "Access denied: this token is limited to features, and this function belongs to none.")
	case !is && c.v1:
		c.fail(http.StatusOK, "Unknown app (“"+q.path.Func+"”) requested for this version (1) of the API.")
	case !is:
		c.fail(http.StatusOK, "Unknown App Requested: "+q.path.Func)
	default:
		if q.path.Func != "uapi_cpanel" { // uapi_cpanel is counted later, as the account's call.
			leave, refused := q.front.o.Enter(q.holder(), 1+len(c.own())/accountsOfACall)
			if refused != nil {
				c.fail(http.StatusServiceUnavailable, refused.Message)
				return
			}
			defer leave()
		}
		function.do(c)
		q.ran = cmp.Or(q.ran, "WHM::"+q.path.Func)
	}
}

// reply answers the request with status 200. In version 1 of the API, the body contains data together with
// metadata. In version 0, old is the whole body.
func (c *whmCall) reply(data map[string]any, old map[string]any) {
	if !c.v1 {
		c.send(http.StatusOK, old)
		return
	}
	meta := map[string]any{"version": 1, "command": c.q.path.Func, "reason": "OK", "result": 1}
	maps.Copy(meta, c.meta)
	c.send(http.StatusOK, map[string]any{"metadata": meta, "data": data})
}

func (c *whmCall) fail(status int, message string) {
	if c.v1 {
		c.send(status, map[string]any{"metadata": map[string]any{"version": 1, "command": c.q.path.Func, "reason": message, "result": 0}})
		return
	}
	// Clients without a version look at error or at status and statusmsg.
	c.send(status, map[string]any{"error": message, "status": 0, "statusmsg": message})
}

func (c *whmCall) send(status int, body map[string]any) {
	switch {
	case !c.q.path.XML:
		c.q.sendJSON(status, body)
	case c.v1: // Element name as in WHM's documentation of version 1.
		c.sendAs(status, "result", body)
	default:
		c.sendAs(status, c.q.path.Func, body)
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

func (c *whmCall) version() {
	data := map[string]any{"version": APILevel}
	c.reply(data, data)
}

func (c *whmCall) appList() {
	names := make([]string, 0, len(whmFunctions()))
	for name := range whmFunctions() {
		names = append(names, name)
	}
	slices.Sort(names)
	data := map[string]any{"app": names}
	c.reply(data, data)
}

// own returns the accounts for which the caller may act, including suspended accounts, sorted by name.
func (c *whmCall) own() []protocol.Account {
	all := slices.DeleteFunc(c.q.front.o.Backend.Accounts(), func(a protocol.Account) bool { return !c.q.owns(a) })
	slices.SortFunc(all, func(a, b protocol.Account) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// listAccounts implements listaccts. The parameter search is a regular expression, and searchtype names the
// field of an account that must match the expression.
func (c *whmCall) listAccounts() {
	search, problem := c.values.Take("search")
	kind, more := c.values.Take("searchtype")
	method, _ := c.values.Take("searchmethod")
	if problem == nil {
		problem = more
	}
	if problem != nil {
		c.fail(problem.Status, problem.Message)
		return
	}
	field := map[string]string{"": "domain", "domain": "domain", "user": "user", "username": "user", "owner": "owner", "ip": "ip", "package": "plan"}[kind]
	if field == "" {
		c.fail(http.StatusOK, "The ‘searchtype’ argument must be domain, owner, user, ip or package.")
		return
	}
	if method == "exact" && search != "" {
		search = "^" + regexp.QuoteMeta(search) + "$"
	}
	searched, _, wrong := listing.Split(protocol.UAPI, map[string]any{"api.filter_column": field, "api.filter_type": "matches", "api.filter_term": "(?i)" + search})
	if wrong != nil {
		c.fail(http.StatusOK, "The ‘search’ argument must be a regular expression.")
		return
	}
	want, problem := c.values.Take("want")
	if problem != nil {
		c.fail(problem.Status, problem.Message)
		return
	}
	options, wrong := takeListOptions(c.values)
	if wrong != nil {
		c.fail(http.StatusOK, wrong.Message)
		return
	}
	records := []any{}
	for _, a := range c.own() {
		records = append(records, summary(a))
	}
	pause, end := c.q.front.o.Pace(c.q.who.user)
	defer end()
	found := &protocol.Result{Data: records}
	if search != "" {
		if err := searched.Apply(c.q.r.Context(), found, pause); err != nil {
			c.fail(http.StatusOK, err.Error())
			return
		}
		records, _ = found.Data.([]any)
	}
	shaped, meta, err := options.apply(c.q.r.Context(), records, pause)
	end() // End the turn before writing: a slow client delays writing.
	if err != nil {
		c.fail(http.StatusOK, err.Error())
		return
	}
	if fields := strings.Split(want, ","); want != "" {
		for i, item := range shaped {
			record, _ := item.(map[string]any)
			shaped[i] = maps.Collect(func(yield func(string, any) bool) {
				for _, name := range fields {
					if value, ok := record[strings.TrimSpace(name)]; ok && !yield(strings.TrimSpace(name), value) {
						return
					}
				}
			})
		}
	}
	c.meta = meta
	c.reply(map[string]any{"acct": shaped}, map[string]any{"acct": shaped, "status": 1, "statusmsg": "Ok"})
}

// accountSummary implements accountsummary. The account is given by its name or by one of its domains.
func (c *whmCall) accountSummary() {
	user, problem := c.values.Take("user")
	domain, more := c.values.Take("domain")
	if problem == nil {
		problem = more
	}
	switch {
	case problem != nil:
		c.fail(problem.Status, problem.Message)
		return
	case user == "" && domain == "":
		c.fail(http.StatusOK, "Provide the ‘user’ or the ‘domain’ argument.")
		return
	}
	for _, a := range c.own() {
		if user != "" && a.Name == user || user == "" && slices.Contains(a.Domains, account.ASCIIDomain(domain)) {
			records := []any{summary(a)}
			c.reply(map[string]any{"acct": records}, map[string]any{"acct": records, "status": 1, "statusmsg": "Ok"})
			return
		}
	}
	c.fail(http.StatusOK, "Account does not exist.")
}

// summary returns an account's record in the form that clients of WHM expect. The fields follow the
// documentation of accountsummary in WHM API 1. Limits and usage that this server does not count are reported
// as unlimited or 0, with the words that WHM uses.
func summary(a protocol.Account) map[string]any {
	suspended, reason := 0, "not suspended"
	if a.Suspended {
		suspended, reason = 1, "Unknown"
	}
	started, day := int64(0), "unknown"
	if at, err := strconv.ParseInt(a.Data["STARTDATE"], 10, 64); err == nil {
		started, day = at, time.Unix(at, 0).UTC().Format("06 Jan 02 15:04")
	}
	return map[string]any{
		"user": a.Name, "domain": a.MainDomain(), "owner": cmp.Or(a.Data["OWNER"], root), "email": cmp.Or(a.Data["CONTACTEMAIL"], "*unknown*"),
		"plan": cmp.Or(a.Data["PLAN"], "default"), "ip": a.Data["IP"], "theme": cmp.Or(a.Data["THEME"], a.Data["RS"]), "uid": a.UID,
		"suspended": suspended, "suspendreason": reason, "suspendtime": nil, "is_locked": 0, "shell": "", "partition": "",
		"outgoing_mail_suspended": 0, "outgoing_mail_hold": 0, "mailbox_format": "maildir", "backup": 0, "legacy_backup": 0,
		"ipv6": []any{}, "child_nodes": []any{}, "inodesused": 0, "inodeslimit": "unlimited", "max_emailacct_quota": "unlimited",
		"max_email_per_hour": "unlimited", "max_defer_fail_percentage": "unlimited", "min_defer_fail_to_trigger_protection": "5",
		"diskused": "none", "disklimit": "unlimited", "maxpop": cmp.Or(a.Data["MAXPOP"], "unlimited"), "maxsub": "unlimited",
		"maxftp": "unlimited", "maxlst": "unlimited", "maxsql": "unlimited", "maxaddons": "unlimited", "maxparked": "unlimited",
		"startdate": day, "unix_startdate": started,
	}
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
		data := map[string]any{"uapi": json.RawMessage(envelope.UAPIResult(call, result))}
		c.reply(data, data)
	})
}
