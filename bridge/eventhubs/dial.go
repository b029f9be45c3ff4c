package eventhubs

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"

	"github.com/coder/websocket"

	"github.com/isthmus-io/isthmus/fault"
)

// Where AMQP is spoken in a WebSocket, and what it is called there (Event Hubs: AMQP over WebSockets).
const (
	webSocketPath = "/$servicebus/websocket"
	subprotocol   = "AMQPWSB10"
)

// dial opens a connection to the host that AMQP can be spoken on.
func (a *access) dial(ctx context.Context, host string) (net.Conn, error) {
	const op = "eventhubs.Connect"
	port, web := a.portOf()
	raw, err := a.end.To(ctx, port)
	if err != nil {
		if _, ok := errors.AsType[*fault.Error](err); ok {
			return nil, err
		}
		return nil, fault.Newf(op, fault.Unavailable, "%s cannot be reached through the endpoint %s", host, a.end.Name).Because(err)
	}
	if a.plain {
		return raw, nil
	}
	secure := tls.Client(raw, a.end.Config(host))
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			return nil, fault.Newf(op, fault.Unavailable, "what is behind the endpoint %s does not prove to be %s", a.end.Name, host).
				Advise("its certificate has another name or is signed by nobody this machine trusts").Because(err)
		}
		return nil, fault.Newf(op, fault.Unavailable, "%s did not speak TLS through the endpoint %s", host, a.end.Name).Because(err)
	}
	if !web {
		return secure, nil
	}
	conn, err := upgrade(ctx, secure, host)
	if err != nil {
		_ = secure.Close()
	}
	return conn, err
}

// upgrade makes a WebSocket of a connection.
func upgrade(ctx context.Context, secure net.Conn, host string) (net.Conn, error) {
	const op = "eventhubs.Connect"
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
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	//nolint:bodyclose // the body is the connection's, or closed already (package websocket, Dial)
	c, resp, err := websocket.Dial(ctx, "wss://"+host+webSocketPath, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: t, CheckRedirect: stay}, Subprotocols: []string{subprotocol}, CompressionMode: websocket.CompressionDisabled,
	})
	switch {
	case err != nil && resp != nil:
		return nil, fault.Newf(op, fault.Unavailable, "%s does not speak AMQP in a WebSocket: it answered %s", host, resp.Status).Because(err)
	case err != nil:
		return nil, fault.Newf(op, fault.Unavailable, "%s does not speak WebSocket", host).Because(err)
	case c.Subprotocol() != subprotocol:
		_ = c.CloseNow()
		return nil, fault.Newf(op, fault.Unavailable, "%s speaks WebSocket, but not AMQP in it", host)
	}
	c.SetReadLimit(-1) // frames of AMQP are bounded, and read as they come
	return websocket.NetConn(context.WithoutCancel(ctx), c, websocket.MessageBinary), nil
}
