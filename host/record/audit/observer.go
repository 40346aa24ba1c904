package audit

import (
	"log/slog"
	"strings"
	"time"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/protocol"
)

// Observer writes down each call that changes something: before it runs, and with its outcome
// when it is over. One without an outcome was cut off; whether it took effect is not known.
type Observer struct {
	Log    *Log
	Errors *slog.Logger // Where it says that an outcome could not be written.
}

var _ host.Observer = (*Observer)(nil)

// Begin implements host.Observer.
func (o *Observer) Begin(e host.Event) error { return o.Log.Append(record(EventBegin, e)) }

// End implements host.Observer.
func (o *Observer) End(e host.Event, result *protocol.Result, _ time.Duration) {
	if !e.Function.Changes {
		return
	}
	r := record(EventEnd, e)
	r.Args = nil // They stand in the first one.
	r.Result = "ok"
	if result.Err != nil {
		r.Result, r.Reason = string(result.Err.Kind), clip(result.Err.Message)
	}
	if err := o.Log.Append(r); err != nil {
		o.Errors.Error("audit: an outcome could not be written", "id", e.ID, "error", err.Error())
	}
}

func record(event string, e host.Event) Record {
	return Record{
		Event: event, ID: e.ID, Account: e.Caller.Account.Name, Role: string(e.Caller.Role), Door: e.Caller.Door, From: e.Caller.From,
		Module: clip(e.Module), Function: clip(e.Func), API: int(e.API), Args: e.Args,
	}
}

// clip bounds a text and makes it valid UTF-8; JSON escapes the rest.
func clip(s string) string {
	if len(s) > 300 {
		s = s[:300] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}
