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

// changed reports whether the files differ from those at the last call of mark. The caller holds mu.
func (f *freshness) changed(c *config.Config) bool {
	start := time.Now()
	if start.Before(f.next) {
		return false
	}
	now := sourceStamp(c)
	if took := time.Since(start); took > cheap {
		f.next = time.Now().Add(share * took)
	}
	return f.stamp != now
}

// mark remembers the state of the files, before the plugins are loaded from them.
func (f *freshness) mark(c *config.Config) {
	if c.Mode != config.Personal {
		return
	}
	stamp := sourceStamp(c)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stamp = stamp
}

// sourceStamp returns a text that changes with the files from which the plugins of c are loaded.
func sourceStamp(c *config.Config) string {
	var now strings.Builder
	if c.Modules != "" {
		now.WriteString(scripts.Stamp(c.Modules))
	}
	var paths []string
	if entries, err := os.ReadDir(c.Mocks); err == nil {
		for _, e := range entries {
			paths = append(paths, filepath.Join(c.Mocks, e.Name()))
		}
	}
	for _, m := range c.Replays {
		paths = append(paths, m.Cassette)
	}
	for _, p := range c.Plugins {
		paths = append(append(paths, p.Path), p.Args...)
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil {
			_, _ = fmt.Fprintln(&now, path, info.Size(), info.ModTime().UnixNano())
		}
	}
	return now.String()
}

// refresh loads the plugins again if their files have changed. It does nothing in server mode, where a reload does it.
// Calls in flight end on the plugins on which they began; refresh does not wait for them.
func (rt *Runtime) refresh() {
	if rt.Mode() != config.Personal || rt.life.Err() != nil {
		return
	}
	rt.files.mu.Lock()
	changed := rt.files.changed(rt.state.Load().config)
	rt.files.mu.Unlock()
	if !changed {
		return
	}
	rt.reloading.Lock() // Held for the time of loading only, and not while calls run.
	defer rt.reloading.Unlock()
	old := rt.state.Load()
	rt.files.mu.Lock()
	rt.files.next = time.Time{}
	changed = rt.files.changed(old.config)
	rt.files.mu.Unlock()
	if !changed || rt.life.Err() != nil {
		return // Another call has loaded them.
	}
	rt.files.mark(old.config)
	next := *old
	var err error
	if next.loaded, err = rt.load(old.config, old.plugins); err != nil {
		rt.log.Error("can't load the modules again; the old ones are served", "error", err.Error())
		return
	}
	rt.state.Store(&next)
	if rt.life.Err() != nil { // Close may have looked at the old state.
		rt.closeReplaced(next.plugins, loaded{})
		return
	}
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
	return sourceStamp(rt.state.Load().config)
}

// Doer returns the host with the checks of all front doors, for a program that makes calls itself.
func (rt *Runtime) Doer() session.Doer { return rt.checked() }
