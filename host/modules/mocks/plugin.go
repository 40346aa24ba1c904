package mocks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/modules/cassette"
	"github.com/liveapid/liveapid/protocol"
)

// Plugin serves mocks as a plugin of the host. Exactly one of its sources is set.
type Plugin struct {
	set    *Set
	player *cassette.Player
	all    bool // Every call, also one that the cassette does not contain.
}

var (
	_ host.Plugin  = Plugin{}
	_ host.Dynamic = Plugin{}
)

// Of returns the plugin that serves the mocks of a file.
func Of(s *Set) Plugin { return Plugin{set: s} }

// Replaces reports whether the plugin comes before modules with the same name.
func (s *Set) Replaces() bool { return s.file.Replace }

// Path returns the path of the file.
func (s *Set) Path() string { return s.path }

// Module returns the name of the module.
func (s *Set) Module() string { return s.file.Module }

// From returns the plugin that answers from a cassette. If all, it gets every call of every module.
func From(p *cassette.Player, all bool) Plugin { return Plugin{player: p, all: all} }

// Player returns the player of a plugin that answers from a cassette.
func (p Plugin) Player() *cassette.Player { return p.player }

// Function implements host.Dynamic.
func (p Plugin) Function(call protocol.Call) (fn protocol.Function, ok bool) {
	if p.player != nil {
		return open(call.API, call.Func, "A recorded function."), p.all || p.player.Has(call.API, call.Module, call.Func)
	}
	if p.set.file.Module != call.Module {
		return fn, false
	}
	a := p.set.find(call.API, call.Func, nil, false)
	if a == nil {
		return fn, false
	}
	return open(call.API, call.Func, a.Help), true
}

// Whole implements host.Dynamic. The answers of a cassette are filtered, sorted and paged already.
func (p Plugin) Whole() bool { return p.player != nil }

// open describes a function of which only the name is known.
func open(api protocol.API, name, help string) protocol.Function {
	if help == "" {
		help = "A mocked function."
	}
	return protocol.Function{API: api, Name: name, Help: help, Open: true, Roles: []protocol.Role{protocol.RoleAccount, protocol.RoleMailbox, protocol.RoleAdmin}}
}

// Modules implements host.Plugin.
func (p Plugin) Modules(context.Context, protocol.Account) ([]protocol.Module, error) {
	if p.player != nil {
		byName := make(map[string]int)
		var out []protocol.Module
		for _, e := range p.player.Functions() {
			api, _ := cassette.APIOf(e.API)
			i, known := byName[e.Module]
			if !known {
				i = len(out)
				byName[e.Module] = i
				out = append(out, protocol.Module{Name: e.Module, Help: "Recorded calls."})
			}
			out[i].Functions = append(out[i].Functions, open(api, e.Func, "A recorded function."))
		}
		return out, nil
	}
	m := protocol.Module{Name: p.set.file.Module, Help: p.set.file.Help}
	if m.Help == "" {
		m.Help = "A mocked module."
	}
	for _, a := range p.set.file.Answers {
		api, _ := cassette.APIOf(a.API)
		if first := p.set.find(api, a.Function, nil, false); first == a {
			m.Functions = append(m.Functions, open(api, a.Function, a.Help))
		}
	}
	return []protocol.Module{m}, nil
}

// Call implements host.Plugin.
func (p Plugin) Call(ctx context.Context, r host.Request) (*protocol.Result, error) {
	if p.player != nil {
		return p.player.Do(r.Call), nil
	}
	if p.set == nil {
		return nil, errors.New("the plugin has no mocks")
	}
	return p.set.do(r.Caller.Account, r.Call, func(d time.Duration) error {
		if d <= 0 {
			return nil
		}
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", host.ErrNotRun, ctx.Err())
		}
	}), nil
}
