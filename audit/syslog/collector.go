package syslog

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

const (
	dialPatience  = 10 * time.Second
	writePatience = 10 * time.Second
	closePatience = 3 * time.Second

	// unsure is how long before a connection broke a message may have been written and not have arrived; it is sent again over the next one.
	unsure      = 30 * time.Second
	unanswered  = 20 * time.Second // after which a connection whose bytes nobody acknowledges is broken, where the system lets one say so
	mostUnsure  = 4096
	bytesUnsure = 8 << 20
)

// Destination is where messages go.
type Destination struct {
	Network string // tls, tcp, udp or unix
	Address string // host:port, or the path of a socket
}

// ParseDestination reads tls://HOST[:6514], tcp://HOST:PORT, udp://HOST[:514] or unix:PATH. Invalid for anything else.
func ParseDestination(s string) (Destination, error) {
	op := "syslog.ParseDestination"
	u, err := url.Parse(s)
	if err != nil {
		return Destination{}, fault.Newf(op, fault.Invalid, "%.200q is no address of a log collector", s).Advise("write tls://HOST, tcp://HOST:PORT, udp://HOST or unix:/dev/log")
	}
	wrong := func(words string) (Destination, error) {
		return Destination{}, fault.Newf(op, fault.Invalid, "%.200q is no address of a log collector: %s", s, words).
			Advise("write tls://HOST, tcp://HOST:PORT, udp://HOST or unix:/dev/log")
	}
	if u.Scheme == "unix" {
		path := u.Path
		if u.Opaque != "" {
			path = u.Opaque
		}
		if path == "" || u.Host != "" {
			return wrong("the path is missing")
		}
		return Destination{"unix", path}, nil
	}
	port := map[string]string{"tls": "6514", "tcp": "", "udp": "514"}
	instead, ok := port[u.Scheme]
	switch {
	case !ok:
		return wrong("it begins with none of tls, tcp, udp and unix")
	case u.Hostname() == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return wrong("it has more or less than a host and a port")
	case u.Port() != "":
		instead = u.Port()
	}
	if n, err := strconv.Atoi(instead); err != nil || n < 1 || n > 65535 {
		return wrong("the port is missing or no port")
	}
	return Destination{u.Scheme, net.JoinHostPort(u.Hostname(), instead)}, nil
}

// Config is how a Collector connects. The zero value trusts what the machine trusts.
type Config struct {
	Roots        *x509.CertPool    // whom to trust over TLS; nil: what the machine trusts
	Certificates []tls.Certificate // one is shown over TLS where the collector asks for it
	Dial         func(ctx context.Context, network, address string) (net.Conn, error)
}

// Collector sends messages to one destination, and connects again when it must. It is for one goroutine.
type Collector struct {
	to     Destination
	cfg    Config
	clock  clock.Clock
	conn   net.Conn
	gone   chan struct{} // closed when the peer of a stream has ended it; nil for datagrams
	ended  time.Time     // when the connection before broke; by the goroutine that closes gone, or by drop
	recent []sent
	bytes  int
}

type sent struct {
	at    time.Time
	frame []byte
}

// New makes a collector; nothing is dialled before the first Send.
func New(to Destination, cfg Config, clk clock.Clock) *Collector {
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: dialPatience}).DialContext
	}
	return &Collector{to: to, cfg: cfg, clock: clk}
}

// Limit is how long a message may be.
func (c *Collector) Limit() int {
	if c.to.Network == "udp" {
		return MaxDatagram
	}
	return MaxMessage
}

// Send writes one message. Unavailable when the collector cannot be reached: nothing is lost, send it again later.
func (c *Collector) Send(ctx context.Context, message []byte) error {
	if c.conn != nil {
		select {
		case <-c.gone:
			c.drop()
		default:
		}
	}
	if c.conn == nil {
		if err := c.connect(ctx); err != nil {
			return err
		}
	}
	frame := c.frame(message)
	if err := c.write(frame); err != nil {
		return err
	}
	c.remember(frame)
	return nil
}

// frame is the message as it goes out: octet-counted on streams (RFC 5425, clause 4.3; RFC 6587, clause 3.4.1).
func (c *Collector) frame(message []byte) []byte {
	if c.gone == nil {
		return append([]byte(nil), message...)
	}
	return append(append(strconv.AppendInt(nil, int64(len(message)), 10), ' '), message...)
}

