package daemon

import (
	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/front/https"
	"github.com/liveapid/liveapid/host/front/session"
	"github.com/liveapid/liveapid/protocol"
)

// The host has a limited number of descriptors, of which connections from outside may have these parts at
// most; workers, the control socket, the mail server's and files have the rest.
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

// sessionLimits returns the bounds of sessions, within the descriptors that there are.
func (rt *Runtime) sessionLimits() session.Limits {
	l := limits(rt.config)
	if l.Sessions <= 0 {
		l.Sessions = protocol.MaxSessions
	}
	l.Sessions = rt.within("limits.sessions", l.Sessions, partOfSessions)
	return l
}

// connections returns how many connections the HTTPS API may have.
func (rt *Runtime) connections(c config.Web) int {
	most := c.Connections
	if most <= 0 {
		most = https.DefaultConnections
	}
	return rt.within("web.connections", most, partOfConnections)
}

// within lowers a bound to its part of the descriptors, and says so.
func (rt *Runtime) within(name string, most, part int) int {
	have := descriptors()
	if have/part >= most {
		return most
	}
	rt.log.Warn("the limit of open files is too low for the configuration", "key", name, "wanted", most, "taken", have/part, "open_files", have)
	return max(1, have/part)
}
