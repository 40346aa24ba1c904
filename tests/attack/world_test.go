package attack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/protocol"
	"github.com/liveapid/liveapid/protocol/wire"
)

// fill gives an account many mailboxes.
func fill(t testing.TB, w *hosttest.World, uid, boxes int) {
	t.Helper()
	domain := hosttest.Name(uid) + ".example"
	etc := filepath.Join(w.Home(uid), "etc", domain)
	for file, line := range map[string]string{
		"passwd": "box%d:x:1:1::/x:/bin/false\n", "shadow": "box%d:" + hosttest.OldHash + ":20000::::::\n", "quota": "box%d:0\n",
	} {
		var text strings.Builder
		for i := range boxes {
			_, _ = fmt.Fprintf(&text, line, i)
		}
		path := filepath.Join(etc, file)
		require.NoError(t, os.WriteFile(path, []byte(text.String()), 0o600))
		require.NoError(t, os.Chown(path, uid, uid))
	}
}

// packed returns a MessagePack frame that lists mailboxes.
func packed(t testing.TB, args map[string]any) []byte {
	t.Helper()
	frame, err := wire.AppendPacked(nil, 1, protocol.Call{API: protocol.UAPI, Module: "Email", Func: "list_pops", Args: protocol.Args{Named: args}})
	require.NoError(t, err)
	return frame
}

// scale returns the size of an attack: full for make attack, short for make test.
func scale(full, short int) int {
	if os.Getenv("ATTACK_FULL") != "" {
		return full
	}
	return short
}
