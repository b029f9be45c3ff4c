package connection

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/coder/websocket"

	"github.com/isthmus-io/isthmus/fault"
)

const webSocketPath = "/$iothub/websocket"

// upgrade makes a WebSocket of a connection.
func (w *Way) upgrade(ctx context.Context, secure *tls.Conn) (net.Conn, error) {
	op := "connection.upgrade"
	subprotocol, speaks := w.cfg.Protocol.subprotocol()
	var once sync.Once
	t := &http.Transport{
		DisableKeepAlives: true,
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			var c net.Conn
			once.Do(func() { c = secure })
			if c == nil {
				return nil, errors.New("redirected")
			}
			return c, nil
		},
	}
	refuseRedirects := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	//nolint:bodyclose // the body is the connection's, or closed already (package websocket, Dial)
	c, resp, err := websocket.Dial(ctx, "wss://"+w.cfg.Host+webSocketPath, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: t, CheckRedirect: refuseRedirects}, Subprotocols: []string{subprotocol}, CompressionMode: websocket.CompressionDisabled,
	})
	switch {
	case err != nil && resp != nil:
		return nil, fault.Newf(op, fault.Unavailable, "%s does not speak WebSocket: it answered %s", w.Target(), resp.Status).
			Advise("check the port, or use %s, which has one of its own", strings.ToLower(speaks)).Because(err)
	case err != nil:
		return nil, fault.Newf(op, fault.Unavailable, "%s does not speak WebSocket: %v", w.Target(), err).Because(err)
	case c.Subprotocol() != subprotocol:
		_ = c.CloseNow()
		return nil, fault.Newf(op, fault.Unavailable, "%s speaks WebSocket, but not %s in it", w.Target(), speaks)
	}
	return websocket.NetConn(context.WithoutCancel(ctx), c, websocket.MessageBinary), nil
}