func (c *Collector) write(frame []byte) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(writePatience)); err != nil {
		return c.failed(err)
	}
	if _, err := c.conn.Write(frame); err != nil {
		return c.failed(err)
	}
	return nil
}

func (c *Collector) failed(err error) error {
	c.drop()
	return fault.Newf("syslog.Send", fault.Unavailable, "the log collector at %s does not take messages", c.to.Address).Because(err).
		Advise("look whether it runs and takes %s at this address", c.to.Network)
}

// drop gives the connection up.
func (c *Collector) drop() {
	at := c.clock.Now()
	_ = c.conn.Close() // it is broken already
	if c.gone != nil {
		<-c.gone
		at = c.ended
	}
	c.conn, c.gone, c.ended = nil, nil, at
}

// remember keeps what may not have arrived when the connection breaks.
func (c *Collector) remember(frame []byte) {
	if c.to.Network == "unix" {
		return // what a local socket took is there
	}
	now := c.clock.Now()
	c.recent, c.bytes = append(c.recent, sent{now, frame}), c.bytes+len(frame)
	for len(c.recent) > mostUnsure || c.bytes > bytesUnsure || now.Sub(c.recent[0].at) > unsure {
		c.bytes -= len(c.recent[0].frame)
		c.recent[0] = sent{}
		c.recent = c.recent[1:]
	}
}

// connect dials and sends again what may not have arrived over the connection before.
func (c *Collector) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dialPatience)
	defer cancel()
	var err error
	switch c.to.Network {
	case "unix":
		c.conn, err = c.cfg.Dial(ctx, "unixgram", c.to.Address)
	case "udp":
		c.conn, err = c.cfg.Dial(ctx, "udp", c.to.Address)
	default:
		c.conn, err = c.stream(ctx)
	}
	if err != nil {
		c.conn = nil
		return fault.Newf("syslog.connect", fault.Unavailable, "the log collector at %s cannot be reached: %v", c.to.Address, err).Because(err).
			Advise("look whether it runs and takes %s at this address", c.to.Network)
	}
	for _, s := range c.recent {
		if c.ended.Sub(s.at) > unsure {
			continue
		}
		if err := c.write(s.frame); err != nil {
			return err
		}
	}
	return nil
}

func (c *Collector) stream(ctx context.Context) (net.Conn, error) {
	conn, err := c.cfg.Dial(ctx, "tcp", c.to.Address)
	if err != nil {
		return nil, err
	}
	giveUpAfter(conn, unanswered)
	if c.to.Network == "tls" {
		host, _, _ := net.SplitHostPort(c.to.Address) // ParseDestination joined it
		secure := tls.Client(conn, &tls.Config{ServerName: host, RootCAs: c.cfg.Roots, Certificates: c.cfg.Certificates, MinVersion: tls.VersionTLS12})
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close() // the handshake's failure says more
			return nil, err
		}
		conn = secure
	}
	gone := make(chan struct{})
	go func() { // a collector says nothing, so whatever comes is its end
		defer close(gone)
		_, _ = io.Copy(io.Discard, conn)
		c.ended = c.clock.Now()
	}()
	c.gone = gone
	return conn, nil
}

// Close ends a stream in order and waits a moment until the collector has taken everything. Timeout when it did not say so.
func (c *Collector) Close() error {
	if c.conn == nil {
		return nil
	}
	var err error
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok && c.gone != nil && half.CloseWrite() == nil {
		fired, stop := c.clock.After(closePatience)
		select {
		case <-c.gone:
		case <-fired:
			err = fault.Newf("syslog.Close", fault.Timeout, "the log collector at %s did not say that it took the last messages", c.to.Address).
				Advise("look whether the last ones are there")
		}
		stop()
	}
	if e := c.conn.Close(); e != nil && err == nil && !errors.Is(e, net.ErrClosed) && c.gone == nil {
		err = fault.Wrap("syslog.Close", fault.Unavailable, e, "the connection to the log collector did not end in order")
	}
	if c.gone != nil {
		<-c.gone
	}
	c.conn, c.gone = nil, nil
	return err
}
