package dovecot

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSeries(t *testing.T) {
	for output, want := range map[string]string{
		"2.3.19.1 (9b53102964)\n": "2.3", "2.4.1-4 (7d8c0e5759)\n": "2.4", "2.4.0": "2.4", "2.4\n": "2.4", "2.10.1 (x)\n": "2.10", "3.0.0\n": "3.0",
	} {
		series, err := seriesOf(output)
		require.NoError(t, err, output)
		require.Equal(t, want, series)
	}
	for _, output := range []string{"", "\n", "2", "x2.4", "Dovecot 2.4.1", "2.x"} {
		_, err := seriesOf(output)
		require.ErrorContains(t, err, "is not a version", output)
	}
}

func TestMissing(t *testing.T) {
	everything := Needs{Driver: "pgsql", Sieve: true}
	none, all := func(string) bool { return false }, func(string) bool { return true }
	require.Empty(t, missing(everything, "apt-get", all))
	require.Equal(t, "apt-get install dovecot-imapd dovecot-lmtpd dovecot-managesieved dovecot-pgsql dovecot-sieve", missing(everything, "apt-get", none))
	require.Equal(t, "apt-get install dovecot-auth-lua", missing(Needs{Lua: true}, "apt-get", func(file string) bool { return file != "libauthdb_lua.so" }))
	require.Equal(t, "dnf install dovecot dovecot-pgsql dovecot-pigeonhole", missing(everything, "dnf", none))
	require.Equal(t, "apt-get install dovecot-mysql", missing(Needs{Driver: "mysql"}, "apt-get", func(file string) bool { return file != "libdriver_mysql.so" }))
	require.Equal(t, "apt-get install dovecot-imapd dovecot-lmtpd", missing(Needs{}, "apt-get", none))
}
