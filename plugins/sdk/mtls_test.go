package sdk

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol/plugin"
)

// The certificate stands in the sixth field of the handshake, both sides accept each other, and nobody else is
// accepted.
func TestMutualTLS(t *testing.T) {
	host, err := plugin.NewCertificate()
	require.NoError(t, err)
	stranger, err := plugin.NewCertificate()
	require.NoError(t, err)
	t.Setenv(plugin.ClientCertEnv, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: host.Certificate[0]})))
	in, out, err := os.Pipe()
	require.NoError(t, err)
	stdout := os.Stdout
	t.Cleanup(func() { os.Stdout = stdout })
	os.Stdout = out
	provider, err := mutualTLS()
	require.NoError(t, err)
	require.Empty(t, os.Getenv(plugin.ClientCertEnv), "go-plugin would make a certificate")
	fmt.Println("1|1|unix|/run/p|grpc|")
	line, err := bufio.NewReader(in).ReadString('\n')
	require.NoError(t, err)
	fields := strings.Split(strings.TrimSpace(line), "|")
	require.Equal(t, []string{"1", "1", "unix", "/run/p", "grpc"}, fields[:5])
	der, err := base64.RawStdEncoding.DecodeString(fields[5])
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(cert)

	config, err := provider()
	require.NoError(t, err)
	dial := func(client *tls.Config) error {
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		require.NoError(t, err)
		defer func() { _ = l.Close() }()
		served := make(chan error, 1)
		go func() {
			conn, err := l.Accept()
			if err == nil {
				err = tls.Server(conn, config).Handshake()
				_ = conn.Close()
			}
			served <- err
		}()
		conn, err := net.Dial("unix", l.Addr().String())
		require.NoError(t, err)
		client.ServerName = plugin.CertName
		err = tls.Client(conn, client).Handshake()
		_ = conn.Close()
		if refused := <-served; err == nil {
			err = refused
		}
		return err
	}
	require.NoError(t, dial(&tls.Config{Certificates: []tls.Certificate{host}, RootCAs: pool}))
	require.Error(t, dial(&tls.Config{Certificates: []tls.Certificate{stranger}, RootCAs: pool}), "a stranger")
	require.Error(t, dial(&tls.Config{RootCAs: pool}), "without a certificate")
	require.Error(t, dial(&tls.Config{Certificates: []tls.Certificate{host}, RootCAs: x509.NewCertPool()}), "the plugin is not the one of the handshake")

	t.Setenv(plugin.ClientCertEnv, "no certificate")
	_, err = mutualTLS()
	require.ErrorContains(t, err, "can't be read")
	require.NoError(t, os.Unsetenv(plugin.ClientCertEnv))
	provider, err = mutualTLS()
	require.NoError(t, err)
	require.Nil(t, provider, "the host wants no TLS")
}
