package httpdoor

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
)

// Subprotocols of IoT Hub's and Event Hubs' WebSockets, for Config.WebSocket.
const (
	MQTTOverWebSocket  = "mqtt"
	AMQPOverWebSocket  = "AMQPWSB10"
	AMQPOverWebSocket2 = "amqp" // the registered name (AMQP WebSocket binding 1.0, 2.1), with the same content
)

// takeWebSocket gives the stream inside a WebSocket to the door of its subprotocol. A packet may span frames and a frame hold many; text is
// refused, and nothing is compressed. What stands in a browser's Origin does not matter: devices prove who they are in the protocol inside.
func (x *exchange) takeWebSocket() error {
	op := "httpdoor.takeWebSocket"
	doors := x.door.cfg.WebSocket
	if len(doors) == 0 || x.local() {
		return code.With(fault.Newf(op, fault.NotFound, "%s serves no WebSockets here", x.hub.HostName()), code.NotFound)
	}
	// A client that gets no subprotocol back does not say so, it only never goes on.
	offered := slices.Sorted(maps.Keys(doors))
	if x.limited { // the others would refuse it later, in their own words
		offered = slices.DeleteFunc(offered, func(name string) bool { return name != AMQPOverWebSocket && name != AMQPOverWebSocket2 })
	}
	name, ok := subprotocol(x.Header.Values("Sec-WebSocket-Protocol"), offered)
	if !ok {
		return fault.Newf(op, fault.Invalid, "the WebSocket asks for subprotocol %.100q", strings.Join(x.Header.Values("Sec-WebSocket-Protocol"), ", ")).
			Advise("ask for %s", strings.Join(offered, " or "))
	}
	c, err := websocket.Accept(lean{x.w}, x.Request, &websocket.AcceptOptions{
		Subprotocols: []string{name}, InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return nil //nolint:nilerr // it has answered
	}
	x.tracked.handOver()
	ctx := x.conn.Context() // that of the request ends here
	conn := x.conn.Over(&inside{Conn: websocket.NetConn(ctx, c, websocket.MessageBinary), socket: c}, name+" over WebSocket")
	x.conn.Hand(func() { doors[name](ctx, conn) })
	return nil
}

// subprotocol returns the first of those offered that the client asks for.
func subprotocol(asked, offered []string) (string, bool) {
	for _, o := range offered {
		for _, line := range asked {
			for name := range strings.SplitSeq(line, ",") {
				if strings.EqualFold(strings.TrimSpace(name), o) {
					return o, true
				}
			}
		}
	}
	return "", false
}

// lean gives a WebSocket small buffers: it keeps them as long as it lives, and a device is silent most of the time. What is larger than a
// buffer passes by it.
type lean struct{ http.ResponseWriter }

const leanBuffer = 256

// Hijack implements http.Hijacker.
func (l lean) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, large, err := http.NewResponseController(l.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	n := large.Reader.Buffered()
	r := bufio.NewReaderSize(large.Reader, max(leanBuffer, n))
	if _, err := r.Peek(n); err != nil { // these are there, and Accept takes them from the buffer
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, bufio.NewReadWriter(r, bufio.NewWriterSize(conn, leanBuffer)), nil
}

// inside is what is spoken inside a WebSocket.
type inside struct {
	net.Conn
	socket *websocket.Conn
	until  atomic.Int64 // when reading ends, Unix nanoseconds; 0 for never
}

// SetDeadline implements net.Conn.
func (s *inside) SetDeadline(t time.Time) error {
	s.note(t)
	return s.Conn.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (s *inside) SetReadDeadline(t time.Time) error {
	s.note(t)
	return s.Conn.SetReadDeadline(t)
}

func (s *inside) note(t time.Time) {
	if t.IsZero() {
		s.until.Store(0)
		return
	}
	s.until.Store(t.UnixNano())
}

// Read says in the words of net.Conn, and in ours, why nothing more is read: the library has errors of its own for both.
func (s *inside) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	switch until := s.until.Load(); {
	case err == nil || errors.Is(err, io.EOF):
		return n, err
	case until != 0 && time.Now().UnixNano() >= until:
		return n, fmt.Errorf("%w: %w", os.ErrDeadlineExceeded, err)
	case strings.Contains(err.Error(), "unexpected frame type"):
		return n, fault.New("httpdoor.webSocket", fault.Invalid, "a frame of the WebSocket is text").Advise("what is spoken inside is in binary frames").Because(err)
	}
	return n, err
}

// Close ends the connection without the WebSocket's last words: what there is to say is said in the protocol inside.
func (s *inside) Close() error {
	_ = s.socket.CloseNow() // it may be closed already
	return s.Conn.Close()
}

// CloseWrite says that nothing more comes, and waits for the peer to say the same.
func (s *inside) CloseWrite() error { return s.Conn.Close() }
