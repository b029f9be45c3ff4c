package balance

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/proxyproto"
)

// check asks the target whether it lives, within the settings' time.
func (t *target) check(ctx context.Context, s *settings) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	c, err := t.group.b.cfg.Dial(ctx, t.at)
	if err != nil {
		return unanswered(ctx, err)
	}
	defer c.Close()
	if at, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(at)
	}
	if err := introduce(c, s.proxy); err != nil {
		return unanswered(ctx, err)
	}
	if s.check != resource.CheckTLS {
		if tcp, ok := c.(*net.TCPConn); ok && s.proxy == "" {
			_ = tcp.SetLinger(0) // leaves nothing waiting on either side
		}
		return nil
	}
	name := s.serverName
	if h := t.host.Load(); name == "" && !h.literal {
		name = h.name
	}
	// Whether the certificate is good is between the clients and the target.
	talk := tls.Client(c, &tls.Config{ServerName: name, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}) //nolint:gosec // see above
	if err := talk.HandshakeContext(ctx); err != nil {
		return unanswered(ctx, err)
	}
	_ = talk.Close()
	return nil
}

// introduce tells a target that wants PROXY headers that we speak for ourselves.
func introduce(c net.Conn, version resource.ProxyVersion) error {
	h := proxyproto.Header{Version: 2, Local: true}
	switch version {
	case resource.ProxyV1:
		h = proxyproto.Header{Version: 1} // UNKNOWN
	case resource.ProxyV2:
	default:
		return nil
	}
	b, err := proxyproto.Append(nil, h)
	if err != nil {
		return err
	}
	_, err = c.Write(b)
	return err
}

func unanswered(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) || isTimeout(err) {
		return fault.New("balance.check", fault.Timeout, "it did not answer in time").Because(err)
	}
	return err
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}
