package host

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol"
)

// The cause of a failure is added to its message only if the callers are the authors of the modules, and only to
// messages that the module did not choose.
func TestCauses(t *testing.T) {
	why := fmt.Errorf("%w: wrapped: %w", ErrNotRun, &Cause{Text: "module.pl line 4: broken\n", Err: errors.New("inside")})
	fn := protocol.Function{Name: "f", Source: "module.pl line 9"}
	for name, c := range map[string]struct {
		failure *protocol.Error
		want    string
	}{
		"internal":    {&protocol.Error{Kind: protocol.KindInternal, Message: "Failed.", Err: why}, "Failed. Cause: module.pl line 4: broken\nThe function f begins in module.pl line 9."},
		"unavailable": {&protocol.Error{Kind: protocol.KindUnavailable, Message: "Away.", Err: errors.New("killed")}, "Away. Cause: killed\nThe function f begins in module.pl line 9."},
		"too late": {&protocol.Error{Kind: protocol.KindUnavailable, Message: "Late.", Err: fmt.Errorf("x: %w", context.DeadlineExceeded)},
			"Late. Cause: The function did not return in time.\nThe function f begins in module.pl line 9."},
		"chosen":   {&protocol.Error{Kind: protocol.KindFailed, Message: "No.", Err: errors.New("private")}, "No."},
		"no cause": {protocol.NewError(protocol.KindUnavailable, "Busy."), "Busy."},
	} {
		before := *c.failure
		require.Equal(t, c.want, (&Host{causes: true}).withCause(fn, c.failure).Message, name)
		require.Equal(t, before, *c.failure, "%s: the original is not changed", name)
		require.Equal(t, c.failure, (&Host{}).withCause(fn, c.failure), "%s: other callers learn nothing", name)
	}
	require.Nil(t, (&Host{causes: true}).withCause(fn, nil))
}
