package worker

import (
	"bufio"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// T16: for any line that a worker prints, an accepted handshake names a socket in the worker's directory and
// no certificate.
func FuzzHandshake(f *testing.F) {
	certificate := strings.Repeat("QUJD", 20)
	for _, seed := range []string{
		"1|1|unix|/run/w/p|grpc|\n", "1|1|unix|/run/w/p|grpc|" + certificate + "\n", "1|1|unix|/run/w/../p|grpc|\n",
		"1|1|tcp|127.0.0.1:1|grpc|\n", "", "\n", "1|2|unix|/run/w/p|grpc|x|true\n", strings.Repeat("a", 9000),
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, output []byte, tls bool) {
		line, err := readHandshake(bufio.NewReaderSize(strings.NewReader(string(output)), maxHandshake), "/run/w", tls)
		if err != nil {
			return
		}
		fields := strings.Split(line, "|")
		require.Len(t, fields, 6)
		require.Equal(t, []string{"1", "1", "unix", "grpc"}, []string{fields[0], fields[1], fields[2], fields[4]})
		require.Equal(t, "/run/w", filepath.Dir(fields[3]))
		require.Equal(t, tls, fields[5] != "")
	})
}

// T16: the process that listens on a worker's socket must have the worker's user, as the kernel reports it.
func TestT16_AnotherUserListens(t *testing.T) {
	dir, err := os.MkdirTemp("", "lw")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "p"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	conn, err := dialAs(t.Context(), filepath.Join(dir, "p"), os.Geteuid())
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	_, err = dialAs(t.Context(), filepath.Join(dir, "p"), os.Geteuid()+1)
	require.ErrorContains(t, err, "listens on the plugin's socket")
}
