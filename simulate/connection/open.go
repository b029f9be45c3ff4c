package connection

import (
	"context"
	"crypto/tls"
	"errors"

	"github.com/isthmus-io/isthmus/fault"
)

// Hello is how a device introduces itself.
type Hello struct {
	Host        string // of the device's own hub, where it is not the way's
	Device      string
	Token       string           // SAS; empty with a certificate
	Certificate *tls.Certificate // nil with a token
	KeepAlive   uint16           // seconds
}

// Open connects and waits until the hub has let the device in, which over HTTPS it says no earlier than with its first answer. The hub's
// refusal is Unauthenticated, Unavailable when it says it cannot serve now.
func (w *Way) Open(ctx context.Context, hello Hello, sink Sink) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Timeout)
	defer cancel()
	raw, err := w.dial(ctx)
	if err != nil {
		return nil, err
	}
	cfg := w.tls
	if hello.Certificate != nil {
		cfg = cfg.Clone()
		cfg.ClientSessionCache, cfg.Certificates = nil, []tls.Certificate{*hello.Certificate}
	}
	secure := tls.Client(raw, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, w.tlsWords(ctx, err)
	}
	c := &Conn{way: w, raw: raw, net: secure, sink: sink, done: make(chan struct{})}
	if w.cfg.Protocol.WebSocket() {
		if c.net, err = w.upgrade(ctx, secure); err != nil {
			_ = secure.Close()
			return nil, err
		}
	}
	c.talk = w.talk(c)
	if err := c.introduce(ctx, hello); err != nil {
		_ = c.net.Close()
		_ = raw.Close()
		return nil, err
	}
	go c.read()
	return c, nil
}

func (w *Way) tlsWords(ctx context.Context, err error) error {
	op := "connection.Open"
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fault.Newf(op, fault.Unauthenticated, "the certificate of %s is not trusted: %v", w.Target(), e.Err).
			Advise("give the authority that signed it with --ca FILE").Because(err)
	}
	if ctx.Err() != nil {
		return fault.Newf(op, fault.Timeout, "%s did not finish TLS in time", w.Target()).Because(err)
	}
	return fault.Newf(op, fault.Unavailable, "TLS with %s failed: %v", w.Target(), err).
		Advise("check that a hub answers there, and on that port").Because(err)
}

// introduce lets the talk begin, for as long as ctx allows.
func (c *Conn) introduce(ctx context.Context, hello Hello) error {
	stop := context.AfterFunc(ctx, func() { _ = c.raw.Close() })
	defer stop()
	return c.talk.introduce(ctx, hello)
}
