package https

import (
	"errors"
	"html"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/liveapid/liveapid/host/front/https/login"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/protocol"
)

// sessionServices maps cPanel's names of the services, as create_user_session takes them.
var sessionServices = map[string]Service{"cpaneld": CPanel, "whostmgrd": WHM, "webmaild": Webmail}

// createSession implements create_user_session: it returns a link that signs a user in once.
func (c *whmCall) createSession() {
	service, ok := sessionServices[c.text("service")]
	if !ok {
		c.fail(http.StatusOK, "The ‘service’ argument must be cpaneld, webmaild or whostmgrd.")
		return
	}
	at := c.q.front.o.Addresses[service]
	if at == "" {
		c.fail(http.StatusOK, "This server does not serve "+c.text("service")+".")
		return
	}
	session, problem := c.sessionFor(service, c.text("user"))
	if problem != "" {
		c.fail(http.StatusOK, problem)
		return
	}
	var key string
	err := c.q.front.o.Admin.Record(c.as(protocol.Account{Name: session.Account}), c.name, map[string]string{"user": session.User, "service": c.text("service")}, func() *protocol.Error {
		var room bool
		if key, session, room = c.q.front.sessions.Invite(session, c.q.who.user); !room {
			return protocol.NewError(protocol.KindUnavailable, "You have created too many links that were not used yet. Try again in some minutes.")
		}
		return nil
	})
	if err != nil {
		c.fail(http.StatusOK, err.Message)
		return
	}
	_, port, _ := net.SplitHostPort(at)
	name := c.q.r.Host
	if h, _, err := net.SplitHostPort(name); err == nil {
		name = h
	}
	if !c.q.from.IsValid() || !c.q.hostAllowed() { // On the control socket, and with a name that is not the server's.
		name, _ = os.Hostname()
	}
	text := session.User + ":" + key
	address := url.URL{Scheme: "https", Host: net.JoinHostPort(strings.Trim(name, "[]"), port), Path: "/" + session.Token + "/login/", RawQuery: url.Values{"session": {text}}.Encode()}
	data := map[string]any{
		"cp_security_token": "/" + session.Token, "expires": time.Now().Add(login.InvitationTime).Unix(), "service": c.text("service"), "session": text, "url": address.String(),
	}
	c.reply(data, data)
}

// sessionFor returns the session for a user of a service. If the caller may not sign this user in, problem
// says why.
func (c *whmCall) sessionFor(service Service, user string) (s login.Session, problem string) {
	const denied = "You do not have access to this user."
	s = login.Session{Service: string(service), User: user}
	switch {
	case service == WHM && user != c.q.who.user && c.q.who.role != protocol.RoleAdmin:
		return s, denied
	case service == WHM && user == root:
		s.Stamp = c.stampOf(root)
		return s, ""
	case service == WHM && !slices.Contains(c.q.front.o.Resellers, user):
		return s, "“" + protocol.Clip(user, maxLogged) + "” is not a reseller."
	case service == Webmail:
		return c.mailboxSession(s, strings.ToLower(user))
	}
	a, err := c.q.front.o.Backend.Account(user)
	switch {
	case errors.Is(err, account.ErrSuspended) && c.q.owns(a):
		return s, "The account “" + a.Name + "” is suspended."
	case err != nil || !c.q.owns(a):
		return s, denied
	}
	s.Account, s.UID, s.Stamp = a.Name, a.UID, c.stampOf(a.Name)
	return s, ""
}

// mailboxSession returns the session for the user of a mailbox, which must exist.
func (c *whmCall) mailboxSession(s login.Session, address string) (_ login.Session, problem string) {
	_, domain, _ := strings.Cut(address, "@")
	for _, a := range c.own() {
		if a.Suspended || !slices.Contains(a.Domains, account.ASCIIDomain(domain)) {
			continue
		}
		if _, err := c.ask(a, "Email", "get_pop_quota", map[string]any{"email": address}); err != nil {
			return s, err.Message
		}
		s.User, s.Account, s.UID = address, a.Name, a.UID
		return s, ""
	}
	return s, "The ‘user’ argument must be the address of a mailbox."
}

func (c *whmCall) stampOf(user string) string {
	stamp, err := c.q.front.o.Passwords.Stamp(user)
	if err != nil {
		return "unknown"
	}
	return stamp
}

// acceptInvitation signs a browser in that opens a link of create_user_session. It returns false if the
// request is not such a link.
func (q *exchange) acceptInvitation() bool {
	text := q.r.URL.Query().Get("session")
	if q.path.Session == "" || text == "" || q.r.Method != http.MethodGet {
		return false
	}
	user, key, _ := strings.Cut(text, ":")
	if at := strings.LastIndexByte(text, ':'); at >= 0 {
		user, key = text[:at], text[at+1:]
	}
	invited, ok := q.front.sessions.Accept(key, string(q.service), q.path.Session)
	if !ok || invited.User != user {
		q.render(http.StatusForbidden, "login.html", loginPage{Title: titles[q.service], Message: "This link was used already, or is too old. Sign in with your password."})
		return true
	}
	invited.From = q.client
	secret, session := q.front.sessions.Begin(invited)
	http.SetCookie(q.w, &http.Cookie{
		Name: q.cookieName(), Value: secret, Path: "/", HttpOnly: true, Secure: q.conn.secure, SameSite: http.SameSiteStrictMode,
	})
	// A redirect would still count as a request of the site with the link, and the browser would not send the
	// new cookie with it. So the page itself goes on.
	target := html.EscapeString("/" + session.Token + "/")
	q.send(http.StatusOK, htmlKind, []byte(`<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Signed in</title><meta http-equiv="refresh" content="0; url=`+target+
		`"></head><body><p><a href="`+target+`">Continue</a></p></body></html>`+"\n"))
	return true
}
