package https

import (
	"bytes"
	"embed"
	"errors"
	"html/template"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/liveapid/liveapid/host/front/https/describe"
	"github.com/liveapid/liveapid/host/front/https/login"
	"github.com/liveapid/liveapid/host/front/https/request"
	"github.com/liveapid/liveapid/protocol"
)

//go:embed pages
var files embed.FS

// templates contains the pages that the server renders. All other content is built by scripts in the browser.
var templates = template.Must(template.New("").ParseFS(files, "pages/*.html"))

// render renders the template called name with data, and sends the page.
func (q *exchange) render(status int, name string, data any) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		q.front.o.Log.Error("can't render a page", "page", name, "error", err.Error())
		q.send(http.StatusInternalServerError, textKind, []byte("The page can't be rendered.\n"))
		return
	}
	q.send(status, htmlKind, b.Bytes())
}

// public serves everything that needs no authentication: the sign-in page and the static files of the pages.
// It returns true if it has answered the request.
func (q *exchange) public() bool {
	if q.path.Kind == request.Page || q.path.Kind == request.Login && q.r.Method != http.MethodPost {
		// Answers to unauthenticated clients are small, so publicTime is enough to write them. It also limits
		// how long a client that reads slowly can occupy its connection.
		_ = http.NewResponseController(q.w).SetWriteDeadline(time.Now().Add(publicTime))
	}
	switch q.path.Kind {
	case request.Login:
		if !q.hostAllowed() {
			q.send(http.StatusMisdirectedRequest, textKind, []byte("This server does not go by that name. Its operator may add it to web.hosts.\n"))
			return true
		}
		q.login()
		return true
	case request.Page:
		name, ok := strings.CutPrefix(q.path.Page, "/assets/")
		if ok && q.path.Session == "" && q.r.Method != http.MethodPost {
			q.asset(name)
			return true
		}
		if q.path.Page == "/" && q.path.Session == "" && q.r.Header.Get("Authorization") == "" && q.r.Method != http.MethodPost {
			// The redirect must never go to the path with the session's token, even if the request contains a
			// valid cookie: another program may have obtained the cookie and would then learn the token. See
			// login.Session.
			http.Redirect(q.w, q.r, "/login", http.StatusSeeOther)
			return true
		}
	}
	if q.path.Kind == request.Page {
		_ = http.NewResponseController(q.w).SetWriteDeadline(time.Now().Add(pageTime))
	}
	return false
}

// publicTime is the maximum time for writing an answer to a stranger, and pageTime the maximum time for
// writing a page to a signed-in user.
const (
	publicTime = 15 * time.Second
	pageTime   = 90 * time.Second
)

// asset serves the embedded static file called name.
func (q *exchange) asset(name string) {
	kind := mime.TypeByExtension(path.Ext(name))
	body, err := files.ReadFile("pages/" + name)
	if err != nil || strings.HasSuffix(name, ".html") || kind == "" {
		q.fail(http.StatusNotFound, "There is nothing under this path.")
		return
	}
	q.send(http.StatusOK, kind, body)
}

// titles are the names of the services in the pages.
var titles = map[Service]string{CPanel: "Account", WHM: "Server", Webmail: "Mailbox"}

// loginPage is the data of the sign-in page's template.
type loginPage struct {
	Title, User, Message string
}

const (
	// maxLogin is the maximum size in bytes of the body of a sign-in, and loginTime the maximum time in which
	// the body must arrive.
	maxLogin  = 8 << 10
	loginTime = 5 * time.Second
)

