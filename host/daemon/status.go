package daemon

import (
	"cmp"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/front/control"
	"github.com/liveapid/liveapid/host/record/metrics"
	"github.com/liveapid/liveapid/protocol"
)

// maxUsage is the maximum number of accounts for which usage keeps counters.
const maxUsage = 10_000

// usage counts the calls of each account for the host's status.
type usage struct {
	mu       sync.Mutex
	calls    uint64
	failures uint64
	accounts map[string]*control.Account
}

var _ host.Observer = (*usage)(nil)

func newUsage() *usage { return &usage{accounts: make(map[string]*control.Account)} }

// Begin implements host.Observer. It does nothing, because usage counts a call when the call ends.
func (u *usage) Begin(host.Event) error { return nil }

// End implements host.Observer. It counts the call e for the account of the caller.
func (u *usage) End(e host.Event, result *protocol.Result, took time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.calls++
	name := e.Caller.Account.Name
	a := u.accounts[name]
	if a == nil {
		if len(u.accounts) >= maxUsage {
			clear(u.accounts) // Limits the memory: all accounts start again at 0.
		}
		a = &control.Account{Name: name}
		u.accounts[name] = a
	}
	a.Calls++
	a.Seconds += took.Seconds()
	a.Last = e.Module + "::" + e.Function.Name
	if result.Err != nil {
		u.failures++
		a.Failures++
	}
}

// Status returns the current state of the host, for the control socket.
func (rt *Runtime) Status() control.Status {
	now := rt.state.Load()
	c := now.config
	s := control.Status{
		PID: os.Getpid(), Mode: string(c.Mode), Socket: c.Socket, Started: rt.started, Accounts: rt.mode.count(), InFlight: now.calls.InFlight(),
		Workers: rt.mode.workers(), MostWorkers: c.Limits.Workers, Cgroups: rt.mode.controllers(),
	}
	if server := rt.sessions.Load(); server != nil {
		s.Sessions = server.Sessions()
	}
	for _, p := range now.plugins {
		st := p.supervisor.Status()
		out := control.Plugin{Name: p.name, Path: p.supervisor.Source(), Restarts: st.Restarts, Hangs: st.Hangs, MemoryKills: st.MemoryKills}
		for _, w := range st.Workers {
			out.Workers = append(out.Workers, control.Worker(w))
		}
		s.Plugins = append(s.Plugins, out)
	}
	rt.records.usage.mu.Lock()
	defer rt.records.usage.mu.Unlock()
	s.Calls, s.Failures = rt.records.usage.calls, rt.records.usage.failures
	for _, a := range rt.records.usage.accounts {
		s.Usage = append(s.Usage, *a)
	}
	slices.SortFunc(s.Usage, func(a, b control.Account) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Name, b.Name))
	})
	if len(s.Usage) > control.MaxUsage {
		s.Usage = s.Usage[:control.MaxUsage]
	}
	return s
}

// sources returns the functions from which metrics reads its values.
func (rt *Runtime) sources() metrics.Sources {
	return metrics.Sources{
		Sessions: func() int { return rt.Status().Sessions },
		Calls:    func() int { return rt.Status().InFlight },
		Accounts: func() int { return rt.Status().Accounts },
		Workers: func() (out []metrics.Workers) {
			byName := make(map[string]*metrics.Workers) // Several plugins may have the same name.
			for _, p := range rt.Status().Plugins {
				w := byName[p.Name]
				if w == nil {
					w = &metrics.Workers{Plugin: p.Name}
					byName[p.Name] = w
				}
				w.Restarts, w.Hangs, w.MemoryKills = w.Restarts+p.Restarts, w.Hangs+p.Hangs, w.MemoryKills+p.MemoryKills
				for _, one := range p.Workers {
					if one.PID > 0 {
						w.Running++
						w.Memory += one.Memory
					}
				}
			}
			for _, w := range byName {
				out = append(out, *w)
			}
			return out
		},
	}
}
