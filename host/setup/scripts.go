package setup

import (
	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/scripts"
	"github.com/liveapid/liveapid/host/worker"
)

// scripts makes a supervisor for each script module. One that is broken is logged and left
// out; the others work.
func (rt *Runtime) scripts() ([]host.Plugin, error) {
	if rt.config.Modules == "" {
		return nil, nil
	}
	finder := scripts.Finder{Dir: rt.config.Modules, Bindings: rt.config.Bindings}
	if rt.config.Mode == config.Server {
		finder.Check = worker.CheckTrusted
	}
	modules, broken, err := finder.Find()
	if err != nil {
		return nil, err
	}
	for _, b := range broken {
		rt.log.Error("a module is left out", "error", b.Error())
	}
	plugins := make([]host.Plugin, 0, len(modules))
	for _, m := range modules {
		plugins = append(plugins, rt.supervise(worker.Options{
			Path: rt.config.ScriptWorker, Settings: m.PluginSettings(), Serves: []string{m.Name}, Log: rt.log.With("module", m.Name),
		}))
	}
	return plugins, nil
}
