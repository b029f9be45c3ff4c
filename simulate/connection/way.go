package connection

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// Config says how to reach a hub. Only Host is needed.
type Config struct {
	Host    string // the hub's name
	Address string // host:port to dial instead of Host and the protocol's port
	Port    int    // of the hub; the protocol's when 0
	// Protocol is MQTT when it is empty.
	Protocol Protocol
	Roots    *x509.CertPool // nil for the system's
	Resolver *net.Resolver  // nil for the system's
	// Sources are local addresses taken in turn. When it is empty the system chooses, and should its ports to a hub on this machine run
	// out, further addresses of 127.0.0.0/8 are taken.
	Sources []netip.Addr
	Timeout time.Duration // until the hub has let the device in; 30 s when 0
	Now     func() time.Time
}

// Way leads to one hub. It is safe for concurrent use.
type Way struct {
	cfg     Config
	tls     *tls.Config // with sessions to be resumed; not for certificates
	turn    atomic.Uint32
	spare   atomic.Uint32 // how many addresses of 127.0.0.0/8 have run out of ports
	buffers sync.Pool     // *buffers

	mu     sync.Mutex // guards the fields below
	found  []netip.AddrPort
	foundd time.Time
}

// namesLast is how long an answer of the resolver serves the next devices.
const namesLast = 10 * time.Second

// New returns a way; nothing is dialled yet.
func New(cfg Config) *Way {
	if cfg.Port == 0 {
		cfg.Port = cfg.Protocol.Port()
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	w := &Way{cfg: cfg, tls: &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: cfg.Roots, ServerName: cfg.Host, ClientSessionCache: tls.NewLRUClientSessionCache(64),
		// What devices offer, and half the work of the post-quantum exchange, which would be measured instead of the hub.
		CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256},
	}}
	w.buffers.New = func() any { return new(buffers) }
	return w
}

// Target is what is dialled, for people.
func (w *Way) Target() string {
	if w.cfg.Address != "" {
		return w.cfg.Host + " at " + w.cfg.Address
	}
	return w.cfg.Host
}

// targets looks up where to go; an answer serves for a while.
func (w *Way) targets(ctx context.Context) ([]netip.AddrPort, error) {
	if at, err := netip.ParseAddrPort(w.cfg.Address); err == nil {
		return []netip.AddrPort{at}, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock() // the others wait for the one who asks
	if len(w.found) > 0 && w.cfg.Now().Sub(w.foundd) < namesLast {
		return w.found, nil
	}
	host, port := w.cfg.Host, w.cfg.Port
	if w.cfg.Address != "" {
		h, p, err := net.SplitHostPort(w.cfg.Address)
		if err != nil {
			return nil, err
		}
		if port, err = strconv.Atoi(p); err != nil {
			return nil, err
		}
		host = h
	}
	resolver := w.cfg.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	ips, err := resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	w.found, w.foundd = w.found[:0:0], w.cfg.Now()
	for _, ip := range ips {
		w.found = append(w.found, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	}
	return w.found, nil
}

// dial opens TCP to the first target that answers.
func (w *Way) dial(ctx context.Context) (net.Conn, error) {
	op := "connection.dial"
	targets, err := w.targets(ctx)
	if err != nil {
		return nil, fault.Newf(op, fault.Unavailable, "the name of %s cannot be looked up: %v", w.Target(), err).
			Advise("check the name, or say where the hub is with --address HOST:PORT").Because(err)
	}
	var last error
	for _, to := range targets {
		c, err := w.dialOne(ctx, to)
		if err == nil {
			return c, nil
		}
		if last = err; ctx.Err() != nil {
			break
		}
	}
	var f *fault.Error
	switch {
	case errors.As(last, &f):
		return nil, f
	case errors.Is(last, syscall.EMFILE):
		return nil, fault.New(op, fault.Exhausted, "this process may open no more files, and each connection is one").
			Advise("raise the limit (ulimit -n), or simulate fewer devices in one process").Because(last)
	}
	return nil, fault.Newf(op, fault.Unavailable, "%s cannot be reached: %v", w.Target(), last).
		Advise("check the way to it, or say where it is with --address HOST:PORT").Because(last)
}

// spareLoopbacks bounds how many addresses of 127.0.0.0/8 are tried.
const spareLoopbacks = 64

func (w *Way) dialOne(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1} // the protocols have their own
	if n := len(w.cfg.Sources); n > 0 {
		turn := int(w.turn.Add(1))
		var err error
		for i := range n { // one that has no port left, or is of the other family, is passed over
			var c net.Conn
			if c, err = w.dialFrom(ctx, &d, w.cfg.Sources[(turn+i)%n], to); err == nil || !errors.Is(err, syscall.EADDRNOTAVAIL) {
				return c, err
			}
		}
		return nil, noPorts(err)
	}
	loopback := to.Addr().Is4() && to.Addr().IsLoopback()
	for {
		spare := w.spare.Load()
		var from netip.Addr
		if spare > 0 && loopback {
			from = netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + spare)})
		}
		c, err := w.dialFrom(ctx, &d, from, to)
		if err == nil || !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return c, err
		}
		if !loopback || spare >= spareLoopbacks {
			return nil, noPorts(err)
		}
		w.spare.CompareAndSwap(spare, spare+1)
	}
}

func (w *Way) dialFrom(ctx context.Context, d *net.Dialer, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	if from.IsValid() {
		if from.Is4() != to.Addr().Is4() {
			return nil, syscall.EADDRNOTAVAIL
		}
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
		d.Control = portWhenConnecting
	}
	return d.DialContext(ctx, "tcp", to.String())
}

func noPorts(err error) error {
	return fault.New("connection.dial", fault.Exhausted, "no local port is left for this hub, or the source address is not of this machine").
		Advise("give further addresses of this machine with --source-addresses, or widen net.ipv4.ip_local_port_range").Because(err)
}
