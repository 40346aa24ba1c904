// Package https is the host's HTTPS front: the WHM and cPanel APIs as their clients call them, and
// the pages for people. Every request passes one gate, which says who it is, before anything is
// routed; every call ends in the host's one door. It knows no plugin and opens no home.
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

// Backend is the host behind the front.
type Backend interface {
	// Do runs a call.
	Do(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result
	// Account returns an account that may act now, or an error that says why it may not.
	Account(name string) (protocol.Account, error)
	// Accounts returns all, suspended ones too.
	Accounts() []protocol.Account
	// Modules describes what an account can call.
	Modules(ctx context.Context, account protocol.Account) (all []protocol.Module, missing []string)
	// VerifyMailbox returns whose account a mailbox is and whether a password is its own. The error is for
	// the log.
	VerifyMailbox(ctx context.Context, address string, password protocol.Secret) (protocol.Account, Verdict, error)
	// Owned reports whether a domain is one of an account's.
	Owned(domain string) bool
	// Tenant reports whether a user of this machine has an account.
	Tenant(uid int) bool
}

// Verdict is what came of verifying a mailbox's password.
type Verdict int

// The verdicts.
const (
	NoSuchMailbox Verdict = iota
	WrongPassword
	RightPassword
)

// Passwords verifies the passwords of accounts and of root.
type Passwords interface {
	// Verify tells whether a password is a name's; the error, that nobody can be told from another
	// one. "" is nobody, and takes as long.
	Verify(ctx context.Context, name string, password protocol.Secret) (bool, error)
	// Stamp tells one password of a name from the next; "" where there is none, or it is not known.
	Stamp(name string) (string, error)
	// Longest is how long Verify takes at most, without waiting for others, by all that is known.
	Longest() time.Duration
}

// Service is one of the three that cPanel has on ports of their own.
type Service string

// The services.
const (
	CPanel  Service = "cpanel"
	WHM     Service = "whm"
	Webmail Service = "webmail"
)

// Options are a front's parts.
type Options struct {
	Backend   Backend
	Tokens    *token.Store
	Passwords Passwords      // Of accounts.
	Resellers []string       // Accounts that may speak for those they own.
	Hosts     []string       // Further names under which browsers may come.
	Proxies   []netip.Prefix // Whose X-Forwarded-For is believed.
	// Certified returns the names that the certificate is for.
	Certified   func() []string
	Access      *AccessLog // Nil: none.
	Connections int        // At once, of all services; 0 means DefaultConnections.
	HTTP2       bool       // Offer HTTP/2, too; cPanel's own server speaks HTTP/1.1.
	// Intake bounds the requests of those who have signed in, before their bodies are read; nil sets no
	// bound. Enter counts work that is no call among an account's, as so many of them.
	Intake *admission.Intake
	Enter  func(account string, weight int) (leave func(), err *protocol.Error)
	// Pace shares the processor out among those who have lists filtered and sorted here; nil computes at
	// once. See host.Options.
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
	proofs     *admission.Pool          // Of those that try a password.
	handshakes *admission.FairSemaphore // Of TLS, by client.
	mailboxes  failureClock             // Of verifying mailboxes' passwords.
	local      *unixsock.LocalUsers     // Nil if this machine's users can't be told apart.
	loginTime  time.Duration            // How long the body of somebody who signs in may take.
}

// The bounds of tries of passwords, which are strangers': in all, and of one client with one name.
const (
	maxProofs    = 256
	eachProofs   = 32
	proofsGrace  = time.Second
	maxOfAccount = 2 // One part in so many of the connections is what one client or account may have.
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
		o.Log.Warn("the programs of this machine count as one client of the HTTPS API", "error", err.Error())
	}
	return &Front{
		o: o, local: local, loginTime: loginTime, throttle: login.NewThrottle(), sessions: login.NewSessions(), origin: http.NewCrossOriginProtection(),
		places: admission.NewPool(admission.PoolOptions{
			Total: int64(o.Connections), Each: int64(max(1, o.Connections/maxOfAccount)), Replace: true, Slack: connectionSlack, Grace: connectionGrace,
		}),
		// A handshake that waits for its client holds a slot, so there are more than processors.
		handshakes: admission.NewFairSemaphore(admission.FairOptions{Slots: 64, Each: 8, Account: o.Connections, Queue: o.Connections}),
		proofs:     admission.NewPool(admission.PoolOptions{Total: maxProofs, Each: eachProofs, Grace: proofsGrace}),
	}
}

// EndAccount signs out everybody of an account.
func (f *Front) EndAccount(name string) { f.sessions.EndAccount(name) }

// Sessions returns how many are signed in.
func (f *Front) Sessions() int { return f.sessions.Count() }

// Handler answers the requests to one service.
func (f *Front) Handler(s Service) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		q := &exchange{front: f, service: s, r: r, w: &writer{ResponseWriter: w}, from: f.address(r)}
		defer func() {
			if p := recover(); p != nil {
				// The type alone: a panic's text may hold an argument.
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
			q.conn = &conn{secure: r.TLS != nil} // A test's own server.
		}
		if q.client = q.conn.client; q.client == "" || f.isProxied(r, q.from) {
			q.client = clientOf(q.from)
		}
		q.serve()
	})
}

// secure sets what every answer says to browsers.
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

// exchange is one request and its response.
type exchange struct {
	front   *Front
	service Service
	r       *http.Request
	w       *writer
	conn    *conn
	from    netip.Addr
	client  string // Under which the client is counted.
	path    request.Path
	unknown bool // The path is none that could be ours.
	who     identity
	ran     string // Module::function, for the access log.
}

// writer knows what was answered.
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

// serve lets a request through the gate, and routes it.
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

// foreign tells whether a browser says that another site's page sends this request. Passwords that
// browsers keep for Basic go with such requests as cookies do, so it holds for all.
func (q *exchange) foreign() bool {
	if q.front.origin.Check(q.r) != nil {
		return true
	}
	site := q.r.Header.Get("Sec-Fetch-Site")
	if site == "" || site == "same-origin" || site == "none" {
		return false
	}
	// A link to a page is no harm; it shows what a bookmark would.
	navigates := q.r.Header.Get("Sec-Fetch-Mode") == "navigate" && (q.path.Kind == request.Page || q.path.Kind == request.Login)
	return !navigates || q.r.Method != http.MethodGet
}

// hostAllowed tells whether a browser came by a name that is ours.
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

// address returns where a request comes from: its peer, or what a proxy that is ours says.
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

// isTenants reports whether a request comes from a program of an account of this machine, which is no
// proxy, whatever address it has.
func (f *Front) isTenants(r *http.Request) bool {
	c, _ := r.Context().Value(connKey{}).(*conn)
	if c == nil {
		return false
	}
	uid, local := strings.CutPrefix(c.client, localUser)
	n, err := strconv.Atoi(uid)
	return c.client == localOthers || local && (err != nil || n >= isolate.MinTenantID)
}

// isProxied reports whether a request comes by a proxy that said for whom.
func (f *Front) isProxied(r *http.Request, from netip.Addr) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && peer.Addr().Unmap().WithZone("") != from
}

func (f *Front) isProxy(address netip.Addr) bool {
	return slices.ContainsFunc(f.o.Proxies, func(p netip.Prefix) bool { return p.Contains(address) })
}
