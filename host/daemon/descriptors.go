package daemon

import (
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/front/https"
	"github.com/liveapid/liveapid/host/front/session"
	"github.com/liveapid/liveapid/protocol"
)

// The process has a limited number of descriptors. Sessions and connections may take these parts of it;
// workers, the control socket, the mail server and files use the rest.
const (
	partOfSessions    = 2 // Half.
	partOfConnections = 8
)

// descriptors returns how many descriptors the process may have.
func descriptors() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 1024
	}
	return int(min(l.Cur, 1<<30))
}

// socketLimits returns the limits of sessions on the socket, lowered to the available descriptors.
func (rt *Runtime) socketLimits() session.Limits {
	l := sessionLimits(rt.state.Load().config)
	if l.Sessions <= 0 {
		l.Sessions = protocol.MaxSessions
	}
	l.Sessions = rt.within("limits.sessions", l.Sessions, partOfSessions)
	return l
}

// connections returns how many connections the HTTPS API may have.
func (rt *Runtime) connections(c config.Web) int {
	limit := c.Connections
	if limit <= 0 {
		limit = https.DefaultConnections
	}
	return rt.within("web.connections", limit, partOfConnections)
}

// within lowers a limit to its part of the descriptors and logs a warning if it does.
func (rt *Runtime) within(name string, limit, part int) int {
	have := descriptors()
	if have/part >= limit {
		return limit
	}
	rt.log.Warn("the limit of open files is too low for the configuration", "key", name, "wanted", limit, "taken", have/part, "open_files", have)
	return max(1, have/part)
}
