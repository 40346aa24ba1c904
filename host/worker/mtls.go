package worker

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"

	"github.com/liveapid/liveapid/protocol/plugin"
)

// mutualTLS returns the configuration of the host's side of the connection to a worker, with a new key, and the
// environment variable that tells the worker the host's certificate.
func mutualTLS() (*tls.Config, string, error) {
	own, err := plugin.NewCertificate()
	if err != nil {
		return nil, "", err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate[0]})
	return &tls.Config{
		Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12, ServerName: plugin.CertName,
		RootCAs: x509.NewCertPool(), // No certificate is trusted until go-plugin replaces this by the worker's.
	}, plugin.ClientCertEnv + "=" + string(text), nil
}
