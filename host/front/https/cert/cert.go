// Package cert provides the certificate of a TLS server. The certificate comes from configured files, or is a
// self-signed certificate that the package creates on first use. If another program (certbot, lego, acme.sh)
// renews the files, the package loads the new files without a restart.
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
	// lifetime is the validity of a self-signed certificate. SelfSigned creates a new certificate if less
	// than a tenth of the lifetime is left.
	lifetime = 825 * 24 * time.Hour
	// look is how often at most Get checks whether the files have changed.
	look = time.Second
)

// SelfSignedFile is the file name of the self-signed certificate.
const SelfSignedFile = "self-signed.crt"

// Source provides a TLS certificate and reloads it when its files change. Get and Names may be called
// concurrently.
type Source struct {
	certificate, key string
	own              bool // Whether the certificate is self-signed.
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

// Files returns a source that reads the certificate and its key from two PEM files.
func Files(certificate, key string, log *slog.Logger) (*Source, error) {
	s := &Source{certificate: certificate, key: key, log: log}
	return s, s.reload()
}

// SelfSigned returns a source with a self-signed certificate in dir. It creates the certificate if it is
// missing or expires soon; see lifetime. The certificate is valid for the host's name, for localhost and for
// hosts.
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
	log.Info("created a self-signed certificate; browsers will warn about it", "file", s.certificate)
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
	// The key is written before the certificate. If the process ended after it had written only the
	// certificate, the next start would find a certificate without its key, and report damaged files.
	if err := atomicfile.Write(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600); err != nil {
		return err
	}
	return atomicfile.Write(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

// reload loads the files if they have changed since the last load. The caller holds mu, unless no other
// goroutine can use s yet.
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
		s.log.Info("certificate reloaded", "file", s.certificate, "until", loaded.Leaf.NotAfter)
	}
	s.loaded, s.stamps = &loaded, stamps
	return nil
}

// Get returns the current certificate; it is meant for tls.Config.GetCertificate. If the changed files can't
// be loaded, for example because a program is replacing them at the moment, Get returns the last certificate
// that was loaded.
func (s *Source) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.looked) >= look {
		s.looked = time.Now()
		if err := s.reload(); err != nil {
			s.log.Warn("can't reload the certificate; the previous one stays in use", "error", err.Error())
		}
	}
	return s.loaded, nil
}

// Names returns the DNS names for which the certificate is valid.
func (s *Source) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loaded.Leaf.DNSNames
}
