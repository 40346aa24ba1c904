package https

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/liveapid/liveapid/host/admission"
	"github.com/liveapid/liveapid/host/front/https/request"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/envelope"
)

// currentPassword is the parameter in which a mailbox user with a session must send the current password
// again. Without a session, each request contains the password, so the parameter is not needed.
const currentPassword = "current_password"

// call serves UAPI calls at /execute/Module/function, and calls at /json-api/cpanel or its XML form
// /xml-api/cpanel.
func (q *exchange) call() {
	if q.service == WHM && q.path.Kind == request.Execute {
		q.refuse(http.StatusForbidden, "Access denied: WHM's port has no /execute; use /json-api/uapi_cpanel, or the cPanel port.")
		return
	}
	values, release, problem := q.read()
	defer release()
	call, more := request.Of(q.path, values, q.service == WHM)
	if problem == nil {
		problem = more
	}
	if problem == nil && q.service == WHM && call.User == "" {
		problem = &request.Error{Status: http.StatusOK, Message: "Provide the ‘cpanel_jsonapi_user’ argument: the account that the call is for."}
	}
	if problem != nil {
		q.answer(problem.Status, call.Call, protocol.Failed(protocol.NewError(protocol.KindInvalid, problem.Message)))
		return
	}
	caller, why := q.callerFor(call.User)
	if why != "" {
		q.refuse(http.StatusForbidden, why)
		return
	}
	q.run(caller, call.Call, q.answer)
}

// callerFor returns the caller for a call. user is the account that the call names, or "". If the call is not
// allowed, why contains the reason; otherwise why is "".
func (q *exchange) callerFor(user string) (_ protocol.Caller, why string) {
	const denied = "Access denied"
	caller := protocol.Caller{
		Account: q.who.account, Role: q.who.role, Features: q.who.features, Door: string(q.service),
		From: q.who.user + " by " + q.who.by + " from " + q.from.String(),
	}
	switch q.service {
	case Webmail:
		caller.Mailbox = q.who.user
		if user != "" && user != q.who.user && user != q.who.account.Name {
			return caller, denied
		}
		return caller, ""
	case CPanel:
		if user != "" && user != q.who.user {
			return caller, denied
		}
		return caller, ""
	}
	a, err := q.front.o.Backend.Account(user)
	caller.Account, caller.Role = a, protocol.RoleAccount
	switch {
	case errors.Is(err, account.ErrSuspended) && q.owns(a):
		return caller, "Access denied: the account “" + user + "” is suspended."
	case err != nil || !q.owns(a):
		return caller, denied
	}
	return caller, ""
}

// owned returns the account called name, and whether the WHM user may act for it.
func (q *exchange) owned(name string) (protocol.Account, bool) {
	a, err := q.front.o.Backend.Account(name)
	return a, err == nil && q.owns(a)
}

func (q *exchange) owns(a protocol.Account) bool {
	return q.who.role == protocol.RoleAdmin || a.Name == q.who.user || a.Data["OWNER"] == q.who.user
}

// run runs a call and passes the result to the function answer. The memory of the result counts for the
// account until answer has written the result.
func (q *exchange) run(caller protocol.Caller, call protocol.Call, answer func(int, protocol.Call, *protocol.Result)) {
	call.ReadOnly = q.readOnly()
	if q.who.session != nil {
		if refused := q.proveAgain(caller, call); refused != nil {
			answer(http.StatusForbidden, call, protocol.Failed(refused))
			return
		}
	}
	ctx, end := q.scoped()
	defer end()
	call.Compact = true
	result := q.front.o.Backend.Do(ctx, caller, call)
	if q.who.session != nil && q.who.role == protocol.RoleMailbox && !call.ReadOnly && result.Err == nil && call.Module == "Email" {
		// The call may have changed the mailbox's password, perhaps because somebody else had signed in. So
		// the user's other sessions end.
		q.front.sessions.EndUser(string(q.service), q.who.user, *q.who.session)
	}
	q.ran = protocol.Clip(call.Module, maxLogged) + "::" + protocol.Clip(call.Func, maxLogged)
	status := http.StatusOK
	if result.Err != nil && result.Err.Kind == protocol.KindReadOnly {
		status = http.StatusForbidden
	}
	answer(status, call, result)
}

// scoped returns the context for a call, and a function that releases what the call holds after its answer has
// been written. The calls of a batch share a context, because their answers are written together. If the client
// disconnects, a change must not be interrupted halfway. So the context ignores the client; the host's own
// deadline ends the call.
func (q *exchange) scoped() (context.Context, func()) {
	if q.batch != nil {
		return q.batch, func() {}
	}
	ctx, scope := admission.WithScope(context.WithoutCancel(q.r.Context()), q.conn.cut)
	return ctx, scope.End
}

// readOnly reports whether the request must not change anything: a HEAD request, and a GET request of a
// browser with a session. Any web page can make a browser send a GET request with the cookie, by a link or an
// image.
func (q *exchange) readOnly() bool {
	switch {
	case q.r.Method == http.MethodPost:
		return false
	case q.r.Method == http.MethodHead:
		return true
	}
	return q.who.session != nil && !q.byScript()
}

// byScript reports whether a program that is not a browser sent the request. Browsers send Sec-Fetch headers
// with every request. Old ones do not, but their requests have at least one of the other headers.
func (q *exchange) byScript() bool {
	for name := range q.r.Header {
		if strings.HasPrefix(name, "Sec-Fetch-") || slices.Contains([]string{"Origin", "Referer", "Accept-Language", "Upgrade-Insecure-Requests"}, name) {
			return false
		}
	}
	return true
}

// proveAgain verifies the current password, which a mailbox user with a session must send with each call of
// the module Email that may change something. Otherwise anyone at a browser in which the user is still
// signed in could change the password and take over the mailbox. proveAgain returns an error if the password
// is missing or wrong.
func (q *exchange) proveAgain(caller protocol.Caller, call protocol.Call) *protocol.Error {
	if q.who.role != protocol.RoleMailbox || call.ReadOnly || call.Module != "Email" {
		return nil
	}
	start := time.Now()
	given, _ := call.Args.Named[currentPassword].(string)
	if number, ok := call.Args.Named[currentPassword].(protocol.Number); ok {
		given = string(number)
	}
	delete(call.Args.Named, currentPassword)
	if given == "" {
		return protocol.Missing(currentPassword)
	}
	_, wait, err := q.prove("basic", caller.Mailbox, protocol.NewSecret(given))
	if err != nil {
		q.pause(start)
		message := "The ‘" + currentPassword + "’ argument is not the mailbox's password."
		if wait > 0 {
			message += " Wait " + wait.Round(time.Second).String() + " before you try again."
		}
		return protocol.NewError(protocol.KindDenied, message)
	}
	return nil
}

// answer sends the result of a call of kind Execute or CPanel, in the envelope of the call's API.
func (q *exchange) answer(status int, call protocol.Call, result *protocol.Result) {
	encode := envelope.JSON
	if q.path.Kind == request.Execute {
		encode = envelope.UAPIResult
	}
	body := encode(call, result)
	if len(body) > protocol.MaxAnswer {
		body = encode(call, protocol.Failed(envelope.TooLarge()))
	}
	if q.path.XML && q.path.Kind != request.Execute {
		q.sendXML(status, "cpanelresult", body)
		return
	}
	q.send(status, jsonKind, append(body, '\n'))
}
