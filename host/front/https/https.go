// Package https is the host's HTTPS front door: the WHM and cPanel APIs as their clients call them, and the
// pages for people. Every request is authenticated before it is routed, and every call goes to the Backend.
// The package knows no plugin and opens no home.
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

// Backend is the host behind the front door.
type Backend interface {
	// Do runs a call.
	Do(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result
	// Account returns an account that may act now, or an error that says why it may not.
	Account(name string) (protocol.Account, error)
	// Accounts returns all accounts, including suspended accounts.
	Accounts() []protocol.Account
	// Modules returns the modules that an account can call, and the names of modules that can't be described.
	Modules(ctx context.Context, account protocol.Account) (all []protocol.Module, missing []string)
	// VerifyMailbox returns the account of a mailbox, and whether the password is right. The error is for the
	// log.
	VerifyMailbox(ctx context.Context, address string, password protocol.Secret) (protocol.Account, Verdict, error)
	// Owned reports whether a domain belongs to an account.
	Owned(domain string) bool
	// Tenant reports whether a user of this machine has an account.
	Tenant(uid int) bool
}

// Verdict is the result of verifying a mailbox's password.
type Verdict int

// The verdicts.
const (
	NoSuchMailbox Verdict = iota
	WrongPassword
	RightPassword
)

// Passwords verifies the passwords of accounts and of root.
type Passwords interface {
	// Verify reports whether a password belongs to a name. It returns an error if it can't verify any
	// password. The name "" has no password, but verifying takes as long.
	Verify(ctx context.Context, name string, password protocol.Secret) (bool, error)
	// Stamp returns a value that changes with a name's password; "" if there is no password, or if it is not
	// known.
	Stamp(name string) (string, error)
	// Longest returns the longest time of Verify that can be foreseen, without waiting for others.
	Longest() time.Duration
}

// Service is one of the three services that cPanel has on ports of their own.
type Service string

// The services.
const (
	CPanel  Service = "cpanel"
	WHM     Service = "whm"
	Webmail Service = "webmail"
)

// Options are the parts of a Front.
type Options struct {
	Backend   Backend
	Tokens    *token.Store
	Passwords Passwords      // Verifies the accounts' passwords.
	Resellers []string       // Accounts that may act for the accounts that they own.
	Hosts     []string       // Further names by which browsers may reach the host.
	Proxies   []netip.Prefix // Proxies with a trusted X-Forwarded-For.
	// Certified returns the names of the certificate.
	Certified   func() []string
	Access      *AccessLog // Nil if there is no access log.
	Connections int        // At once, of all services; 0 means DefaultConnections.
	HTTP2       bool       // Offer HTTP/2, too. cPanel's own server speaks HTTP/1.1.
	// Intake limits the requests of signed-in users before their bodies are read; nil means no limit. Enter
	// counts work that is not a call as that many calls of an account.
	Intake *admission.Intake
	Enter  func(account string, weight int) (leave func(), err *protocol.Error)
	// Pace shares processor time among the users with lists to filter and sort here; if it is nil,
	// nothing waits. See host.Options.
	Pace    func(user string) (pause func(context.Context) error, end func())
	Observe func(service Service, status int, took time.Duration)
	Log     *slog.Logger
}

// Front answers the requests of all services.
type Front struct {
	o        Options
	throttle *login.Throttle
	sessions *login.Sessions
	origin   *http.CrossOriginProtection

	places     *admission.Pool          // Of connections.
	proofs     *admission.Pool          // Of sign-in attempts.
	handshakes *admission.FairSemaphore // Of TLS, by client.
	mailboxes  failureClock             // Measures the verification of mailbox passwords.
	local      *unixsock.LocalUsers     // Nil if the users of this machine can't be told apart.
	loginTime  time.Duration            // How long the body of a sign-in may take.
}

// The limits of sign-in attempts, which strangers make: in total, and of a client with the same name.
const (
	maxProofs    = 256
	eachProofs   = 32
	proofsGrace  = time.Second
	maxOfAccount = 2 // An account or a client may have this fraction (1/n) of all connections.
)

// New returns a front.
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
		o.Log.Warn("can't ask the kernel for users of connections; all programs of this machine count as a single client", "error", err.Error())
	}
	return &Front{
		o: o, local: local, loginTime: loginTime, throttle: login.NewThrottle(), sessions: login.NewSessions(), origin: http.NewCrossOriginProtection(),
		places: admission.NewPool(admission.PoolOptions{
			Total: int64(o.Connections), Each: int64(max(1, o.Connections/maxOfAccount)), Replace: true, Slack: connectionSlack, Grace: connectionGrace,
		}),
		// A handshake that waits for its client holds a slot, so there are more slots than processors.
		handshakes: admission.NewFairSemaphore(admission.FairOptions{Slots: 64, Each: 8, Account: o.Connections, Queue: o.Connections}),
		proofs:     admission.NewPool(admission.PoolOptions{Total: maxProofs, Each: eachProofs, Grace: proofsGrace}),
	}
}

