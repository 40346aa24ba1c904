package worker

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/liveapid/liveapid/protocol/plugin"
)

// maxHandshake is the maximum length of the handshake line in bytes. The certificate in the line needs about
// 1,000 bytes.
const maxHandshake = 8 << 10

// readHandshake reads and checks the line that a plugin prints when it is ready, and returns the line for go-plugin:
//
//	1|VERSION|unix|SOCKET|grpc|CERTIFICATE
//
// If tls is false, the host expects no certificate and readHandshake removes any certificate from the line, because
// go-plugin 1.8.0 would dereference a nil pointer. The socket must be directly in the directory dir.
func readHandshake(r *bufio.Reader, dir string, tls bool) (string, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", fmt.Errorf("the handshake has more than %d bytes", maxHandshake)
	case errors.Is(err, io.EOF):
		return "", errors.New("the plugin ended before its handshake; does its main function call sdk.Serve?")
	case err != nil:
		return "", fmt.Errorf("read the handshake: %w", err)
	}
	fields := strings.Split(strings.TrimRight(string(line), "\r\n"), "|")
	if len(fields) < 5 || len(fields) > 7 {
		return "", fmt.Errorf("the handshake has %d fields, not 5 to 7; is the program a liveapid plugin?", len(fields))
	}
	if fields[0] != "1" {
		return "", fmt.Errorf("the plugin uses version %.10q of go-plugin's core protocol, but the host supports only version 1", fields[0])
	}
	if want := fmt.Sprint(plugin.Version); fields[1] != want {
		return "", fmt.Errorf("the plugin uses version %.10q of the plugin protocol, but the host uses version %s: upgrade the older program", fields[1], want)
	}
	if fields[2] != "unix" || fields[4] != "grpc" {
		return "", fmt.Errorf("the plugin offers %.10q over %.10q, but the host supports only grpc over unix", fields[4], fields[2])
	}
	if filepath.Dir(fields[3]) != dir || filepath.Clean(fields[3]) != fields[3] {
		return "", errors.New("the plugin's socket is not directly in the worker's directory")
	}
	clean := strings.Join(fields[:5], "|") + "|"
	if !tls {
		return clean, nil
	}
	if len(fields) < 6 || len(fields[5]) <= 50 {
		return "", errors.New("the plugin sent no TLS certificate, which server mode requires")
	}
	if _, err := base64.RawStdEncoding.DecodeString(fields[5]); err != nil {
		return "", errors.New("the plugin's certificate is not base64")
	}
	return clean + fields[5], nil
}
