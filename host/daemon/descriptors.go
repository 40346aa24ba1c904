package daemon

import (
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/front/https"
	"github.com/liveapid/liveapid/host/front/session"
	"github.com/liveapid/liveapid/protocol"
)

// The number of file descriptors of the process is limited. Sessions may use at most 1/partOfSessions of
// them, connections of the HTTPS API at most 1/partOfConnections. The rest is for workers, the control
// socket, the mail server and files.
const (
	partOfSessions    = 2 // One half.
	partOfConnections = 8
)

// descriptors returns the maximum number of open file descriptors of the process.
func descriptors() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 1024
	}
	return int(min(l.Cur, 1<<30))
}

// socketLimits returns the limits of the sessions on the socket. The number of sessions is lowered if the
// process may not open enough file descriptors.
func (rt *Runtime) socketLimits() session.Limits {
	l := sessionLimits(rt.state.Load().config)
	if l.Sessions <= 0 {
		l.Sessions = protocol.MaxSessions
	}
	l.Sessions = rt.within("limits.sessions", l.Sessions, partOfSessions)
	return l
}

// connections returns the maximum number of connections to the HTTPS API. The number is lowered if the
// process may not open enough file descriptors.
func (rt *Runtime) connections(c config.Web) int {
	limit := c.Connections
	if limit <= 0 {
		limit = https.DefaultConnections
	}
	return rt.within("web.connections", limit, partOfConnections)
}

// within returns limit, or the maximum number of open file descriptors divided by part if that is lower. If
// within lowers the limit, it logs a warning that contains name, the configuration key of the limit.
func (rt *Runtime) within(name string, limit, part int) int {
	have := descriptors()
	if have/part >= limit {
		return limit
	}
	rt.log.Warn("the limit of open files (RLIMIT_NOFILE) is too low for a limit in the configuration; a lower limit is used", "key", name, "wanted", limit, "taken", have/part, "open_files", have)
	return max(1, have/part)
}
