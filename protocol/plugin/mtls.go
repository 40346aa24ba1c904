package plugin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"
)

const (
	// ClientCertEnv is the variable in which go-plugin's servers expect the certificate of their client, in PEM.
	ClientCertEnv = "PLUGIN_CLIENT_CERT"
	// CertName is the name in the certificates of both sides.
	CertName = "localhost"

	certLife = 10 * 365 * 24 * time.Hour // Longer than any process runs.
)

// NewCertificate returns a certificate with a new key, for one side of the mutual TLS between host and plugin. It
// takes the place of the certificates that go-plugin's AutoMTLS makes: their keys are of the curve P-521, which costs
// each start of a worker several milliseconds of computing in both processes.
func NewCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a key for TLS between host and plugin: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a serial number: %w", err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: CertName}, DNSNames: []string{CertName}, SerialNumber: serial,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(certLife),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate for TLS between host and plugin: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
