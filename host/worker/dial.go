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

// connection is the one connection to a worker. There is no second: between two, the
// worker could lay a link to somebody else's socket in the place of its own.
type connection struct {
	mu   sync.Mutex
	used bool
	conn net.Conn
}

// once connects by dial, the first time only.
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

// shut closes the connection, and refuses a later one.
func (c *connection) shut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used = true
	if c.conn != nil {
		_ = c.conn.Close()
	}
}

// dialAs connects to socket and hangs up unless uid listens there.
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
