package tests

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/hosttest"
)

// Reloads under load fail no call and have no data race: the host runs in this process, so that the race
// detector sees it.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	w := hosttest.Sandbox(t)
	// A host in this process would look for the plugin next to the test's program.
	w.Set(t, "[[plugin]]", fmt.Sprintf("[[plugin]]\npath = %q", hosttest.Bin(t, "liveapi-email")))
	rt := w.Start(t)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		c := w.Dial(t)
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if answer := c.Call("uapi", "Email", "count_pops", `{}`); !strings.Contains(answer, `"status":1`) {
					t.Error(answer)
					return
				}
			}
		})
	}
	clients.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = rt.Status()
				_, _ = rt.DomainOwner("example.com"), rt.Mode()
			}
		}
	})
	before := "[limits]"
	for i := range 20 {
		after := fmt.Sprintf("[limits]\naccount_calls = %d", 64+i)
		w.Set(t, before, after)
		before = after
		require.NoError(t, rt.Reload(t.Context()))
	}
	close(stop)
	clients.Wait()
}
