package https

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/protocol"
)

// account returns the account that the argument user names, also if it is suspended. If there is none for
// which the caller may act, account answers the request and returns false.
func (c *whmCall) account() (protocol.Account, bool) {
	a, err := c.q.front.o.Backend.Account(c.text("user"))
	if (err == nil || errors.Is(err, account.ErrSuspended)) && c.q.owns(a) {
		return a, true
	}
	c.fail(http.StatusOK, "You do not have access to an account named “"+protocol.Clip(c.text("user"), maxLogged)+"”.")
	return a, false
}

// as returns the caller for calls of the account a.
func (c *whmCall) as(a protocol.Account) protocol.Caller {
	from := c.q.who.user + " by " + c.q.who.by
	if c.q.from.IsValid() { // The control socket has no address.
		from += " from " + c.q.from.String()
	}
	return protocol.Caller{Account: a, Role: protocol.RoleAccount, Door: string(c.q.service), From: from}
}

// listResults are the functions that answer a list of results in version 0 of the API.
var listResults = []string{"passwd", "suspendacct", "unsuspendacct", "createacct", "modifyacct", "removeacct"}

// ask returns the data of a UAPI function of the account a.
func (c *whmCall) ask(a protocol.Account, module, name string, args map[string]any) (any, *protocol.Error) {
	if args == nil {
		args = map[string]any{}
	}
	result := c.q.front.o.Admin.Run(c.ctx, c.as(a),
		[]protocol.Call{{API: protocol.UAPI, Module: module, Func: name, Args: protocol.Args{Named: args}}})[0]
	return result.Data, result.Err
}

// change makes a change that is recorded in the audit log, and answers the request with done, or with the
// error of the change. shown are the arguments to record, without secrets.
func (c *whmCall) change(a protocol.Account, shown map[string]string, done string, change func() *protocol.Error) {
	if err := c.q.front.o.Admin.Record(c.as(a), c.name, shown, change); err != nil {
		c.fail(http.StatusOK, err.Message)
		return
	}
	c.meta = map[string]any{"reason": done}
	// Without a version, these functions answer a list of results.
	c.reply(map[string]any{}, map[string]any{"result": []any{map[string]any{"status": 1, "statusmsg": done}}})
}

// suspend implements suspendacct and unsuspendacct.
func (c *whmCall) suspend() {
	a, ok := c.account()
	if !ok {
		return
	}
	if a.Name == c.q.who.user {
		c.fail(http.StatusOK, "You can't suspend your own account, or end its suspension.")
		return
	}
	if c.protected(a) {
		return
	}
	on := c.name == "suspendacct"
	done := a.Name + "'s account has been suspended"
	if !on {
		done = a.Name + "'s account is now active"
	}
	reason := protocol.Clip(c.text("reason"), maxReason)
	c.change(a, map[string]string{"user": a.Name, "reason": reason}, done, func() *protocol.Error {
		return c.q.front.o.Admin.Suspend(a.Name, reason, on)
	})
}

// protected reports whether the account is another reseller, whose password would give the caller access to
// that reseller's accounts, too. Then it answers the request.
func (c *whmCall) protected(a protocol.Account) bool {
	if c.q.who.role == protocol.RoleAdmin || a.Name == c.q.who.user || !slices.Contains(c.q.front.o.Resellers, a.Name) {
		return false
	}
	c.fail(http.StatusOK, "“"+a.Name+"” is a reseller: only root may change that account.")
	return true
}

// maxReason is the maximum length in bytes of the reason of a suspension.
const maxReason = 300

// setPassword implements passwd.
func (c *whmCall) setPassword() {
	a, ok := c.account()
	if !ok {
		return
	}
	if c.protected(a) {
		return
	}
	password, _ := c.args["password"].(protocol.Secret)
	if problem := c.weak(a, password); problem != "" {
		c.fail(http.StatusOK, problem)
		return
	}
	c.change(a, map[string]string{"user": a.Name}, "Password changed for user "+a.Name, func() *protocol.Error {
		return c.q.front.o.Admin.SetPassword(a.Name, password)
	})
}

