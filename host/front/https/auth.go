package https

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/liveapid/liveapid/host/front/https/login"
	"github.com/liveapid/liveapid/host/front/https/request"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/host/identity/token"
	"github.com/liveapid/liveapid/host/isolate"
	"github.com/liveapid/liveapid/protocol"
)

// root is the operator's name in WHM.
const root = "root"

// identity is the authenticated user of a request.
type identity struct {
	user     string           // An account, root, or a mailbox's address.
	account  protocol.Account // The user's account; empty for root.
	role     protocol.Role    // RoleAdmin for root; a reseller has RoleAccount.
	features []string         // The features of a limited token; nil means no limit.
	by       string           // What authenticated the user, for the log.
	session  *login.Session   // The browser's session; nil if the request itself has credentials.
}

// proofTime is the maximum time that a sign-in attempt waits for its turn while the maximum number of other
// attempts is being verified.
const proofTime = 10 * time.Second

// Errors of authentication. errDenied and errNoMailbox mean that the credentials are wrong. The other errors
// mean that the credentials could not be verified.
var (
	errDenied = errors.New("access denied")
	errClosed = errors.New("can't verify credentials; the request is rejected")
	errGone   = errors.New("the caller can't be identified at the moment") // The client disconnected, or an attempt got no turn in time.
	// errNoMailbox wraps errDenied. It means that no mailbox has the given address.
	errNoMailbox = fmt.Errorf("%w: no such mailbox", errDenied)
)

// authenticate identifies the caller and sets q.who. If it can't, it answers the request and returns false.
func (q *exchange) authenticate() bool {
	start := time.Now()
	header := q.r.Header.Get("Authorization")
	if len(q.r.Header.Values("Authorization")) > 1 {
		q.deny(http.StatusBadRequest, "Access denied: the request has several Authorization headers.")
		return false
	}
	if header == "" {
		return q.bySession()
	}
	scheme, credentials, _ := strings.Cut(header, " ")
	name, secret, err := split(scheme, strings.TrimSpace(credentials))
	if err != nil {
		q.denyLate(start, 0, "Access denied: the Authorization header can't be read.")
		return false
	}
	if want := q.scheme(scheme); want != "" {
		q.denyLate(start, 0, "Access denied: this port accepts "+want+".")
		return false
	}
	who, wait, err := q.prove(strings.ToLower(scheme), name, protocol.NewSecret(secret))
	switch {
	case errors.Is(err, errDenied):
		q.denyLate(start, wait, "Access denied")
		return false
	case errors.Is(err, errGone):
		q.w.Header().Set("Retry-After", "5")
		q.refuse(http.StatusServiceUnavailable, "Your identity can't be verified at the moment. Try again later.")
		return false
	case err != nil:
		q.closed(err)
		return false
	}
	q.who = who
	return true
}

// split splits the credentials of an Authorization header into the name and the secret. scheme is the
// header's scheme; Basic credentials are base64-decoded first.
func split(scheme, credentials string) (name, secret string, err error) {
	if strings.EqualFold(scheme, "basic") {
		raw, err := base64.StdEncoding.DecodeString(credentials)
		if err != nil {
			return "", "", errDenied
		}
		credentials = string(raw)
	}
	name, secret, ok := strings.Cut(credentials, ":")
	if !ok || name == "" || secret == "" {
		return "", "", errDenied
	}
	return name, secret, nil
}

// scheme returns "" if the port accepts the given Authorization scheme. Otherwise it returns a description of
// the schemes that the port accepts, for an error message.
func (q *exchange) scheme(scheme string) string {
	switch {
	case strings.EqualFold(scheme, "basic"):
		return ""
	case q.service != Webmail && strings.EqualFold(scheme, string(q.service)):
		return ""
	case q.service == CPanel:
		return "“Authorization: cpanel USER:TOKEN” or Basic"
	case q.service == WHM:
		return "“Authorization: whm USER:TOKEN” or Basic"
	}
	return "Basic, with a mailbox's address and password"
}

