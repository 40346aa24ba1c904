package daemon

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// An account's questions are bounded, and one whose worker did not answer rests; others are asked.
func TestR10_Lookups(t *testing.T) {
	var l lookups
	var leaves []func(bool)
	for range lookupsEach {
		leave, err := l.enter("a")
		require.NoError(t, err)
		leaves = append(leaves, leave)
	}
	_, err := l.enter("a")
	require.ErrorContains(t, err, "3 questions about its mailboxes are under way")
	other, err := l.enter("b")
	require.NoError(t, err)
	other(false)
	leaves[0](false)
	leave, err := l.enter("a")
	require.NoError(t, err)
	leave(true)
	_, err = l.enter("a")
	require.ErrorContains(t, err, "did not answer a moment ago")
	leaves[1](false)
	leaves[2](false)
	other, err = l.enter("b")
	require.NoError(t, err)
	other(false)
	require.Len(t, l.accounts, 1, "what rests is remembered, and nothing else")
}
