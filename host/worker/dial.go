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

// connection is the only connection to a worker. The host never connects again: meanwhile the worker could
// replace its socket by a link to another user's.
type connection struct {
	mu   sync.Mutex
	used bool
	conn net.Conn
}

// once connects with dial, the first time only.
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

// shut closes the connection and prevents a later one.
func (c *connection) shut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used = true
	if c.conn != nil {
		_ = c.conn.Close()
	}
}

// dialAs connects to socket, and closes the connection unless uid listens there.
func dialAs(ctx context.Context, socket string, uid int) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	cred, err := unixsock.Of(conn.(*net.UnixConn))
	if err == nil && int(cred.Uid) != uid {
		err = fmt.Errorf("uid %d listens on the plugin's socket, not %d", cred.Uid, uid)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}
