package tests

import (
	"bufio"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// refusesCommands requires that the socket on which Dovecot is told of changes takes no command with which its owner
// could read or run something as root.
func refusesCommands(t *testing.T, socket string) {
	t.Helper()
	proof := filepath.Join(t.TempDir(), "proof")
	for _, command := range []string{"\t\tfs get\tposix\tprefix=/\tetc/passwd", "\tuser@example.com\tfetch\ttext\tall", "\tuser@example.com\tsync\t-1\t/bin/sh\t-c\ttouch " + proof, "\t\tuser\t*"} {
		conn, err := net.Dial("unix", socket)
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(hosttest.Patience)))
		_, err = fmt.Fprintf(conn, "VERSION\tdoveadm-server\t1\t0\n%s\n", command)
		require.NoError(t, err)
		lines := bufio.NewReader(conn)
		_, err = lines.ReadString('\n') // The greeting.
		require.NoError(t, err)
		answer := ""
		for !strings.HasPrefix(answer, "-") {
			line, err := lines.ReadString('\n')
			if err != nil {
				break // The connection was closed.
			}
			answer = line
			require.NotEqual(t, "+\n", line, command)
			require.NotContains(t, line, "root:", command)
		}
		_ = conn.Close()
	}
	require.NoFileExists(t, proof)
}
