package connection

import (
	"context"
	"crypto/tls"
	"errors"
	"io"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// Hello is how a device introduces itself.
type Hello struct {
	Host        string // of the device's own hub, where it is not the way's
	Device      string
	Token       string           // SAS; empty with a certificate
	Certificate *tls.Certificate // nil with a token
	KeepAlive   uint16           // seconds
}

// Open connects and waits for CONNACK. The hub's refusal is Unauthenticated, Unavailable when it says it cannot serve now.
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
	if w.cfg.WebSocket {
		if c.net, err = w.upgrade(ctx, secure); err != nil {
			_ = secure.Close()
			return nil, err
		}
	}
	if err := c.introduce(ctx, hello, w.cfg.Host); err != nil {
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

// apiVersion is what a user name says; hubs look only whether it is there.
const apiVersion = "/?api-version=2021-04-12&DeviceClientType=isthmus-simulate"

// introduce says CONNECT and reads the answer, which comes before anything else.
func (c *Conn) introduce(ctx context.Context, hello Hello, host string) error {
	op := "connection.Open"
	stop := context.AfterFunc(ctx, func() { _ = c.raw.Close() })
	defer stop()
	connect := &mqtt.Connect{
		ClientID: hello.Device, CleanSession: true, KeepAlive: hello.KeepAlive, HasUserName: true, UserName: host + "/" + hello.Device + apiVersion,
	}
	if hello.Token != "" {
		connect.HasPassword, connect.Password = true, []byte(hello.Token)
	}
	b, err := connect.Append(nil)
	if err != nil {
		return fault.Wrap(op, fault.Invalid, err, "the device's id or token is too long")
	}
	if _, err := c.net.Write(b); err != nil {
		return fault.Wrap(op, fault.Unavailable, err, "the connection broke before the hub answered")
	}
	var head [4]byte
	if _, err := io.ReadFull(c.net, head[:]); err != nil {
		if ctx.Err() != nil {
			return fault.Newf(op, fault.Timeout, "%s did not answer CONNECT in time", c.way.Target()).Because(err)
		}
		return fault.Wrap(op, fault.Unavailable, err, "the hub closed the connection without an answer")
	}
	p, err := mqtt.Decode(head[0], head[2:])
	ack, ok := p.(mqtt.Connack)
	if err != nil || head[1] != 2 || !ok {
		return fault.Newf(op, fault.Unavailable, "the hub answered CONNECT with %s, which is no answer", mqtt.TypeOf(head[0])).Because(err)
	}
	switch ack.Code {
	case mqtt.Accepted:
		return nil
	case mqtt.ServerUnavailable:
		return fault.Newf(op, fault.Unavailable, "the hub cannot serve the device now (CONNACK code %d)", ack.Code)
	}
	return fault.Newf(op, fault.Unauthenticated, "the hub refused the device with CONNACK code %d", ack.Code).
		Advise("the device is not in the registry, or the key, the clock or the way in is wrong: the hub's log says which")
}
