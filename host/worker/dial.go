package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/liveapid/liveapid/host/front/unixsock"
)

var errRedial = errors.New("the connection to the worker broke")

// connection is the only connection that the host ever makes to a worker. The host never reconnects, because
// the worker could meanwhile have replaced its socket by a link to the socket of another user.
type connection struct {
	mu   sync.Mutex
	used bool
	conn net.Conn
}

// once calls dial and returns its connection. Every further call returns errRedial.
func (c *connection) once(dial func() (net.Conn, error)) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.used {
		return nil, errRedial
	}
	c.used = true
	conn, err := dial()
	c.conn = conn
	return conn, err
}

// shut closes the connection. If no connection was made yet, it prevents the connection from being made
// later.
func (c *connection) shut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used = true
	if c.conn != nil {
		_ = c.conn.Close()
	}
}

// dialAs connects to the UNIX socket at the path socket. It returns an error, and closes the connection, if
// the listening process has another uid than the given one.
func dialAs(ctx context.Context, socket string, uid int) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	cred, err := unixsock.Of(conn.(*net.UnixConn))
	if err == nil && int(cred.Uid) != uid {
		err = fmt.Errorf("a process of uid %d, not of uid %d, listens on the plugin's socket", cred.Uid, uid)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}
