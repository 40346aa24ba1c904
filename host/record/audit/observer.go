package audit

import (
	"log/slog"
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
		r.Result, r.Reason = string(result.Err.Kind), protocol.Clip(result.Err.Message, maxRecordText)
	}
	if err := o.Log.Append(r); err != nil {
		o.Errors.Error("audit: an outcome could not be written", "id", e.ID, "error", err.Error())
	}
}

// maxRecordText bounds each text of a record that a client chose, in bytes.
const maxRecordText = 300

func record(event string, e host.Event) Record {
	return Record{
		Event: event, ID: e.ID, Account: e.Caller.Account.Name, Role: string(e.Caller.Role), Door: e.Caller.Door, From: e.Caller.From,
		Module: protocol.Clip(e.Module, maxRecordText), Function: protocol.Clip(e.Func, maxRecordText), API: int(e.API), Args: e.Args,
	}
}
