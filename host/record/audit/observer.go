package audit

import (
	"log/slog"
	"time"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/protocol"
)

// Observer writes two records to the audit log for each call that changes something: one before the call
// runs, and one with its outcome. If the second record is missing, the call was interrupted, and it is
// unknown whether the call took effect.
type Observer struct {
	Log    *Log
	Errors *slog.Logger // Receives the errors of records that End can't write.
}

var _ host.Observer = (*Observer)(nil)

// Begin writes the record before the call. If it returns an error, the host does not run the call.
func (o *Observer) Begin(e host.Event) error { return o.Log.Append(record(EventBegin, e)) }

// End writes the record with the outcome of the call. It ignores calls that change nothing.
func (o *Observer) End(e host.Event, result *protocol.Result, _ time.Duration) {
	if !e.Function.Changes {
		return
	}
	r := record(EventEnd, e)
	r.Args = nil // The record of Begin contains the arguments.
	r.Result = "ok"
	if result.Err != nil {
		r.Result, r.Reason = string(result.Err.Kind), protocol.Clip(result.Err.Message, maxRecordText)
	}
	if err := o.Log.Append(r); err != nil {
		o.Errors.Error("can't write an outcome to the audit log", "id", e.ID, "error", err.Error())
	}
}

// maxRecordText is the maximum length of each text in a record that comes from a client or a plugin, in
// bytes.
const maxRecordText = 300

func record(event string, e host.Event) Record {
	return Record{
		Event: event, ID: e.ID, Account: e.Caller.Account.Name, Role: string(e.Caller.Role), Door: e.Caller.Door, From: e.Caller.From,
		Module: protocol.Clip(e.Module, maxRecordText), Function: protocol.Clip(e.Func, maxRecordText), API: int(e.API), Args: e.Args,
	}
}
