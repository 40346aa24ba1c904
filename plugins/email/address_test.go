package email

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/protocol"
)

// R20: if several steps failed and one of them has an unknown outcome, the caller is told that the outcome is
// unknown.
func TestR20_UnknownIsSaidFirst(t *testing.T) {
	box, err := store.NewAddress("user", "example.com")
	require.NoError(t, err)
	for _, why := range []error{store.ErrFull, store.ErrReadOnly, store.ErrBusy, store.ErrAway, store.ErrUnsafe} {
		answer := protocol.AsError(public(box, fmt.Errorf("%w: rename: %w", store.ErrUnknown, why), "Nothing was changed"))
		require.Equal(t, protocol.KindUnavailable, answer.Kind)
		require.Contains(t, answer.Message, "is not known")
		require.NotContains(t, answer.Message, "Nothing was changed")
		require.Contains(t, protocol.AsError(public(box, why, "Nothing was changed")).Message, "Nothing was changed")
	}
}
