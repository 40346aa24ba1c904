package daemon

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/admission"
)

// R10: questions about an account are limited, and after a worker did not answer, its account is not asked
// for a while. Other accounts are not affected.
func TestR10_Lookups(t *testing.T) {
	q := admission.NewQuestions(lookupOptions)
	var leaves []func(bool)
	for range lookupOptions.Each {
		leave, err := q.Enter(t.Context(), "a")
		require.NoError(t, err)
		leaves = append(leaves, leave)
	}
	_, err := q.Enter(t.Context(), "a")
	require.ErrorIs(t, err, admission.ErrTooMany)
	other, err := q.Enter(t.Context(), "b")
	require.NoError(t, err)
	other(false)
	for i, leave := range leaves {
		leave(i == 0)
	}
	_, err = q.Enter(t.Context(), "a")
	require.ErrorIs(t, err, admission.ErrNoAnswer)
	other, err = q.Enter(t.Context(), "b")
	require.NoError(t, err)
	other(false)
}
