package audit

import (
	"log/slog"
	"time"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/protocol"
)

// Observer records each call that changes something: before it runs, and its outcome afterwards. A call
// without an outcome was interrupted; whether it took effect is unknown.
type Observer struct {
	Log    *Log
	Errors *slog.Logger // Receives errors of writing an outcome.
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
	r.Args = nil // The first record has them.
	r.Result = "ok"
	if result.Err != nil {
		r.Result, r.Reason = string(result.Err.Kind), protocol.Clip(result.Err.Message, maxRecordText)
	}
	if err := o.Log.Append(r); err != nil {
		o.Errors.Error("can't write an outcome to the audit log", "id", e.ID, "error", err.Error())
	}
}

// maxRecordText limits each text of a record that a client chose, in bytes.
const maxRecordText = 300

func record(event string, e host.Event) Record {
	return Record{
		Event: event, ID: e.ID, Account: e.Caller.Account.Name, Role: string(e.Caller.Role), Door: e.Caller.Door, From: e.Caller.From,
		Module: protocol.Clip(e.Module, maxRecordText), Function: protocol.Clip(e.Func, maxRecordText), API: int(e.API), Args: e.Args,
	}
}
