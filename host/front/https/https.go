// Package https is the host's HTTPS front door. It serves the WHM and cPanel APIs in the form that their
// clients expect, and pages for people. Every request except the sign-in page and its files is authenticated
// before it is routed, and every call goes to the Backend. The package does not depend on any plugin and does
// not read any home directory.
package https

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/liveapid/liveapid/host/admission"
	"github.com/liveapid/liveapid/host/front/https/login"
	"github.com/liveapid/liveapid/host/front/https/request"
	"github.com/liveapid/liveapid/host/front/unixsock"
	"github.com/liveapid/liveapid/host/identity/token"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/protocol"
)

// Backend is what the front door needs from the host. Its methods may be called concurrently.
type Backend interface {
	// Do runs a call for caller and returns its result.
	Do(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result
	// Account returns the account called name. If the account is not allowed to act at the moment, the error
	// says why. For a suspended account, Account returns the account together with account.ErrSuspended.
	Account(name string) (protocol.Account, error)
	// Accounts returns all accounts, including suspended accounts. The caller may change the slice.
	Accounts() []protocol.Account
	// Modules returns the modules that the given account can call, and in missing the names of the
	// modules that can't be described at the moment.
	Modules(ctx context.Context, account protocol.Account) (all []protocol.Module, missing []string)
	// VerifyMailbox verifies the password of the mailbox with the given address. It returns the mailbox's
	// account and the verdict. An error means that the password could not be verified; it is only logged.
	VerifyMailbox(ctx context.Context, address string, password protocol.Secret) (protocol.Account, Verdict, error)
	// Owned reports whether the given domain belongs to any account.
	Owned(domain string) bool
	// Tenant reports whether the user with the given uid has an account.
	Tenant(uid int) bool
}

// Administration changes accounts, for the functions of WHM. Its methods may be called concurrently. Their
// errors are for the caller.
type Administration interface {
	// Record runs change and records it in the audit log, as a change of function that caller makes; args
	// describe it without secrets. If the change can't be recorded, it is not made.
	Record(caller protocol.Caller, function string, args map[string]string, change func() *protocol.Error) *protocol.Error
	// Suspend suspends the account called name, or ends its suspension.
	Suspend(name, reason string, on bool) *protocol.Error
	// Create registers an account for the system user called name, who must exist.
	Create(name string, facts AccountFacts) *protocol.Error
	// Modify changes facts about an account. Empty facts stay as they are.
	Modify(name string, facts AccountFacts) *protocol.Error
	// Remove forgets an account; its system user, home and mail stay.
	Remove(name string) *protocol.Error
	// SetPassword sets the account's password, if this server keeps the passwords of accounts.
	SetPassword(name string, password protocol.Secret) *protocol.Error
	// Run runs calls for caller, which do not count against the account's limits.
	Run(ctx context.Context, caller protocol.Caller, calls []protocol.Call) []*protocol.Result
}

// AccountFacts are facts about an account that WHM's functions change. An empty fact stays as it is. The values
// are valid, except that Domain is not checked.
type AccountFacts struct {
	Domain, Contact, Plan, Theme, Locale, Owner, MaxPop string
}

// Verdict is the result of verifying a mailbox's password.
type Verdict int

// The verdicts.
const (
	NoSuchMailbox Verdict = iota
	WrongPassword
	RightPassword
)

// Passwords verifies the passwords of accounts and of root. Its methods may be called concurrently.
type Passwords interface {
	// Verify reports whether password is the password of the account called name, or of root. It returns an
	// error if the password could not be verified. The name "" never has a password, but its verification
	// takes as long as any other, so that the time does not reveal which names exist.
	Verify(ctx context.Context, name string, password protocol.Secret) (bool, error)
	// Stamp returns a value that changes whenever the password of name changes, or "" if name has no password
	// or if the password is not known.
	Stamp(name string) (string, error)
	// Longest returns the expected maximum time of Verify, without the time that Verify waits for other
	// verifications.
	Longest() time.Duration
}

// Service is one of cPanel's three services. Each has its own port.
type Service string

// The services.
const (
	CPanel  Service = "cpanel"
	WHM     Service = "whm"
	Webmail Service = "webmail"
)

// Options configure a Front.
type Options struct {
	Backend   Backend
	Admin     Administration
	Addresses map[Service]string // The address on which each service listens, for links.
	Tokens    *token.Store
	Passwords Passwords      // Verifies the accounts' passwords.
	Resellers []string       // Accounts that may act for the accounts they own.
	Hosts     []string       // More host names that browsers may use.
	Proxies   []netip.Prefix // Proxies with a trusted X-Forwarded-For.
	// Certified returns the names for which the server's certificate is valid.
	Certified   func() []string
	SelfSigned  bool       // The certificate is signed by the server itself.
	Config      string     // The path of the configuration, if commands need it; for snippets of code.
	Access      *AccessLog // Nil means no access log.
	Connections int        // Maximum over all services; 0 means DefaultConnections.
	HTTP2       bool       // Also offer HTTP/2, although cPanel offers only HTTP/1.1.
	Repair      bool       // Repair the malformed heads of PHP programs; see head.Repairer.
	// Intake limits the requests of signed-in users before their bodies are read; nil means no limit. Enter
	// counts work that is not a call, such as a page, as weight calls of the account; it returns an error if
	// the account makes too many calls.
	Intake *admission.Intake
	Enter  func(account string, weight int) (leave func(), err *protocol.Error)
	// Pace shares processor time fairly among users when the front itself filters and sorts lists. The front
	// calls pause repeatedly during this work, and end when it is done; pause waits until it is the user's
	// turn. If Pace is nil, the front never waits. See host.Options.
	Pace    func(user string) (pause func(context.Context) error, end func())
	Observe func(service Service, status int, took time.Duration)
	Log     *slog.Logger
}

// Front serves the requests of all three services. Its methods may be called concurrently.
type Front struct {
	o        Options
	throttle *login.Throttle
	sessions *login.Sessions
	origin   *http.CrossOriginProtection

	places     *admission.Pool          // Limits connections.
	proofs     *admission.Pool          // Limits concurrent sign-in attempts.
	handshakes *admission.FairSemaphore // Shares the time for TLS handshakes among clients.
	mailboxes  failureClock             // Measures verifications of mailbox passwords.
	local      *unixsock.LocalUsers     // Nil if the users of local programs can't be found.
	loginTime  time.Duration            // Maximum time for the body of a sign-in.
}

// Limits of sign-in attempts, which even unauthenticated clients can make. maxProofs is the maximum number of
// attempts at once, and eachProofs the maximum number of attempts at once from one client with the same user
// name. proofsGrace is the grace time of the pool of attempts; see admission.PoolOptions.
const (
	maxProofs    = 256
	eachProofs   = 32
	proofsGrace  = time.Second
	maxOfAccount = 2 // One account or client may use 1/maxOfAccount of places.
)

// New returns a Front with the given options.
func New(o Options) *Front {
	if o.Pace == nil {
		o.Pace = func(string) (func(context.Context) error, func()) { return nil, func() {} }
	}
	if o.Observe == nil {
		o.Observe = func(Service, int, time.Duration) {}
	}
	if o.Enter == nil {
		o.Enter = func(string, int) (func(), *protocol.Error) { return func() {}, nil }
	}
	if o.Connections <= 0 {
		o.Connections = DefaultConnections
	}
	local, err := unixsock.NewLocalUsers()
	if err != nil {
		o.Log.Warn("can't ask the kernel which user owns a connection; all programs on this machine count as a single client", "error", err.Error())
	}
	return &Front{
		o: o, local: local, loginTime: loginTime, throttle: login.NewThrottle(), sessions: login.NewSessions(), origin: http.NewCrossOriginProtection(),
		places: admission.NewPool(admission.PoolOptions{
			Total: int64(o.Connections), Each: int64(max(1, o.Connections/maxOfAccount)), Replace: true, Slack: connectionSlack, Grace: connectionGrace,
		}),
		// A TLS handshake gives up its slot while it waits for data from the client, but not while it writes
		// to the client. So clients that read slowly can occupy slots. Therefore there are more slots than
		// processors.
		handshakes: admission.NewFairSemaphore(admission.FairOptions{Slots: 64, Each: 8, Account: o.Connections, Queue: o.Connections}),
		proofs:     admission.NewPool(admission.PoolOptions{Total: maxProofs, Each: eachProofs, Grace: proofsGrace}),
	}
}

// EndAccount ends the sessions of all users of the account called name, including its mailbox users.
func (f *Front) EndAccount(name string) { f.sessions.EndAccount(name) }

// Sessions returns the number of sessions of browsers.
func (f *Front) Sessions() int { return f.sessions.Count() }

// Handler returns the handler for all requests to the given service.
func (f *Front) Handler(s Service) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		q := &exchange{front: f, service: s, r: r, w: &writer{ResponseWriter: w}, from: f.address(r)}
		defer func() {
			if p := recover(); p != nil {
				// Only the panic's type is logged, because its text may contain an argument of the call, such
				// as a password.
				f.o.Log.Error("panic in a request", "type", fmt.Sprintf("%T", p), "stack", stack())
				if q.w.status == 0 {
					q.fail(http.StatusInternalServerError, "The request failed inside the server.")
				}
			}
			took := time.Since(start)
			f.o.Observe(s, q.w.status, took)
			f.o.Access.write(q, start, took)
		}()
		secure(q.w.Header())
		q.conn, _ = r.Context().Value(connKey{}).(*conn)
		if q.conn == nil {
			q.conn = &conn{secure: r.TLS != nil} // A test's server has no Listener that could create a conn.
		}
		if q.client = q.conn.client; q.client == "" || f.isProxied(r, q.from) {
			q.client = clientOf(q.from)
		}
		q.serve()
	})
}

