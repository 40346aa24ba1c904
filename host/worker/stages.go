package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/admission"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/plugin/payload"
	"github.com/liveapid/liveapid/protocol/plugin/pluginpb"
)

// Call implements host.Plugin. If the plugin has a helper and describes functions that the helper runs at
// least in part, a call runs in up to three parts: before and after in the helper, do in the account's
// worker. Only the helper gets the secrets, and only the account's worker opens the account's files. A shared
// function (Function.Shared) runs only in the helper. Without such a helper, the account's worker runs the
// whole call.
func (s *Supervisor) Call(ctx context.Context, r host.Request) (*protocol.Result, error) {
	caller, call, fn := r.Caller, r.Call, r.Function
	aw, err := s.workerOf(caller.Account)
	if err != nil {
		return nil, err
	}
	request := payload.Request{ID: r.ID, Call: call, Account: caller.Account, Role: caller.Role, Mailbox: caller.Mailbox, Shape: r.Shape}
	switch {
	case s.helper == nil:
		return s.run(ctx, aw, request, 0)
	case fn.Name != call.Func:
		// Without a description of the function, the host can't decide which arguments are secrets.
		return nil, fmt.Errorf("%w: the plugin does not describe the function %.64q", host.ErrNotRun, call.Func)
	case fn.Shared:
		return s.through(ctx, s.shared, s.helper, request)
	case !s.helper.hasParts():
		// The plugin does not use its helper for calls, because none of its functions has parts. Its workers
		// run the whole calls and also get the secrets.
		return s.run(ctx, aw, request, 0)
	}
	g := s.semaphoreOf(fn, caller.Role)
	work := request
	work.Stage, work.Call.Args = protocol.Do, fn.WithoutSecrets(call.Args)
	if fn.Before {
		request.Stage = protocol.Before
		before, err := s.through(ctx, g, s.helper, request)
		if err != nil || before.Err != nil {
			return before, err
		}
		work.Input, work.Warnings = protocol.Plain(before.Data), before.Warnings
	}
	most := 0
	if fn.After {
		most = maxHanded // The size is checked before the result is decoded.
	}
	result, err := s.run(ctx, aw, work, most)
	if err != nil || result.Err != nil || !fn.After {
		return result, err
	}
	request.Stage, request.Input, request.Warnings = protocol.After, protocol.Plain(result.Data), result.Warnings
	// If the function changes data, the change has already been made. The last part, which the helper runs,
	// must then not wait for other accounts and must not be rejected, so it runs without a semaphore.
	var after *protocol.Result
	if fn.Changes {
		after, err = s.run(ctx, s.helper, request, 0)
	} else {
		after, err = s.through(ctx, g, s.helper, request)
	}
	switch {
	case err != nil && fn.Changes:
		// The account's worker has already made the change, even if the helper did not run the last part.
		// Therefore the outcome is unknown. err is added as text (%s) and not wrapped, so that errors.Is does
		// not find host.ErrNotRun in the new error.
		return nil, fmt.Errorf("%w: %s", host.ErrOutcomeUnknown, err)
	case err != nil:
		return nil, err
	case after.Err != nil && after.Err.Kind == protocol.KindInternal && fn.Changes:
		return nil, fmt.Errorf("%w: the helper failed after the worker had made the change", host.ErrOutcomeUnknown)
	case after.Err != nil:
		return after, nil
	}
	after.Messages = append(result.Messages, after.Messages...)
	if after.Metadata == nil {
		after.Metadata = result.Metadata
	}
	return after, nil
}

// semaphoreOf returns the semaphore for the parts of a function that the helper runs. A function with a
// secret parameter gets the semaphore hard, because it hashes the secret, which needs processor time.
func (s *Supervisor) semaphoreOf(fn protocol.Function, role protocol.Role) *admission.FairSemaphore {
	if role == protocol.RoleMailServer {
		return s.mail
	}
	for _, p := range fn.Params {
		if p.Type == protocol.TypeSecret {
			return s.hard
		}
	}
	return s.shared
}

// maxHanded is the maximum size in bytes of the data that an account's worker passes to the helper. A hash
// has about 250 bytes.
const maxHanded = 64 << 10

// through waits until the semaphore g admits the account, and then runs a call or a part of a call. If g
// rejects the account, the message in the result is that nothing was changed. Therefore through must not be
// used for a part that follows a change.
func (s *Supervisor) through(ctx context.Context, g *admission.FairSemaphore, aw *accountWorker, request payload.Request) (*protocol.Result, error) {
	leave, err := g.Enter(ctx, request.Account.Name)
	busy := ""
	switch {
	case errors.Is(err, admission.ErrQueueFull):
		busy = "The server has as many calls of this kind as it can handle."
	case errors.Is(err, admission.ErrAccountFull):
		busy = fmt.Sprintf("Your account has %d calls with passwords in flight, which is its limit.", g.Account())
	case err != nil:
		return nil, fmt.Errorf("%w: %w", host.ErrNotRun, err)
	default:
		defer leave()
		return s.run(ctx, aw, request, 0)
	}
	return protocol.Failed(protocol.NewError(protocol.KindUnavailable, busy+" Nothing was changed; try again.")), nil
}

// run sends a call to an account's worker or to the helper, and returns the decoded result. It tries again if
// the worker ended before the call reached it. most is the maximum size of the answer in bytes; 0 means that
// only the general limit of messages applies.
func (s *Supervisor) run(ctx context.Context, aw *accountWorker, request payload.Request, most int) (*protocol.Result, error) {
	ask, err := payload.EncodeRequest(request)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", host.ErrNotRun, err)
	}
	if err := payload.Walk(ask); err != nil {
		// The worker would reject such arguments, too. The host rejects them first, because the host could
		// not determine from the worker's error whether the call was run.
		return protocol.Failed(protocol.NewError(protocol.KindInvalid, "The arguments have too many values, or are nested too deep.")), nil
	}
	for range maxTries {
		var answer *pluginpb.Payload
		if answer, err = s.ask(ctx, aw, ask); err == nil {
			if size := len(answer.GetMsgpack()); most > 0 && size > most {
				return nil, fmt.Errorf("%w: the worker returned %d bytes for the helper, but at most %d are accepted", host.ErrOutcomeUnknown, size, most)
			}
			result, err := s.decode(ctx, request.Account.Name, answer)
			if err == nil && (len(request.Shape) == 0 || !result.Shaped) {
				result.Shaped, result.Paginate = false, nil // The host did not ask for a page.
			}
			return result, err
		}
		if !errors.Is(err, errNotSent) {
			break
		}
	}
	return nil, err
}
