package https

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/liveapid/liveapid/host/admission"
	"github.com/liveapid/liveapid/host/front/https/request"
)

// bodyTime is the maximum time in which a request's body must arrive. It includes the time that the request
// waits for permission to send its body.
const bodyTime = 10 * time.Second

// holder returns the name under which admission counts the signed-in user's connections and requests: the
// account's name, or for root "user root".
func (q *exchange) holder() string {
	if q.who.account.Name != "" {
		return q.who.account.Name
	}
	return "user " + q.who.user
}

// known assigns the connection to its signed-in user, and waits until the user may send a request. known
// answers the request with an error and returns false in two cases: the account already has its maximum
// number of connections and all of them are busy with a call, or the wait takes longer than bodyTime.
func (q *exchange) known() bool {
	if q.conn.place.Trust(q.holder()) == nil {
		return q.pace(q.holder())
	}
	q.w.Header().Set("Retry-After", "1")
	q.fail(http.StatusServiceUnavailable, "The account has as many connections as it may have. Close some, or try again later.")
	return false
}

// stranger reports whether the request is answered without looking at the Authorization header, or has none. A
// request with only a cookie counts as a stranger's.
func (q *exchange) stranger() bool {
	switch {
	case q.r.Header.Get("Authorization") == "": // A cookie proves nothing yet: anyone can send one.
		return true
	case !request.Method(q.r.Method), q.path.Kind == request.Unknown, q.path.Kind == request.Login, q.foreign():
		return true
	}
	return q.path.Kind == request.Page && strings.HasPrefix(q.path.Page, "/assets/")
}

// pace waits until admission allows the given holder to send a request; see holder. If the wait exceeds
// bodyTime, pace answers the request with an error and returns false.
func (q *exchange) pace(holder string) bool {
	ctx, cancel := context.WithTimeout(q.r.Context(), bodyTime)
	defer cancel()
	if _, err := q.front.o.Intake.Admit(ctx, holder, 0, nil); err == nil {
		return true
	}
	q.w.Header().Set("Retry-After", "1")
	q.fail(http.StatusServiceUnavailable, "You send more requests than the server accepts. Nothing was changed; try again later.")
	return false
}

// read reads the request's parameters. Admission counts their memory for the signed-in user until release is
// called. The body must arrive within bodyTime. Until the body has arrived, admission may close the
// connection to make room for another client. From then until release is called, the connection is protected.
func (q *exchange) read() (_ request.Values, release func(), _ *request.Error) {
	start := time.Now()
	lease, err := q.reserve(start)
	if err != nil {
		q.w.Header().Set("Retry-After", "1")
		return nil, func() {}, &request.Error{Status: http.StatusServiceUnavailable, Message: "The server has no room for the request at the moment. Nothing was changed; try again later."}
	}
	control := http.NewResponseController(q.w)
	_ = control.SetReadDeadline(start.Add(bodyTime))
	values, problem := request.Read(q.r)
	// After the body, net/http continues to read from the connection, to detect a disconnect. If bodyTime
	// remained the read deadline, net/http would treat its expiry as a broken connection and cancel the
	// request. So the deadline is extended.
	_ = control.SetReadDeadline(start.Add(pageTime))
	lease.Pin()
	q.conn.place.Pin()
	return values, func() {
		q.conn.place.Unpin()
		lease.Release()
	}, problem
}

// reserve waits until the signed-in user may send the request's body, and reserves memory of the size of the
// body. If the size is unknown or the body is compressed, it reserves request.MaxBody.
func (q *exchange) reserve(start time.Time) (*admission.Lease, error) {
	size := q.r.ContentLength
	if size < 0 || size > request.MaxBody || q.r.Header.Get("Content-Encoding") != "" {
		size = request.MaxBody
	}
	ctx, cancel := context.WithDeadline(q.r.Context(), start.Add(bodyTime))
	defer cancel()
	return q.front.o.Intake.Reserve(ctx, q.holder(), size, q.conn.cut)
}

// cut closes the connection. Admission calls it to revoke the connection.
func (c *conn) cut() {
	if c.Conn != nil {
		_ = c.Conn.Close()
	}
}

// descriptionWeight is the number of calls that a page with the descriptions of all functions counts as,
// because it takes more time than most calls.
const descriptionWeight = 10

// describes counts the request for a page of descriptions as descriptionWeight calls of the signed-in user.
// If the user makes too many calls, describes answers the request with an error and returns false. Otherwise
// the caller must call leave when the page has been sent.
func (q *exchange) describes() (leave func(), ok bool) {
	leave, err := q.front.o.Enter(q.holder(), descriptionWeight)
	if err != nil {
		q.w.Header().Set("Retry-After", "1")
		q.fail(http.StatusServiceUnavailable, err.Message)
		return nil, false
	}
	return leave, true
}
