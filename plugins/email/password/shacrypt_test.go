package password

import (
	"context"
	"strings"
	"testing"

	"github.com/go-crypt/crypt/algorithm/shacrypt"
	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/protocol"
)

// The library's own hashes and ours are the same, for all lengths, both functions and several numbers of rounds.
func TestShaCrypt(t *testing.T) {
	for _, variant := range []shacrypt.Variant{shacrypt.VariantSHA512, shacrypt.VariantSHA256} {
		for _, rounds := range []int{1000, 1777} {
			library, err := shacrypt.New(shacrypt.WithVariant(variant), shacrypt.WithIterations(rounds))
			require.NoError(t, err)
			for length := 1; length <= MaxBytes; length += 1 + length/8 {
				text := strings.Repeat("pässwörd", MaxBytes)[:length]
				digest, err := library.Hash(text)
				require.NoError(t, err)
				for other, want := range map[string]bool{text: true, text + "x": false} {
					ok, err := NewVerifier().Verify(digest.Encode(), protocol.NewSecret(other))
					require.NoError(t, err)
					require.Equal(t, want, ok && len(other) <= MaxBytes, "%d bytes", length)
				}
			}
		}
	}
}

// A hash allocates little, because workers make many.
func TestHashAllocations(t *testing.T) {
	hasher, err := NewHasher(SHA512Crypt)
	require.NoError(t, err)
	secret := protocol.NewSecret("N3w passw0rd, 20 long")
	require.LessOrEqual(t, testing.AllocsPerRun(10, func() {
		_, err := hasher.Hash(context.Background(), secret)
		require.NoError(t, err)
	}), 10.0)
}

func BenchmarkHash(b *testing.B) {
	hasher, err := NewHasher(SHA512Crypt)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = hasher.Hash(context.Background(), protocol.NewSecret("N3w passw0rd, 20 long"))
	}
}