// login signs a user in. It serves browsers, which send a form, and programs, which ask for JSON.
func (q *exchange) login() {
	if q.acceptInvitation() {
		return
	}
	loginOnly := strings.Contains("&"+q.r.URL.RawQuery, "&login_only=1")
	query := q.r.URL.Query()
	// Scripts also sign in by GET. A browser that does gets the page: the password would be in its history.
	byGet := q.r.Method == http.MethodGet && loginOnly && q.byScript() && query.Has("user") && query.Has("pass")
	if q.r.Method != http.MethodPost && !byGet {
		q.render(http.StatusOK, "login.html", loginPage{Title: titles[q.service]})
		return
	}
	start := time.Now()
	asJSON := loginOnly || strings.Contains(q.r.Header.Get("Accept"), "application/json")
	refuse := func(status int, user, message string) {
		if asJSON {
			q.sendJSON(status, map[string]any{"status": 0, "message": message})
			return
		}
		q.render(status, "login.html", loginPage{Title: titles[q.service], User: user, Message: message})
	}
	// The body is read before the attempt takes a place among the sign-in attempts, so that slow clients
	// can't block others. Because the client is still a stranger, the body must be small and arrive within
	// loginTime. Parameters in the URL are ignored, except for scripts: a browser would store a password there
	// in its history.
	_ = http.NewResponseController(q.w).SetReadDeadline(start.Add(q.front.loginTime))
	values, problem := request.ReadBody(q.r, maxLogin)
	if byGet && problem == nil {
		values, problem = request.Read(q.r)
	}
	if problem != nil {
		refuse(problem.Status, "", problem.Message)
		return
	}
	// net/http keeps reading from the connection after the body. When the old deadline expired, it would
	// treat the connection as broken and cancel the request.
	_ = http.NewResponseController(q.w).SetReadDeadline(start.Add(pageTime))
	user, problem := values.Take("user")
	pass, ok := values.Named()["pass"].(string)
	if problem != nil || !ok || user == "" || pass == "" {
		refuse(http.StatusBadRequest, user, "Send the fields user and pass in the request's body.")
		return
	}
	stamp := q.stamp(user) // Before prove: a change during prove must end the session.
	who, wait, err := q.prove("basic", user, protocol.NewSecret(pass))
	if err != nil {
		q.pause(start)
		status, message := http.StatusUnauthorized, "The user or the password is wrong, or it was tried too often: then wait a little."
		if !isDenied(err) {
			if !errors.Is(err, errGone) {
				q.front.o.Log.Error("can't verify a password; the sign-in is rejected", "error", err.Error())
			}
			status, message = http.StatusServiceUnavailable, "The server can't verify who you are at the moment. Try again later."
		} else if wait > 0 {
			q.w.Header().Set("Retry-After", seconds(wait))
		}
		refuse(status, user, message)
		return
	}
	q.who = who
	secret, session := q.front.sessions.Begin(login.Session{
		Service: string(q.service), User: who.user, Account: who.account.Name, UID: who.account.UID, Stamp: stamp, From: q.client,
	})
	http.SetCookie(q.w, &http.Cookie{
		Name: q.cookieName(), Value: secret, Path: "/", HttpOnly: true, Secure: q.conn.secure, SameSite: http.SameSiteStrictMode,
	})
	if asJSON {
		q.sendJSON(http.StatusOK, map[string]any{"status": 1, "security_token": "/" + session.Token, "redirect": "/" + session.Token + "/"})
		return
	}
	// The status is 302 and not 303, because a published Perl client follows a 303 and then does not see the
	// token.
	http.Redirect(q.w, q.r, "/"+session.Token+"/", http.StatusFound)
}

// logout ends the browser's session, removes the cookie, and redirects to the sign-in page.
func (q *exchange) logout() {
	if q.r.Method != http.MethodPost {
		q.w.Header().Set("Allow", "POST")
		q.fail(http.StatusMethodNotAllowed, "The method must be POST.")
		return
	}
	if q.who.session != nil {
		q.front.sessions.End(*q.who.session)
		http.SetCookie(q.w, &http.Cookie{
			Name: q.cookieName(), Path: "/", MaxAge: -1, HttpOnly: true, Secure: q.conn.secure, SameSite: http.SameSiteStrictMode,
		})
	}
	http.Redirect(q.w, q.r, "/login", http.StatusSeeOther)
}

