package email

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

// queueTimeout is the maximum time for a request to the agent, which has to search the mail server's queue.
const queueTimeout = 45 * time.Second

// queue is a client of the agent that works on the mail server's queue; the agent is the command liveapi
// postfix agent.
type queue struct{ socket string }

// ask sends a request to the agent and returns the number of messages that the agent found. The parameter do
// selects whether the agent counts, deletes or releases the held messages of sender.
func (q *queue) ask(ctx context.Context, do string, sender store.Address) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, queueTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", q.socket)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if err := json.NewEncoder(conn).Encode(map[string]string{"do": do, "sender": sender.String()}); err != nil {
		return 0, err
	}
	line, err := bufio.NewReader(conn).ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	var answer struct {
		N     int
		Error string
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return 0, err
	}
	if answer.Error != "" {
		return 0, errors.New(answer.Error)
	}
	return answer.N, nil
}

// requireMailbox is the part do of the operations that count or delete held messages. It only checks that the
// mailbox exists; the part after, from onQueue, sends the request to the agent.
func (m *Module) requireMailbox(ctx context.Context, call *sdk.Call) (any, error) {
	box, err := mailbox(call)
	if err != nil {
		return nil, err
	}
	if _, err := m.store(call.Account).Mailbox(ctx, box); err != nil {
		return nil, public(box, err, "Nothing was done")
	}
	return nil, nil
}

// onQueue returns a part that makes the agent count, delete or release the held messages that the mailbox in
// the call has sent. The parameter do selects the action.
func (m *Module) onQueue(do string) part {
	return func(ctx context.Context, call *sdk.Call) (any, error) {
		box, err := mailbox(call)
		if err != nil {
			return nil, err
		}
		q := m.current().queue
		if q == nil && do == "count" {
			return 0, nil // Without a queue, no message is held.
		}
		if q == nil {
			return nil, protocol.NewError(protocol.KindUnavailable, "This server can't change its mail queue: its operator has not set the socket of liveapi postfix agent (setting queue).")
		}
		n, err := q.ask(ctx, do, box)
		if err != nil {
			return nil, &protocol.Error{Kind: protocol.KindUnavailable, Err: fmt.Errorf("the mail queue: %w", err), Message: "The mail queue can't be read or changed at the moment. Try again later."}
		}
		return n, nil
	}
}

// released runs after hold_outgoing was cleared. It notifies the mail server and releases the held messages.
func (m *Module) released(ctx context.Context, call *sdk.Call) (any, error) {
	box, err := mailbox(call)
	if err != nil {
		return nil, err
	}
	m.notify(ctx, call, box, limits)
	if q := m.current().queue; q != nil {
		if _, err := q.ask(ctx, "release", box); err != nil {
			call.Log("release the held messages of " + box.String() + ": " + err.Error())
			call.Warn("New mail is not held any more, but the mail that is already held could not be released. Try again later.")
		}
	}
	return nil, nil
}
