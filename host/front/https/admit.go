package https

import (
	"context"
	"net/http"
	"time"

	"github.com/liveapid/liveapid/host/admission"
	"github.com/liveapid/liveapid/host/front/https/request"
)

// bodyTime is how long a body may take to come, and its turn to be read.
const bodyTime = 10 * time.Second

// holder is under which name somebody who has signed in is counted.
func (q *exchange) holder() string {
	if q.who.account.Name != "" {
		return q.who.account.Name
	}
	return "user " + q.who.user
}

// known counts the connection among those of who signed in on it. It answers and returns false if an
// account has all the connections that it may have, and each of them has a call under way.
func (q *exchange) known() bool {
	if q.conn.place.Trust(q.holder()) == nil {
		return q.pace(q.holder())
	}
	q.w.Header().Set("Retry-After", "1")
	q.fail(http.StatusServiceUnavailable, "The account has as many connections as it may have. Close some, or try again later.")
	return false
}

// stranger reports whether a request comes without anything that could prove who sends it.
func (q *exchange) stranger() bool {
	return q.r.Header.Get("Authorization") == "" // A cookie may be anybody's.
}

// pace waits for a holder's turn to send a request. It answers and returns false if that takes too long.
func (q *exchange) pace(holder string) bool {
	ctx, cancel := context.WithTimeout(q.r.Context(), bodyTime)
	defer cancel()
	if _, err := q.front.o.Intake.Admit(ctx, holder, 0, nil); err == nil {
		return true
	}
	q.w.Header().Set("Retry-After", "1")
	q.fail(http.StatusServiceUnavailable, "You send more requests than the server takes. Nothing was changed; try again later.")
	return false
}

// read reads the request's parameters. Until release is called, what they take is counted. A body is
// read in bodyTime, and while it is the connection can be taken away: only a call keeps its place.
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
	// net/http reads on, and takes the end of the time for the client's.
	_ = control.SetReadDeadline(start.Add(pageTime))
	lease.Pin()
	q.conn.place.Pin()
	return values, func() {
		q.conn.place.Unpin()
		lease.Release()
	}, problem
}

// reserve waits until the account may have the request's body read.
func (q *exchange) reserve(start time.Time) (*admission.Lease, error) {
	size := q.r.ContentLength
	if size < 0 || size > request.MaxBody || q.r.Header.Get("Content-Encoding") != "" {
		size = request.MaxBody
	}
	ctx, cancel := context.WithDeadline(q.r.Context(), start.Add(bodyTime))
	defer cancel()
	return q.front.o.Intake.Reserve(ctx, q.holder(), size, q.conn.cut)
}

// cut ends the connection.
func (c *conn) cut() {
	if c.Conn != nil {
		_ = c.Conn.Close()
	}
}

// descriptionWeight is as how many calls a page counts that describes all functions.
const descriptionWeight = 10

// describes counts a page that describes functions among the account's calls; or it answers that there
// are too many, and returns false.
func (q *exchange) describes() (leave func(), ok bool) {
	leave, err := q.front.o.Enter(q.holder(), descriptionWeight)
	if err != nil {
		q.w.Header().Set("Retry-After", "1")
		q.fail(http.StatusServiceUnavailable, err.Message)
		return nil, false
	}
	return leave, true
}