// page serves the pages of signed-in users.
func (q *exchange) page() {
	if q.r.Method == http.MethodPost {
		q.w.Header().Set("Allow", "GET, HEAD")
		q.fail(http.StatusMethodNotAllowed, "The method must be GET.")
		return
	}
	switch q.path.Page {
	case "/":
		q.render(http.StatusOK, "app.html", map[string]any{"Title": titles[q.service], "User": q.who.user, "Service": string(q.service)})
	case "/openapi.json", "/functions.json", "/docs", "/docs/":
		q.descriptions()
	case "/me.json":
		q.sendJSON(http.StatusOK, q.me())
	default:
		q.fail(http.StatusNotFound, "There is nothing under this path.")
	}
}

// descriptions serves the pages that describe functions. Because they take more time than most calls, they
// count as several calls.
func (q *exchange) descriptions() {
	leave, ok := q.describes()
	if !ok {
		return
	}
	defer leave()
	switch q.path.Page {
	case "/openapi.json":
		if modules, missing, ok := q.modules(); ok {
			port := q.port()
			port.Missing = missing
			q.sendJSON(http.StatusOK, describe.OpenAPI(modules, port, APILevel))
		}
	case "/functions.json":
		if modules, missing, ok := q.modules(); ok {
			q.sendJSON(http.StatusOK, map[string]any{"functions": describe.Functions(modules), "missing": missing})
		}
	case "/docs", "/docs/":
		if modules, missing, ok := q.modules(); ok {
			q.render(http.StatusOK, "docs.html", map[string]any{"Modules": describe.Pages(modules), "Missing": missing})
		}
	}
}

// port returns the description of the request's port for the OpenAPI document.
func (q *exchange) port() describe.Port {
	switch q.service {
	case WHM:
		return describe.Port{Scheme: string(WHM), Account: true, Functions: WHMFunctions()}
	case Webmail:
		return describe.Port{}
	}
	return describe.Port{Scheme: string(CPanel)}
}

// me returns what the pages show about the signed-in user. On WHM's port, the result also contains the names
// of the accounts for which the user may act and that are not suspended, unless the user's token is limited
// to features.
func (q *exchange) me() map[string]any {
	out := map[string]any{"user": q.who.user, "service": string(q.service), "domains": q.who.account.Domains, "self_signed": q.front.o.SelfSigned}
	if q.service != Webmail && q.front.o.Config != "" {
		out["config"] = q.front.o.Config // For the snippets of the API Shell.
	}
	if q.service == WHM && q.who.features == nil {
		var names []string
		for _, a := range (&whmCall{q: q}).own() {
			if !a.Suspended {
				names = append(names, a.Name)
			}
		}
		out["accounts"] = names
	}
	return out
}

// modules returns the modules that the caller can call, and the names of modules that can't be described at
// the moment. If the caller may not see the requested account, modules answers the request and returns false.
func (q *exchange) modules() (all []protocol.Module, missing []string, ok bool) {
	caller := protocol.Caller{Account: q.who.account, Role: q.who.role, Features: q.who.features}
	if q.service == WHM {
		// The list of functions is the same for all accounts. So if the request names no account, the first
		// account that is not suspended is used.
		caller.Role = protocol.RoleAccount
		own := (&whmCall{q: q}).own()
		if name := q.r.URL.Query().Get("user"); name != "" {
			a, ok := q.owned(name)
			if !ok {
				q.fail(http.StatusForbidden, "Access denied")
				return nil, nil, false
			}
			caller.Account = a
		} else if i := slices.IndexFunc(own, func(a protocol.Account) bool { return !a.Suspended }); i >= 0 {
			caller.Account = own[i]
		}
	}
	all, missing = q.front.o.Backend.Modules(q.r.Context(), caller.Account)
	missing = slices.DeleteFunc(missing, func(name string) bool {
		return slices.ContainsFunc(all, func(m protocol.Module) bool { return m.Name == name }) // Another plugin serves a module with this name.
	})
	switch {
	case caller.Role == protocol.RoleMailbox:
		missing = nil // A mailbox user need not know which plugins exist.
	case caller.Features != nil && len(missing) > 0:
		missing = []string{"some modules"} // A limited token must not reveal the modules' names.
	}
	return describe.For(all, caller), missing, true
}
