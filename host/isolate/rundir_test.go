package isolate_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/isolate"
)

// Hosts that start concurrently in the same directory do not remove each other's directories.
func TestRunDirsAtOnce(t *testing.T) {
	parent := t.TempDir()
	dead := filepath.Join(parent, "liveapid-host-dead")
	require.NoError(t, os.Mkdir(dead, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dead, "x"), nil, 0o600))
	var hosts sync.WaitGroup
	for range 50 {
		hosts.Go(func() {
			dir, err := isolate.NewRunDir(parent, 0o711)
			if err != nil {
				t.Error(err)
				return
			}
			if st, err := os.Stat(dir.Path); err != nil || st.Mode().Perm() != 0o711 {
				t.Error(fmt.Errorf("its directory: %v %w", st, err))
			}
			if err := dir.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	hosts.Wait()
	entries, err := os.ReadDir(parent)
	require.NoError(t, err)
	require.Empty(t, entries, "and the dead host's is gone")
}