// EndAccount signs out all users of an account.
func (f *Front) EndAccount(name string) { f.sessions.EndAccount(name) }

// Sessions returns the number of signed-in browsers.
func (f *Front) Sessions() int { return f.sessions.Count() }

// Handler answers the requests to a service.
func (f *Front) Handler(s Service) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		q := &exchange{front: f, service: s, r: r, w: &writer{ResponseWriter: w}, from: f.address(r)}
		defer func() {
			if p := recover(); p != nil {
				// Only the type of the panic is logged, because its text may contain an argument.
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
			q.conn = &conn{secure: r.TLS != nil} // A server of a test.
		}
		if q.client = q.conn.client; q.client == "" || f.isProxied(r, q.from) {
			q.client = clientOf(q.from)
		}
		q.serve()
	})
}

// secure sets the security headers that every answer has.
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

// exchange is a request and its response.
type exchange struct {
	front   *Front
	service Service
	r       *http.Request
	w       *writer
	conn    *conn
	from    netip.Addr
	client  string // The name under which the client is counted.
	path    request.Path
	unknown bool // The path can't be valid.
	who     identity
	ran     string // Module::function, for the access log.
}

// writer records the status and the size of the answer.
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

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// serve authenticates a request and routes it.
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

// foreign reports whether a browser says that another site's page sent this request. Browsers add saved Basic
// passwords to such requests as they add cookies, so this check applies to all requests.
func (q *exchange) foreign() bool {
	if q.front.origin.Check(q.r) != nil {
		return true
	}
	site := q.r.Header.Get("Sec-Fetch-Site")
	if site == "" || site == "same-origin" || site == "none" {
		return false
	}
	// A link to a page does no harm; it shows what a bookmark would show.
	navigates := q.r.Header.Get("Sec-Fetch-Mode") == "navigate" && (q.path.Kind == request.Page || q.path.Kind == request.Login)
	return !navigates || q.r.Method != http.MethodGet
}

// hostAllowed reports whether a browser used a name of this host.
func (q *exchange) hostAllowed() bool {
	name := q.r.Host
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	if address, err := netip.ParseAddr(name); err == nil {
		local, _ := q.r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if tcp, ok := local.(*net.TCPAddr); ok && tcp.AddrPort().Addr().Unmap() == address.Unmap() {
			return true
		}
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

// address returns the address of a request's client: its peer, or the address that a trusted proxy names.
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

// isTenants reports whether a program of an account on this machine sent the request. Such a program is no
// proxy, even if its address is a proxy's.
func (f *Front) isTenants(r *http.Request) bool {
	c, _ := r.Context().Value(connKey{}).(*conn)
	if c == nil {
		return false
	}
	uid, local := strings.CutPrefix(c.client, localUser)
	n, err := strconv.Atoi(uid)
	return c.client == localOthers || local && (err != nil || n >= isolate.MinTenantID)
}

// isProxied reports whether a request came through a proxy that named its client.
func (f *Front) isProxied(r *http.Request, from netip.Addr) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && peer.Addr().Unmap().WithZone("") != from
}

func (f *Front) isProxy(address netip.Addr) bool {
	return slices.ContainsFunc(f.o.Proxies, func(p netip.Prefix) bool { return p.Contains(address) })
}
