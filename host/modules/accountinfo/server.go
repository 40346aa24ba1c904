package accountinfo

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/protocol"
)

func (p *Plugin) serverInformation() []function {
	return []function{
		uapi("get_information", "Show the state of the server.", "A record for each service, metric and device: type, name, value and status.",
			func(context.Context, host.Request) (*protocol.Result, error) { return list(p.serverState()) }),
	}
}

// serverState returns the records of ServerInformation::get_information: this host, the load and the memory
// in use. The host does not know which other services run.
func (p *Plugin) serverState() []any {
	record := func(kind, name, value, version string, well bool) map[string]any {
		return map[string]any{"type": kind, "name": name, "value": value, "version": version, "status": flag(well), "error": ""}
	}
	out := []any{record("service", "liveapid", "up", host.Version, true)}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return out
	}
	load := float64(info.Loads[0]) / (1 << 16)
	out = append(out, record("metric", "Server Load", fmt.Sprintf("%.2f (%d CPUs)", load, runtime.NumCPU()), "", load < float64(runtime.NumCPU())))
	if info.Totalram > 0 {
		used := 100 * float64(info.Totalram-info.Freeram-info.Bufferram) / float64(info.Totalram)
		out = append(out, record("metric", "Memory Used", fmt.Sprintf("%.2f%%", used), "", used < 95))
	}
	return out
}
