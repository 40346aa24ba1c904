// Package accountinfo serves the modules with which a program learns about its account and its server:
// DomainInfo, DomainLookup, Variables, Features, Locale, Themes, StatsBar, ServerInformation and Branding. All functions only
// read, and they use only facts that the host has: the account, its domains and limits, and the name of the
// server. A function that reads files of an account must be in a plugin.
package accountinfo

import (
	"context"
	"errors"
	"os"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/protocol"
)

// Options are the parts of the host that the modules use.
type Options struct {
	// Do runs a call of the same account; StatsBar uses it to count mailboxes and disk use.
	Do func(ctx context.Context, caller protocol.Caller, call protocol.Call) *protocol.Result
	// APILevel is the version of cPanel's documentation that the host follows.
	APILevel string
	// Hostname returns the name of the server.
	Hostname func() string
	// HasWeb reports whether the HTTPS API is on, and RequireTLS whether it has no ports without TLS.
	HasWeb, RequireTLS bool
}

// Hostname returns the name of this machine, or localhost if it has none.
func Hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}

// Plugin serves the modules. It implements host.Plugin.
type Plugin struct {
	o         Options
	names     []string
	modules   []protocol.Module
	functions map[key]func(context.Context, host.Request) (*protocol.Result, error)
}

type key struct {
	api            protocol.API
	module, called string
}

var (
	_ host.Plugin        = (*Plugin)(nil)
	_ host.StaticModules = (*Plugin)(nil)
)

// function describes a function of a module. If answer is nil, API 2 has the same data as UAPI.
type function struct {
	protocol.Function
	do func(ctx context.Context, r host.Request) (*protocol.Result, error)
}

// New returns the modules.
func New(o Options) *Plugin {
	p := &Plugin{o: o, functions: make(map[key]func(context.Context, host.Request) (*protocol.Result, error))}
	p.add("DomainInfo", "The account's domains and their document roots.", p.domainInfo())
	p.add("DomainLookup", "The account's domains and their document roots.", p.domainLookup())
	p.add("Variables", "Facts about the account, the server and the session.", p.variables())
	p.add("Features", "The account's features.", featureFunctions())
	p.add("Locale", "The account's language.", localeFunctions())
	p.add("Themes", "The theme of cPanel's interface.", themeFunctions())
	p.add("StatsBar", "What the account uses, and its limits.", p.statsBar())
	p.add("ServerInformation", "The state of the server.", p.serverInformation())
	p.add("Branding", "Parts of cPanel's theme; they are empty.", brandingFunctions())
	return p
}

func (p *Plugin) add(name, help string, functions []function) {
	m := protocol.Module{Name: name, Help: help}
	for _, f := range functions {
		if f.Roles == nil {
			f.Roles = []protocol.Role{protocol.RoleAccount}
		}
		m.Functions = append(m.Functions, f.Function)
		p.functions[key{f.API, name, f.Name}] = f.do
	}
	p.names = append(p.names, name)
	p.modules = append(p.modules, m)
}

// Serves implements host.StaticModules.
func (p *Plugin) Serves() []string { return p.names }

// Modules implements host.Plugin. The modules are the same for all accounts.
func (p *Plugin) Modules(context.Context, protocol.Account) ([]protocol.Module, error) {
	return p.modules, nil
}

// Call implements host.Plugin.
func (p *Plugin) Call(ctx context.Context, r host.Request) (*protocol.Result, error) {
	do := p.functions[key{r.Call.API, r.Call.Module, r.Call.Func}]
	if do == nil {
		return nil, errors.New("the function is described but not served") // A bug in this package.
	}
	return do(ctx, r)
}

// everyone are the roles of functions that the user of a mailbox may call, too.
var everyone = []protocol.Role{protocol.RoleAccount, protocol.RoleMailbox}

// uapi returns a function of UAPI.
func uapi(name, help, returns string, do func(ctx context.Context, r host.Request) (*protocol.Result, error), params ...protocol.Param) function {
	return function{protocol.Function{API: protocol.UAPI, Name: name, Help: help, Returns: returns, Params: params}, do}
}

// api2 returns a function of API 2.
func api2(name, help, returns string, do func(ctx context.Context, r host.Request) (*protocol.Result, error), params ...protocol.Param) function {
	return function{protocol.Function{API: protocol.API2, Name: name, Help: help, Returns: returns, Params: params}, do}
}

func text(r host.Request, name string) string {
	s, _ := r.Call.Args.Named[name].(string)
	return s
}

func data(v any) (*protocol.Result, error) { return &protocol.Result{Data: v}, nil }

// list returns the result of a function whose list has the metadata that UAPI documents for it.
func list(v []any) (*protocol.Result, error) {
	return &protocol.Result{Data: v, Metadata: map[string]any{"transformed": int64(1)}}, nil
}

func invalid(message string) (*protocol.Result, error) {
	return protocol.Failed(protocol.NewError(protocol.KindInvalid, message)), nil
}

func texts(values []string) []any {
	out := make([]any, 0, len(values))
	for _, v := range values {
		out = append(out, v)
	}
	return out
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