// weak returns why a password is too weak for the account a, or "".
func (c *whmCall) weak(a protocol.Account, password protocol.Secret) string {
	results := c.q.front.o.Admin.Run(c.ctx, c.as(a), []protocol.Call{
		{API: protocol.UAPI, Module: "PasswdStrength", Func: "get_required_strength", Args: protocol.Args{Named: map[string]any{"app": "passwd"}}},
		{API: protocol.API2, Module: "PasswdStrength", Func: "get_password_strength", Args: protocol.Args{Named: map[string]any{"password": password.Reveal()}}},
	})
	if err := results[1].Err; err != nil && err.Kind == protocol.KindInvalid {
		return err.Message
	}
	if results[0].Err != nil || results[1].Err != nil {
		return "The strength of the password can't be checked at the moment. Nothing was changed; try again later."
	}
	required, _ := results[0].Data.(map[string]any)
	list, _ := results[1].Data.([]any)
	if len(list) != 1 {
		return "The strength of the password can't be checked at the moment. Nothing was changed; try again later."
	}
	record, _ := list[0].(map[string]any)
	least, ok1 := protocol.WholeNumber(required["strength"])
	has, ok2 := protocol.WholeNumber(record["strength"])
	if !ok1 || !ok2 || has < least {
		return "The password is too weak. Choose a longer one, with words that nobody would guess."
	}
	return ""
}

// createAccount implements createacct.
func (c *whmCall) createAccount() {
	name := c.text("username")
	password, has := c.args["password"].(protocol.Secret)
	facts, problem := c.facts("maxpop")
	if problem != "" {
		c.fail(http.StatusOK, problem)
		return
	}
	shown := map[string]string{"username": protocol.Clip(name, maxLogged), "domain": protocol.Clip(facts.Domain, maxLogged)}
	c.change(protocol.Account{Name: name}, shown, "Account Creation Ok", func() *protocol.Error {
		if err := c.q.front.o.Admin.Create(name, facts); err != nil {
			return err
		}
		if !has || password.Reveal() == "" {
			return nil
		}
		problem := c.firstPassword(name, password)
		if problem == nil {
			return nil
		}
		if err := c.q.front.o.Admin.Remove(name); err != nil {
			return protocol.NewError(problem.Kind, "The account was created, but its password was not set: "+problem.Message)
		}
		return protocol.NewError(problem.Kind, "The account was not created: "+problem.Message)
	})
}

// firstPassword sets the password of a new account.
func (c *whmCall) firstPassword(name string, password protocol.Secret) *protocol.Error {
	a, err := c.q.front.o.Backend.Account(name)
	if err != nil {
		return &protocol.Error{Kind: protocol.KindFailed, Err: err, Message: "Its password can't be set at the moment. Try again later."}
	}
	if problem := c.weak(a, password); problem != "" {
		return protocol.NewError(protocol.KindInvalid, problem)
	}
	return c.q.front.o.Admin.SetPassword(name, password)
}

// modifyAccount implements modifyacct.
func (c *whmCall) modifyAccount() {
	a, ok := c.account()
	if !ok {
		return
	}
	facts, problem := c.facts("MAXPOP")
	if problem == "" && facts == (AccountFacts{}) {
		problem = "Provide at least one of the arguments contactemail, plan, owner, MAXPOP, locale and RS. This server changes no other facts about an account."
	}
	if problem != "" {
		c.fail(http.StatusOK, problem)
		return
	}
	shown := map[string]string{"user": a.Name}
	for name, value := range map[string]string{"contactemail": facts.Contact, "plan": facts.Plan, "owner": facts.Owner, "MAXPOP": facts.MaxPop, "locale": facts.Locale, "RS": facts.Theme} {
		if value != "" {
			shown[name] = protocol.Clip(value, maxLogged)
		}
	}
	c.change(a, shown, "Account Modified", func() *protocol.Error { return c.q.front.o.Admin.Modify(a.Name, facts) })
}

// maxFact is the maximum length in bytes of a fact about an account.
const maxFact = 255

// facts returns the facts about an account in the arguments of createacct and modifyacct, which differ in the
// name of the maximum number of mailboxes. problem names the invalid argument.
func (c *whmCall) facts(maxPop string) (f AccountFacts, problem string) {
	f = AccountFacts{
		Domain: c.text("domain"), Contact: c.text("contactemail"), Plan: c.text("plan"), Owner: c.text("owner"),
		MaxPop: c.text(maxPop), Locale: c.text("locale"), Theme: c.text("RS"),
	}
	for _, fact := range []struct {
		name, value, must string
		valid             func(string) bool
	}{
		{"contactemail", f.Contact, "must be an email address", func(text string) bool {
			local, domain, _ := strings.Cut(text, "@")
			return local != "" && domain != "" && !strings.ContainsFunc(text, unicode.IsSpace)
		}},
		{"plan", f.Plan, "must be text", func(string) bool { return true }},
		{"owner", f.Owner, "must be the name of an account", account.ValidName},
		{maxPop, f.MaxPop, "must be a whole number, or unlimited", func(text string) bool {
			n, err := strconv.ParseUint(text, 10, 31)
			return text == "unlimited" || err == nil && strconv.FormatUint(n, 10) == text
		}},
		{"locale", f.Locale, "must be the name of a locale, such as en", account.ValidName},
		{"RS", f.Theme, "must be the name of a theme, such as jupiter", account.ValidName},
	} {
		switch {
		case fact.value == "":
		case len(fact.value) > maxFact:
			return f, "The ‘" + fact.name + "’ argument is too long: at most " + strconv.Itoa(maxFact) + " bytes are allowed."
		case strings.ContainsFunc(fact.value, unicode.IsControl):
			return f, "The ‘" + fact.name + "’ argument may not contain control characters."
		case !fact.valid(fact.value):
			return f, "The ‘" + fact.name + "’ argument " + fact.must + "."
		}
	}
	return f, ""
}