// prove verifies a name with a token or a password. If err is errDenied, wait is the time after which the
// client may try again; 0 means at once.
func (q *exchange) prove(scheme, name string, secret protocol.Secret) (who identity, wait time.Duration, err error) {
	if scheme != "basic" {
		// Tokens are not throttled. Nobody can guess their 260 bits, and a program with a token must not wait
		// because somebody else guesses passwords.
		who, err = q.byToken(name, secret)
		if errors.Is(err, errDenied) {
			q.front.o.Log.Info("token rejected", "service", string(q.service), "user", q.shown(name), "from", q.from.String())
		}
		return who, 0, err
	}
	ctx, cancel := context.WithCancel(q.r.Context())
	defer cancel()
	turn, gaveUp := context.WithTimeout(ctx, proofTime)
	defer gaveUp()
	proof, err := q.front.proofs.Wait(turn, q.client+" "+login.Canonical(name), 1, cancel)
	if err != nil {
		return who, 0, errGone
	}
	defer proof.Release()
	tries := login.Who{Service: string(q.service), Name: name, From: q.triesFrom()}
	if q.service != Webmail {
		_, unknown := q.userOf(name)
		tries.Unknown = unknown != nil
	}
	wait, done, err := q.front.throttle.Try(ctx, tries)
	switch {
	case err != nil:
		return who, 0, errGone
	case wait > 0:
		return who, q.front.throttle.Hint(tries), errDenied
	}
	outcome := login.Undecided
	defer func() { done(outcome) }()
	if q.service == Webmail {
		who, err = q.byMailbox(ctx, name, secret)
	} else {
		who, err = q.byPassword(ctx, name, secret)
	}
	switch {
	case err == nil:
		outcome = login.Succeeded
	case errors.Is(err, errDenied):
		outcome = login.Failed
		if tries.Unknown = tries.Unknown || errors.Is(err, errNoMailbox); tries.Unknown {
			outcome = login.NoSuchName
		}
		done(outcome)
		done = func(login.Outcome) {}
		q.front.o.Log.Info("sign-in rejected", "service", tries.Service, "user", q.shown(name), "from", q.from.String())
		return who, q.front.throttle.Hint(tries), err
	}
	return who, 0, err
}

// triesFrom returns the client under which the throttle counts a sign-in attempt. Programs of this machine
// that run as no account's user, such as a webmail program, sign in many people; so their attempts are marked
// as Many.
func (q *exchange) triesFrom() login.Client {
	uid, local := strings.CutPrefix(q.client, localUser)
	n, err := strconv.Atoi(uid)
	return login.Client{Key: q.client, Many: q.client == loopback || local && err == nil && n < isolate.MinTenantID}
}

// shown returns the given user name as it is written to the log. If no such user exists, it returns a
// placeholder, because people sometimes type a password into the name field, and passwords must not be
// logged. For the Webmail service, the domain of the name must exist, but not the mailbox.
func (q *exchange) shown(name string) string {
	if _, err := q.userOf(name); err == nil {
		return protocol.Clip(name, maxLogged)
	}
	_, domain, ok := strings.Cut(name, "@")
	if ok && q.service == Webmail && q.front.o.Backend.Owned(account.ASCIIDomain(strings.TrimSpace(domain))) {
		return protocol.Clip(name, maxLogged)
	}
	return "[unknown]"
}

// userOf returns the identity of the account or root called name, without verifying a password or a token. It
// returns errDenied if this user may not sign in on the port of the request.
func (q *exchange) userOf(name string) (identity, error) {
	if q.service == WHM && name == root {
		return identity{user: root, role: protocol.RoleAdmin}, nil
	}
	if name == root || !account.ValidName(name) {
		return identity{}, errDenied
	}
	a, err := q.front.o.Backend.Account(name)
	if err != nil || q.service == WHM && !slices.Contains(q.front.o.Resellers, name) {
		return identity{}, errDenied
	}
	return identity{user: name, account: a, role: protocol.RoleAccount}, nil
}

func (q *exchange) byToken(name string, secret protocol.Secret) (identity, error) {
	t, err := q.front.o.Tokens.Find(secret.Reveal(), name, token.Service(q.service))
	if err != nil && !errors.Is(err, token.ErrNone) {
		return identity{}, errors.Join(errClosed, err)
	}
	who, userErr := q.userOf(name)
	if err != nil || userErr != nil || who.account.UID != t.UID && name != root {
		return identity{}, errDenied
	}
	who.features, who.by = t.Features, "token "+t.Name
	return who, nil
}

func (q *exchange) byPassword(ctx context.Context, name string, secret protocol.Secret) (identity, error) {
	who, userErr := q.userOf(name)
	asked := name
	if userErr != nil {
		asked = "" // No such user; "" makes Verify take as long as usual.
	}
	ok, err := q.front.o.Passwords.Verify(ctx, asked, secret)
	switch { // A definite result counts even if the client disconnected.
	case err != nil && ctx.Err() != nil:
		return identity{}, errGone
	case err != nil:
		return identity{}, errors.Join(errClosed, err)
	case !ok || userErr != nil:
		return identity{}, errDenied
	}
	who.by = "password"
	return who, nil
}

func (q *exchange) byMailbox(ctx context.Context, name string, secret protocol.Secret) (identity, error) {
	address := strings.ToLower(strings.TrimSpace(name))
	start := time.Now()
	a, verdict, err := q.front.o.Backend.VerifyMailbox(ctx, address, secret)
	q.front.mailboxes.observe(time.Since(start))
	switch {
	case err != nil:
		// The account's worker does not respond, so only this account's mailboxes are affected.
		q.front.o.Log.Warn("can't verify a mailbox's password", "from", q.from.String(), "error", err.Error())
		return identity{}, errGone
	case verdict == NoSuchMailbox:
		return identity{}, errNoMailbox
	case verdict != RightPassword:
		return identity{}, errDenied
	}
	return identity{user: address, account: a, role: protocol.RoleMailbox, by: "password"}, nil
}