// secure sets the security headers that are part of every answer.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
}

// exchange is a request and its answer. Only the goroutine of the request uses it.
type exchange struct {
	front   *Front
	service Service
	r       *http.Request
	w       *writer
	conn    *conn
	from    netip.Addr
	client  string // The name under which the client is counted; see clientOf.
	path    request.Path
	unknown bool // The path was invalid; fail may change path.Kind afterwards.
	who     identity
	ran     string          // Module::function that was called, for the access log.
	batch   context.Context // The context of all calls of a batch, or nil; see scoped.
}

// writer records the status and the size of the answer for the access log.
type writer struct {
	http.ResponseWriter
	status int
	bytes  int
}

func (w *writer) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += n
	return n, err
}

// Unwrap returns the original writer, so that http.ResponseController can set deadlines.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// serve checks the request, authenticates its user, and passes the request to the handler for the kind of its
// path.
func (q *exchange) serve() {
	raw, _, _ := strings.Cut(q.r.RequestURI, "?")
	q.path = request.ParsePath(raw)
	q.unknown = q.path.Kind == request.Unknown
	if q.stranger() && !q.pace("client "+q.client) {
		return
	}
	switch {
	case !request.Method(q.r.Method):
		q.w.Header().Set("Allow", "GET, HEAD, POST")
		q.fail(http.StatusMethodNotAllowed, "The method must be GET or POST.")
		return
	case q.path.Kind == request.Unknown:
		q.fail(http.StatusNotFound, "There is nothing under this path.")
		return
	case q.foreign():
		q.fail(http.StatusForbidden, "Access denied: another site's page sent this request.")
		return
	}
	if q.public() {
		return
	}
	if !q.authenticate() || !q.known() {
		return
	}
	switch q.path.Kind {
	case request.Execute, request.CPanel:
		q.call()
	case request.Function:
		q.whm()
	case request.Logout:
		q.logout()
	default:
		q.page()
	}
}

