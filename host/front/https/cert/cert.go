// Package cert gives a TLS server its certificate: the one that is configured, as it is now, or one
// that it signs itself on first use. A certificate that others renew (certbot, lego, acme.sh) is
// picked up without a restart.
package cert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/atomicfile"
)

const (
	// lifetime is that of a certificate of our own; it is made anew when a tenth is left.
	lifetime = 825 * 24 * time.Hour
	// look is how often the files are looked at, at most.
	look = time.Second
)

// SelfSignedFile is the name of the certificate that is made here.
const SelfSignedFile = "self-signed.crt"

// Source is where the certificate comes from.
type Source struct {
	certificate, key string
	own              bool // Its files are made here.
	log              *slog.Logger

	mu     sync.Mutex
	loaded *tls.Certificate
	stamps [2]stamp
	looked time.Time
}

type stamp struct {
	ino         uint64
	size        int64
	mtime, ctim unix.Timespec
}

// Files returns the certificate and key of two files in PEM.
func Files(certificate, key string, log *slog.Logger) (*Source, error) {
	s := &Source{certificate: certificate, key: key, log: log}
	return s, s.reload()
}

// SelfSigned returns a certificate of dir, signed by itself, and makes it where it is not there or
// has not long to live. hosts are further names for it.
func SelfSigned(dir string, hosts []string, log *slog.Logger) (*Source, error) {
	s := &Source{certificate: filepath.Join(dir, SelfSignedFile), key: filepath.Join(dir, "self-signed.key"), own: true, log: log}
	err := s.reload()
	if err == nil && time.Until(s.loaded.Leaf.NotAfter) > lifetime/10 {
		return s, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := create(s.certificate, s.key, hosts); err != nil {
		return nil, err
	}
	log.Info("a certificate was made; browsers will ask about it", "file", s.certificate)
	return s, s.reload()
}

func create(certificate, key string, hosts []string) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	name, err := os.Hostname()
	if err != nil || name == "" {
		name = "localhost"
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(lifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
		DNSNames: append([]string{name, "localhost"}, hosts...), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	// The key first: a certificate without it would be read as broken.
	if err := atomicfile.Write(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600); err != nil {
		return err
	}
	return atomicfile.Write(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

// reload reads the files. It needs mu, or nobody else.
func (s *Source) reload() error {
	var stamps [2]stamp
	for i, path := range []string{s.certificate, s.key} {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return fmt.Errorf("certificate %s: %w", path, err)
		}
		stamps[i] = stamp{ino: st.Ino, size: st.Size, mtime: st.Mtim, ctim: st.Ctim}
	}
	if s.loaded != nil && stamps == s.stamps {
		return nil
	}
	loaded, err := tls.LoadX509KeyPair(s.certificate, s.key)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", s.certificate, err)
	}
	if s.loaded != nil {
		s.log.Info("the certificate is another one now", "file", s.certificate, "until", loaded.Leaf.NotAfter)
	}
	s.loaded, s.stamps = &loaded, stamps
	return nil
}

// Get is tls.Config's GetCertificate. Files that can't be read, being replaced at the moment, leave
// the last certificate in use.
func (s *Source) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.looked) >= look {
		s.looked = time.Now()
		if err := s.reload(); err != nil {
			s.log.Warn("the last certificate stays in use", "error", err.Error())
		}
	}
	return s.loaded, nil
}

// Names are those that the certificate is for.
func (s *Source) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loaded.Leaf.DNSNames
}