// cookieName returns the name of the service's session cookie, which is the same as cPanel's. With TLS the
// name starts with __Host-, so that other hosts of the same domain can't set the cookie.
func (q *exchange) cookieName() string {
	name := map[Service]string{CPanel: "cpsession", WHM: "whostmgrsession", Webmail: "webmailsession"}[q.service]
	if q.conn.secure {
		return "__Host-" + name
	}
	return name
}

// stamp returns a value that changes whenever the user's password changes; see login.Session. For mailboxes
// it returns "", because the host does not know their passwords. This is safe, because a mailbox user's
// session can't change anything without the current password; see proveAgain.
func (q *exchange) stamp(user string) string {
	if q.service == Webmail {
		return ""
	}
	stamp, err := q.front.o.Passwords.Stamp(user)
	if err != nil {
		return "unknown"
	}
	return stamp
}

// sessionOf returns the identity for the request's session cookie. It ends the session if the user's password
// or account has changed since the sign-in.
func (q *exchange) sessionOf() (identity, bool) {
	cookies := q.r.CookiesNamed(q.cookieName())
	if len(cookies) != 1 || !q.hostAllowed() {
		return identity{}, false
	}
	s, ok := q.front.sessions.Find(cookies[0].Value, string(q.service), q.client)
	if !ok {
		return identity{}, false
	}
	if q.stamp(s.User) != s.Stamp {
		q.front.sessions.End(s)
		return identity{}, false
	}
	who := identity{user: s.User, role: protocol.RoleAdmin, session: &s, by: "session"}
	if s.Account != "" {
		a, err := q.front.o.Backend.Account(s.Account)
		if err != nil || a.UID != s.UID {
			q.front.sessions.End(s)
			return identity{}, false
		}
		who.account, who.role = a, protocol.RoleAccount
		if q.service == Webmail {
			who.role = protocol.RoleMailbox
		}
	}
	return who, true
}

// bySession authenticates a browser by its session. The request must contain the session's cookie, and the
// session's token in the path. Otherwise bySession answers the request, with a redirect to the sign-in page
// if a page was requested, and returns false.
func (q *exchange) bySession() bool {
	who, ok := q.sessionOf()
	if ok && who.session.Has(q.path.Session) {
		q.who = who
		return true
	}
	if ok && q.path.Session != "" {
		q.front.sessions.Wrong(*who.session)
	}
	if (q.path.Kind == request.Page || q.path.Kind == request.Logout) && !strings.HasSuffix(q.path.Page, ".json") {
		http.Redirect(q.w, q.r, "/login", http.StatusSeeOther)
		return false
	}
	q.deny(http.StatusUnauthorized, "Access denied")
	return false
}

// denyLate answers a failed sign-in attempt with status 401. It delays the answer, so that the time of the
// answer does not reveal why the attempt failed; see pause. start is when the attempt began. If wait is
// greater than 0, denyLate sends it to the client in the header Retry-After.
func (q *exchange) denyLate(start time.Time, wait time.Duration, message string) {
	if !q.pace("client " + q.client) {
		return
	}
	q.pause(start)
	if wait > 0 {
		q.w.Header().Set("Retry-After", seconds(wait))
	}
	q.deny(http.StatusUnauthorized, message)
}

// seconds returns d in whole seconds, rounded up, for the Retry-After header.
func seconds(d time.Duration) string { return strconv.Itoa(int((d + time.Second - 1) / time.Second)) }

// isDenied reports whether err means that the name or the secret is wrong. It returns false if they could not
// be verified.
func isDenied(err error) bool { return errors.Is(err, errDenied) }

// pause waits until the time since start is a multiple of a step. The step is longer than the slowest
// verification, so all failures take equally long; see failtime.go.
func (q *exchange) pause(start time.Time) {
	step := q.front.mailboxes.step()
	if q.service != Webmail {
		step = stepFor(q.front.o.Passwords.Longest())
	}
	timer := time.NewTimer(untilNext(time.Since(start), step))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-q.r.Context().Done():
	}
}

// deny answers a request that has no valid credentials.
func (q *exchange) deny(status int, message string) {
	// With WWW-Authenticate, a browser would open its own sign-in dialog and then send the password with
	// every request, without a session. So requests of browsers are answered without this header.
	if status == http.StatusUnauthorized && q.r.Header.Get("Sec-Fetch-Mode") == "" && q.path.Session == "" {
		q.w.Header().Set("WWW-Authenticate", `Basic realm="liveapid", charset="UTF-8"`)
	}
	q.refuse(status, message)
}

// closed answers a request if its credentials could not be verified because of an error in the server, and
// logs err.
func (q *exchange) closed(err error) {
	q.front.o.Log.Error("can't verify credentials; the request is rejected", "error", err.Error())
	q.w.Header().Set("Retry-After", "10")
	q.refuse(http.StatusServiceUnavailable, "The server can't verify your identity at the moment. Try again later, or tell the server's operator.")
}
