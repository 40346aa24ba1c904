package https

import (
	"context"
	"net/http"
	"time"

	"github.com/liveapid/liveapid/host/admission"
	"github.com/liveapid/liveapid/host/front/https/request"
)

// bodyTime is how long a body may take to arrive, including the wait for its turn.
const bodyTime = 10 * time.Second

// holder returns the name under which a signed-in user is counted.
func (q *exchange) holder() string {
	if q.who.account.Name != "" {
		return q.who.account.Name
	}
	return "user " + q.who.user
}

// known counts the connection for its signed-in user. If the account has all its connections and
// each of them has a call in flight, known answers the request and returns false.
func (q *exchange) known() bool {
	if q.conn.place.Trust(q.holder()) == nil {
		return q.pace(q.holder())
	}
	q.w.Header().Set("Retry-After", "1")
	q.fail(http.StatusServiceUnavailable, "The account has as many connections as it may have. Close some, or try again later.")
	return false
}

// stranger reports whether a request comes without any credentials.
func (q *exchange) stranger() bool {
	return q.r.Header.Get("Authorization") == "" // Anyone can send a cookie.
}

// pace waits until a holder may send a request. If that takes too long, it answers the request and returns
// false.
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

// read reads the request's parameters. They are counted until release is called. The body must arrive within
// bodyTime, and until then the connection may be revoked: only a call keeps its connection.
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
	// net/http goes on reading, and would take the deadline for a broken connection.
	_ = control.SetReadDeadline(start.Add(pageTime))
	lease.Pin()
	q.conn.place.Pin()
	return values, func() {
		q.conn.place.Unpin()
		lease.Release()
	}, problem
}

// reserve waits until the account may send the request's body.
func (q *exchange) reserve(start time.Time) (*admission.Lease, error) {
	size := q.r.ContentLength
	if size < 0 || size > request.MaxBody || q.r.Header.Get("Content-Encoding") != "" {
		size = request.MaxBody
	}
	ctx, cancel := context.WithDeadline(q.r.Context(), start.Add(bodyTime))
	defer cancel()
	return q.front.o.Intake.Reserve(ctx, q.holder(), size, q.conn.cut)
}

// cut closes the connection.
func (c *conn) cut() {
	if c.Conn != nil {
		_ = c.Conn.Close()
	}
}

// descriptionWeight is the number of calls for which a page with descriptions of all functions counts.
const descriptionWeight = 10

// describes counts a page of descriptions as calls of the account. If the account makes too many, it answers
// the request and returns false.
func (q *exchange) describes() (leave func(), ok bool) {
	leave, err := q.front.o.Enter(q.holder(), descriptionWeight)
	if err != nil {
		q.w.Header().Set("Retry-After", "1")
		q.fail(http.StatusServiceUnavailable, err.Message)
		return nil, false
	}
	return leave, true
}