// foreign reports whether a page of another site sent this request, according to the headers that the browser
// sets. Browsers add saved Basic passwords to such requests, as they add cookies. So the check applies to all
// requests, not only to those with a cookie.
func (q *exchange) foreign() bool {
	if q.front.origin.Check(q.r) != nil {
		return true
	}
	site := q.r.Header.Get("Sec-Fetch-Site")
	if site == "" || site == "same-origin" || site == "none" {
		return false
	}
	// Navigation from another site to a page, for example by a link, is allowed: such a request only shows
	// the page, in the same way as a bookmark.
	navigates := q.r.Header.Get("Sec-Fetch-Mode") == "navigate" && (q.path.Kind == request.Page || q.path.Kind == request.Login)
	return !navigates || q.r.Method != http.MethodGet
}

// hostAllowed reports whether the Host header contains an IP address or a name of this host: localhost, a
// configured name, or a name in the certificate. Another name could be an attacker's whose address was changed
// to this host's (DNS rebinding); with an IP address, that is not possible.
func (q *exchange) hostAllowed() bool {
	name := q.r.Host
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	for _, list := range [][]string{{"localhost"}, q.front.o.Hosts, q.front.o.Certified()} {
		if slices.ContainsFunc(list, func(allowed string) bool {
			if suffix, wild := strings.CutPrefix(strings.ToLower(allowed), "*"); wild {
				first, rest, _ := strings.Cut(name, ".")
				return first != "" && "."+rest == suffix
			}
			return strings.EqualFold(allowed, name)
		}) {
			return true
		}
	}
	return false
}

// address returns the IP address of the request's client. It is the address of the peer or, if the peer is a
// trusted proxy, the last address in X-Forwarded-For that is not a trusted proxy.
func (f *Front) address(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	address := peer.Addr().Unmap().WithZone("")
	if !f.isProxy(address) || f.isTenants(r) {
		return address
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		said, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		if address = said.Unmap().WithZone(""); !f.isProxy(address) {
			break
		}
	}
	return address
}

// isTenants reports whether the request was sent by a program on this machine that runs as the user of an
// account. Such a program is not trusted as a proxy, even if it connects from the address of a trusted proxy.
func (f *Front) isTenants(r *http.Request) bool {
	c, _ := r.Context().Value(connKey{}).(*conn)
	if c == nil {
		return false
	}
	uid, local := strings.CutPrefix(c.client, localUser)
	n, err := strconv.Atoi(uid)
	return c.client == localOthers || local && (err != nil || n >= isolate.MinTenantID)
}

// isProxied reports whether the request came through a trusted proxy; from is the client's address as
// returned by address.
func (f *Front) isProxied(r *http.Request, from netip.Addr) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && peer.Addr().Unmap().WithZone("") != from
}

func (f *Front) isProxy(address netip.Addr) bool {
	return slices.ContainsFunc(f.o.Proxies, func(p netip.Prefix) bool { return p.Contains(address) })
}
