package https

import (
	"fmt"
	"net/http"

	"github.com/liveapid/liveapid/host/front/https/request"
	"github.com/liveapid/liveapid/protocol"
)

// Operator returns a handler that serves WHM's functions, at /json-api/NAME, for root without credentials. Only
// root's own programs may reach it. The answers are in version 1 of the API unless a request asks for another.
func (f *Front) Operator() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := &exchange{
			front: f, service: WHM, r: r, w: &writer{ResponseWriter: w}, conn: &conn{}, client: loopback,
			path: request.ParsePath(r.URL.Path),
			who:  identity{user: root, role: protocol.RoleAdmin, by: "the control socket"},
		}
		defer func() {
			if p := recover(); p != nil {
				f.o.Log.Error("panic in a request", "type", fmt.Sprintf("%T", p), "stack", stack())
				if q.w.status == 0 {
					q.fail(http.StatusInternalServerError, "The request failed inside the server.")
				}
			}
		}()
		if q.path.Kind != request.Function {
			q.fail(http.StatusNotFound, "There is nothing under this path.")
			return
		}
		q.whm()
	})
}
