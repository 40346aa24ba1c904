package https

import (
	"context"
	"net/http"
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

// known assigns the connection to its signed-in user, and waits until the user may send a request. If the
// account has its maximum number of connections and all of them have a call in flight, or if the wait takes
// too long, known answers the request and returns false.
func (q *exchange) known() bool {
	if q.conn.place.Trust(q.holder()) == nil {
		return q.pace(q.holder())
	}
	q.w.Header().Set("Retry-After", "1")
	q.fail(http.StatusServiceUnavailable, "The account has as many connections as it may have. Close some, or try again later.")
	return false
}

// stranger reports whether the request has no Authorization header. A request with only a cookie counts as a
// stranger's.
func (q *exchange) stranger() bool {
	return q.r.Header.Get("Authorization") == "" // A cookie proves nothing yet: anyone can send one.
}

// pace waits until the given holder may send a request. If the wait exceeds bodyTime, pace answers the
// request and returns false.
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

// read reads the request's parameters. Their memory is counted for the account until release is called. The
// body must arrive within bodyTime. Until the body has arrived, admission may revoke the connection for
// another client: only a connection with a running call is protected.
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
	// net/http keeps reading from the connection after the body. When the old deadline expired, it would
	// treat the connection as broken and cancel the request.
	_ = control.SetReadDeadline(start.Add(pageTime))
	lease.Pin()
	q.conn.place.Pin()
	return values, func() {
		q.conn.place.Unpin()
		lease.Release()
	}, problem
}

// reserve waits until the account may send the request's body, and reserves memory for the body. If the size
// is unknown or the body is compressed, it reserves request.MaxBody.
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

// descriptionWeight is the number of calls that one page with the descriptions of all functions counts as.
const descriptionWeight = 10

// describes counts a page of descriptions as descriptionWeight calls of the account. If the account makes too
// many calls, describes answers the request and returns false. Otherwise the caller must call leave.
func (q *exchange) describes() (leave func(), ok bool) {
	leave, err := q.front.o.Enter(q.holder(), descriptionWeight)
	if err != nil {
		q.w.Header().Set("Retry-After", "1")
		q.fail(http.StatusServiceUnavailable, err.Message)
		return nil, false
	}
	return leave, true
}
