package virtualdevice

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/socketstream"
)

const (
	targetTimeout = 5 * time.Second  // until an address has to have answered
	comeTimeout   = 30 * time.Second // to come for a stream, of the minute that hubs allow
)

// dialTarget connects to HOST:PORT or unix:/PATH.
func dialTarget(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, targetTimeout)
	defer cancel()
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, fault.Newf("virtualdevice.dialTarget", fault.Unavailable, "%s does not answer: %s", address, cause(err)).Because(err)
	}
	return c, nil
}

// cause says why a connection could not be made, without what is said beside it already.
func cause(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Message
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

// only is an HTTP client that has one connection, and goes nowhere else.
func only(conn net.Conn) *http.Client {
	left := make(chan net.Conn, 1)
	left <- conn
	return &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
				select {
				case c := <-left:
					return c, nil
				default:
					return nil, errors.New("there is one connection")
				}
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// come opens the WebSocket of a stream.
func (h *Host) come(ctx context.Context, i *identity, a asked) (socketstream.Stream, error) {
	op := "virtualdevice.come"
	bounded, cancel := context.WithTimeout(ctx, comeTimeout)
	defer cancel()
	u, err := url.Parse(a.url)
	if err != nil {
		return nil, fault.Wrap(op, fault.Invalid, err, "the stream's address is no URL")
	}
	host, port := splitHost(u.Host, httpsPort)
	address := net.JoinHostPort(host, port)
	raw, err := h.cfg.Dial(bounded, "tcp", address)
	if err != nil {
		return nil, fault.Newf(op, fault.Unavailable, "the stream's address %s cannot be reached: %s", address, cause(err)).Because(err)
	}
	secure := tls.Client(raw, h.tls(i, host))
	if err := secure.HandshakeContext(bounded); err != nil {
		_ = raw.Close()
		return nil, tlsFault(err, host, address)
	}
	c, answer, err := websocket.Dial(bounded, a.url, &websocket.DialOptions{ //nolint:bodyclose // it is the connection's
		HTTPClient: only(secure), HTTPHeader: http.Header{"Authorization": {"Bearer " + a.token}}, CompressionMode: websocket.CompressionDisabled,
		Subprotocols: []string{socketstream.Subprotocol},
	})
	if err != nil {
		_ = raw.Close()
		if answer != nil {
			return nil, fault.Newf(op, fault.Unavailable, "the hub did not take the device's end of the stream: %s", answer.Status).Because(err)
		}
		return nil, fault.Newf(op, fault.Unavailable, "%s speaks no WebSocket", address).Because(err)
	}
	return socketstream.New(ctx, c, func() { _ = raw.Close() }), nil
}

// closeWriter is a connection of which one direction can end before the other.
type closeWriter interface{ CloseWrite() error }

// buffer is what one direction of a session takes of memory.
const buffer = 16 << 10

// carry passes bytes both ways until both have ended, one of the two cannot end alone, or ctx ends. It closes both.
func carry(ctx context.Context, stream socketstream.Stream, target net.Conn) (toTarget, fromTarget int64) {
	over, end := context.WithCancel(ctx)
	defer end()
	var ways, rest sync.WaitGroup
	pass := func(from, to net.Conn, count *int64) {
		var err error
		*count, err = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, buffer))
		if _, half := from.(closeWriter); err == nil && half {
			if w, ok := to.(closeWriter); ok && w.CloseWrite() == nil {
				return
			}
		}
		end()
	}
	ways.Go(func() { pass(stream, target, &toTarget) })
	ways.Go(func() { pass(target, stream, &fromTarget) })
	rest.Go(func() {
		select {
		case <-stream.Gone():
		case <-over.Done():
		}
		if ctx.Err() != nil {
			stream.Cut("the device's settings do not have the stream any more, or it stops")
		} else {
			_ = stream.Close() // what there is to say was said
		}
		_ = target.Close()
	})
	ways.Wait()
	end()
	rest.Wait()
	return toTarget, fromTarget
}
