package email

import (
	"context"

	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/sdk"
)

// notifier tells a mail server that a mailbox's password or login changed.
type notifier interface {
	changed(ctx context.Context, box store.Address) error
}

// notify tells the mail server, where there is one to tell. The change was made: that it could
// not be told is a warning.
func (m *Module) notify(ctx context.Context, call *sdk.Call, box store.Address) {
	n := m.settings.Load().notifier
	if n == nil {
		return
	}
	if err := n.changed(ctx, box); err != nil {
		call.Log("tell the mail server of " + box.String() + ": " + err.Error())
		call.Warn("The change was made. The mail server could not be told of it, and may take the old password for a while.")
	}
}
