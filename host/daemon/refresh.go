package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/front/session"
	"github.com/liveapid/liveapid/host/modules/scripts"
)

// freshness remembers the state of the files from which the plugins were loaded. In personal mode, whose user writes
// the modules, the host compares the files before each call, so that an edited module is served at once.
type freshness struct {
	mu    sync.Mutex
	stamp string
	next  time.Time // Earliest time of the next comparison.
}

const (
	// cheap is the time that each comparison may take. Directories with thousands of files need more.
	cheap = 5 * time.Millisecond
	// share is the part of the time that longer comparisons may take: one part in share.
	share = 20
)

// changed reports whether the files differ from those at the last call of changed.
func (f *freshness) changed(c *config.Config) bool {
	start := time.Now()
	if start.Before(f.next) {
		return false
	}
	var now strings.Builder
	if c.Modules != "" {
		now.WriteString(scripts.Stamp(c.Modules))
	}
	mocked := []string{}
	if entries, err := os.ReadDir(c.Mocks); err == nil {
		for _, e := range entries {
			mocked = append(mocked, filepath.Join(c.Mocks, e.Name()))
		}
	}
	for _, m := range c.Replays {
		mocked = append(mocked, m.Cassette)
	}
	for _, path := range mocked {
		if info, err := os.Stat(path); err == nil {
			_, _ = fmt.Fprint(&now, path, info.Size(), info.ModTime().UnixNano())
		}
	}
	for _, p := range c.Plugins {
		for _, path := range append([]string{p.Path}, p.Args...) {
			if info, err := os.Stat(path); err == nil {
				_, _ = fmt.Fprint(&now, path, info.Size(), info.ModTime().UnixNano())
			}
		}
	}
	if took := time.Since(start); took > cheap {
		f.next = time.Now().Add(share * took)
	}
	before := f.stamp
	f.stamp = now.String()
	return f.stamp != before
}

// refresh loads the plugins again if their files have changed. It does nothing in server mode, where a reload does it.
// Calls in flight end on the plugins on which they began; refresh does not wait for them.
func (rt *Runtime) refresh() {
	if rt.Mode() != config.Personal || rt.life.Err() != nil {
		return
	}
	rt.files.mu.Lock()
	defer rt.files.mu.Unlock()
	if !rt.files.changed(rt.state.Load().config) {
		return
	}
	rt.reloading.Lock()
	defer rt.reloading.Unlock()
	old := rt.state.Load()
	next := *old
	var err error
	if next.loaded, err = rt.load(old.config, old.plugins); err != nil {
		rt.log.Error("can't load the modules again; the old ones are served", "error", err.Error())
		return
	}
	rt.state.Store(&next)
	drained := rt.Host.Replace(rt.allPlugins(next.loaded))
	rt.ending.Go(func() {
		drained(rt.life)
		rt.closeReplaced(old.plugins, next.loaded)
	})
}

// SourceStamp returns a text that changes when a file of a module changes. It is "" in server mode.
func (rt *Runtime) SourceStamp() string {
	if rt.Mode() != config.Personal {
		return ""
	}
	rt.files.mu.Lock()
	defer rt.files.mu.Unlock()
	watch := freshness{}
	watch.changed(rt.state.Load().config)
	return watch.stamp
}

// Doer returns the host with the checks of all front doors, for a program that makes calls itself.
func (rt *Runtime) Doer() session.Doer { return rt.checked() }
