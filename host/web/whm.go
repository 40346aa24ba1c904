package web

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/liveapid/liveapid/host/web/decode"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/envelope"
)

// APILevel is the version of cPanel whose documentation the answers follow: clients compare it to
// know what they may use.
const APILevel = "11.136.0.0"

// forLimited are the functions for tokens that are limited to features: what tells nothing of
// accounts, and what asks for features itself.
func forLimited() []string { return []string{"version", "applist", "uapi_cpanel"} }

// whmCall is a call of one of WHM's own functions.
type whmCall struct {
	q      *request
	values decode.Values
	v1     bool           // api.version=1 was asked for.
	meta   map[string]any // What more the metadata says.
}

// whmFunctions are those of WHM's functions that its clients ask before they speak for accounts.
func whmFunctions() map[string]func(*whmCall) {
	return map[string]func(*whmCall){
		"version": (*whmCall).version, "listaccts": (*whmCall).listAccounts, "accountsummary": (*whmCall).accountSummary,
		"uapi_cpanel": (*whmCall).uapi, "applist": (*whmCall).appList,
	}
}

// whm serves /json-api/NAME and its XML twin.
func (q *request) whm() {
	if q.r.Method == http.MethodHead {
		q.w.Header().Set("Allow", "GET, POST")
		q.fail(http.StatusMethodNotAllowed, "The method must be GET or POST.")
		return
	}
	if q.service != WHM {
		if q.service == CPanel && q.path.Func == "version" {
			// As a server answers a login that has no WHM.
			q.sendJSON(http.StatusOK, map[string]any{"cpanelresult": map[string]any{
				"apiversion": "2", "data": map[string]any{"version": APILevel}, "type": "text",
			}})
			return
		}
		q.refuse(http.StatusForbidden, "Access denied: this is a function of WHM's port.")
		return
	}
	values, problem := decode.Read(q.r)
	c := &whmCall{q: q, values: values}
	version, more := values.Take("api.version")
	c.v1 = version == "1" || version == "" && q.path.Func == "uapi_cpanel"
	switch do := whmFunctions()[q.path.Func]; {
	case problem != nil:
		c.fail(problem.Status, problem.Message)
	case more != nil:
		c.fail(more.Status, more.Message)
	case q.who.features != nil && !slices.Contains(forLimited(), q.path.Func):
		c.fail(http.StatusForbidden, "Access denied: this token is limited to features, and this function is none of one.")
	case do == nil && c.v1:
		c.fail(http.StatusOK, "Unknown app (“"+q.path.Func+"”) requested for this version (1) of the API.")
	case do == nil:
		c.send(http.StatusOK, map[string]any{"error": "Unknown App Requested: " + q.path.Func})
	default:
		do(c)
		q.ran = cmp.Or(q.ran, "WHM::"+q.path.Func)
	}
}

// reply answers in the envelope of the version that was asked for. old is the answer of version 0.
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
	c.send(status, map[string]any{"status": 0, "statusmsg": message})
}

func (c *whmCall) send(status int, body map[string]any) {
	if !c.q.path.XML {
		c.q.sendJSON(status, body)
		return
	}
	text, err := json.Marshal(body)
	if err != nil {
		text = []byte("{}")
	}
	c.q.sendXML(status, c.q.path.Func, text)
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

// own returns the accounts that the caller may see, by name.
func (c *whmCall) own() []protocol.Account {
	all := slices.DeleteFunc(c.q.front.o.Backend.Accounts(), func(a protocol.Account) bool { return !c.q.owns(a) })
	slices.SortFunc(all, func(a, b protocol.Account) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// maxPattern bounds listaccts' regular expression, in bytes.
const maxPattern = 500

// listAccounts lists accounts; search, a regular expression, is held against what searchtype names.
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
	if method == "exact" {
		search = "^" + regexp.QuoteMeta(search) + "$"
	}
	var pattern *regexp.Regexp
	err := errors.New("too long")
	if len(search) <= maxPattern {
		pattern, err = regexp.Compile("(?i)" + search)
	}
	if err != nil {
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
		record := summary(a)
		if text, _ := record[field].(string); search == "" || pattern.MatchString(text) {
			records = append(records, record)
		}
	}
	shaped, meta := options.apply(records)
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

// accountSummary shows one account, by its name or a domain of its.
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
		if user != "" && a.Name == user || user == "" && slices.Contains(a.Domains, strings.ToLower(domain)) {
			records := []any{summary(a)}
			c.reply(map[string]any{"acct": records}, map[string]any{"acct": records, "status": 1, "statusmsg": "Ok"})
			return
		}
	}
	c.fail(http.StatusOK, "Account does not exist.")
}

// summary is what WHM's clients are shown of an account. What this server does not count is said
// as unlimited or 0, in the words that clients expect.
func summary(a protocol.Account) map[string]any {
	suspended := 0
	if a.Suspended {
		suspended = 1
	}
	return map[string]any{
		"user": a.Name, "domain": a.MainDomain(), "owner": cmp.Or(a.Data["OWNER"], root), "email": cmp.Or(a.Data["CONTACTEMAIL"], "*unknown*"),
		"plan": cmp.Or(a.Data["PLAN"], "default"), "ip": a.Data["IP"], "theme": cmp.Or(a.Data["THEME"], a.Data["RS"]), "uid": a.UID,
		"suspended": suspended, "suspendreason": "not suspended", "is_locked": 0, "shell": "", "partition": "",
		"diskused": "none", "disklimit": "unlimited", "maxpop": cmp.Or(a.Data["MAXPOP"], "unlimited"), "maxsub": "unlimited",
		"maxftp": "unlimited", "maxlst": "unlimited", "maxsql": "unlimited", "maxaddons": "unlimited", "maxparked": "unlimited",
		"startdate": "", "unix_startdate": "",
	}
}

// uapi calls a UAPI function for an account.
func (c *whmCall) uapi() {
	var problem *decode.Error
	take := func(name string) string {
		text, err := c.values.Take(name)
		switch {
		case problem != nil:
		case err != nil:
			problem = err
		case text == "":
			problem = &decode.Error{Status: http.StatusOK, Message: "Provide the ‘" + name + "’ argument."}
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
	call := protocol.Call{API: protocol.UAPI, Module: clip(module), Func: clip(function), Quoted: true, Args: protocol.Args{Named: c.values.Named()}}
	c.q.run(caller, call, func(status int, call protocol.Call, result *protocol.Result) {
		if status != http.StatusOK {
			c.fail(status, result.Err.Message)
			return
		}
		data := map[string]any{"uapi": json.RawMessage(envelope.UAPIResult(call, result))}
		c.reply(data, data)
	})
}
