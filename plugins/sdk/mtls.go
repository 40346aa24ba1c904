package sdk

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/liveapid/liveapid/protocol/plugin"
)

// mutualTLS returns the function with which go-plugin gets the configuration of TLS, or nil if the host wants none.
// go-plugin would make a certificate itself, with a slow key. It prints no certificate in its handshake if it has not
// made it, so mutualTLS inserts its own into the line that go-plugin writes to os.Stdout.
func mutualTLS() (func() (*tls.Config, error), error) {
	host := os.Getenv(plugin.ClientCertEnv)
	if host == "" {
		return nil, nil
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM([]byte(host)) {
		return nil, errors.New("the host's certificate in " + plugin.ClientCertEnv + " can't be read")
	}
	if err := os.Unsetenv(plugin.ClientCertEnv); err != nil {
		return nil, err
	}
	own, err := plugin.NewCertificate()
	if err != nil {
		return nil, err
	}
	if err := insert(base64.RawStdEncoding.EncodeToString(own.Certificate[0])); err != nil {
		return nil, err
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
		MinVersion: tls.VersionTLS12, ServerName: plugin.CertName,
	}
	return func() (*tls.Config, error) { return config, nil }, nil
}

// insert adds a certificate to the first line that is written to os.Stdout. After this line, go-plugin replaces
// os.Stdout, so nothing else is written to it.
func insert(certificate string) error {
	in, out, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe for the handshake: %w", err)
	}
	stdout := os.Stdout
	os.Stdout = out
	go func() {
		defer func() { _ = in.Close() }()
		line, err := bufio.NewReader(in).ReadString('\n')
		if err != nil {
			return // The host reports that the plugin did not print the handshake.
		}
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), "|", 7)
		if len(fields) > 5 {
			fields[5] = certificate
		}
		_, _ = stdout.WriteString(strings.Join(fields, "|") + "\n")
	}()
	return nil
}
