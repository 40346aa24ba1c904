package cert_test

import (
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/front/https/cert"
)

func TestSelfSigned(t *testing.T) {
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	s, err := cert.SelfSigned(dir, []string{"panel.example.com"}, log)
	require.NoError(t, err)
	c, err := s.Get(nil)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(c.Leaf)
	for _, name := range []string{"localhost", "panel.example.com", "127.0.0.1", "::1"} {
		_, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots})
		require.NoError(t, err, name)
	}
	require.Contains(t, s.Names(), "panel.example.com")
	info, err := os.Stat(filepath.Join(dir, "self-signed.key"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())

	again, err := cert.SelfSigned(dir, nil, log)
	require.NoError(t, err)
	same, err := again.Get(nil)
	require.NoError(t, err)
	require.Equal(t, c.Leaf.SerialNumber, same.Leaf.SerialNumber, "it is made once")

	require.NoError(t, os.WriteFile(filepath.Join(dir, "self-signed.key"), []byte("broken"), 0o600))
	_, err = cert.SelfSigned(dir, nil, log)
	require.Error(t, err, "a broken one is its operator's to look at")
	_, err = cert.Files(filepath.Join(dir, "none"), filepath.Join(dir, "none"), log)
	require.ErrorIs(t, err, os.ErrNotExist)
}
