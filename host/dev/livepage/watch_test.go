package livepage

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol"
)

// The shown arguments of a call contain no password, whatever the argument's name is.
func TestShowArgs(t *testing.T) {
	got := showArgs(protocol.Args{Named: map[string]any{
		"email": "user", "password": "c4n4ry", "newpass": "c4n4ry", "Passwd": "c4n4ry", "password_hash": "c4n4ry", "api_token": "c4n4ry",
		"key": "c4n4ry", "otp": "c4n4ry", "auth": "c4n4ry", "data": map[string]any{"password": "c4n4ry"}, "list": []any{"c4n4ry"}, "pem": "-----BEGIN PRIVATE KEY-----c4n4ry",
		"long": strings.Repeat("x", 1000), "app_key": "mail",
	}, Positional: []any{"user", "c4n4ry"}})
	all := strings.Join(got, " ")
	require.NotContains(t, all, "c4n4ry")
	require.Contains(t, all, "email=user")
	require.Contains(t, all, "app_key=mail")
	require.Contains(t, all, "2 by position")
	require.Less(t, len(all), 500)
}

func TestKindOf(t *testing.T) {
	for name, want := range map[string]Kind{
		"a.live.php": PHP, "a.livephp": PHP, "a.live.pl": Perl, "a.livepl": Perl, "a.php": None, "a.pl": None, "a.html": None, "": None, "livephp": None,
	} {
		require.Equal(t, want, KindOf(name), name)
	}
}