// removeAccount implements removeacct.
func (c *whmCall) removeAccount() {
	a, ok := c.account()
	if !ok {
		return
	}
	c.change(a, map[string]string{"user": a.Name}, a.Name+" account removed; its system user, home and mail stay", func() *protocol.Error {
		return c.q.front.o.Admin.Remove(a.Name)
	})
}

// listPops implements list_pops_for.
func (c *whmCall) listPops() {
	_, boxes, ok := c.mailboxes()
	if !ok {
		return
	}
	data := map[string]any{"pops": boxes}
	c.reply(data, data)
}

// mailboxes returns the account that the argument user names, and the addresses of its mailboxes. If they can't
// be read, mailboxes answers the request and returns false.
func (c *whmCall) mailboxes() (a protocol.Account, boxes []string, ok bool) {
	if a, ok = c.account(); !ok {
		return a, nil, false
	}
	data, problem := c.ask(a, "Email", "list_pops", map[string]any{"skip_main": "1"})
	if problem != nil {
		c.fail(http.StatusOK, problem.Message)
		return a, nil, false
	}
	boxes = []string{}
	list, _ := data.([]any)
	for _, item := range list {
		if record, ok := item.(map[string]any); ok {
			if email, ok := record["email"].(string); ok {
				boxes = append(boxes, email)
			}
		}
	}
	return a, boxes, true
}

// outgoingFunctions are the functions that change the outgoing mail of an account, with the function of Email
// that changes a mailbox in the same way.
var outgoingFunctions = map[string]struct{ help, email string }{
	"suspend_outgoing_email":   {"Reject mail that the mailboxes of an account send.", "suspend_outgoing"},
	"unsuspend_outgoing_email": {"Take mail that the mailboxes of an account send again.", "unsuspend_outgoing"},
	"hold_outgoing_email":      {"Hold mail that the mailboxes of an account send.", "hold_outgoing"},
	"release_outgoing_email":   {"Stop holding mail that the mailboxes of an account send.", "release_outgoing"},
}

// changesOfACall is the number of mailboxes for which a function in outgoingFunctions counts as one additional
// call.
const changesOfACall = 20

// outgoing implements the functions in outgoingFunctions. They change the mailboxes that the account has now;
// each change is a call of the account, which the audit log records.
func (c *whmCall) outgoing() {
	a, boxes, ok := c.mailboxes()
	if !ok {
		return
	}
	if c.q.who.role != protocol.RoleAdmin { // A reseller's call counts for the number of its changes.
		leave, refused := c.q.front.o.Enter(c.q.holder(), min(1+len(boxes)/changesOfACall, maxWeight))
		if refused != nil {
			c.fail(http.StatusServiceUnavailable, refused.Message)
			return
		}
		defer leave()
	}
	calls := make([]protocol.Call, 0, len(boxes))
	for _, box := range boxes {
		calls = append(calls, protocol.Call{API: protocol.UAPI, Module: "Email", Func: outgoingFunctions[c.name].email, Args: protocol.Args{Named: map[string]any{"email": box}}})
	}
	var failed []string
	why := ""
	for i, result := range c.q.front.o.Admin.Run(c.ctx, c.as(a), calls) {
		if result.Err != nil {
			failed, why = append(failed, boxes[i]), result.Err.Message
		}
	}
	if len(failed) > 0 {
		c.fail(http.StatusOK, strconv.Itoa(len(boxes)-len(failed))+" of "+strconv.Itoa(len(boxes))+" mailboxes were changed. These were not: "+
			protocol.Clip(strings.Join(failed, ", "), 1000)+". "+why)
		return
	}
	c.reply(map[string]any{}, map[string]any{"status": 1, "statusmsg": "OK"})
}
