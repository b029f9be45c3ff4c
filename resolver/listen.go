package resolver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/resolver/datagram"
)

// listener is one address. All but what it wants is guarded by Resolver.mu.
type listener struct {
	kind    transport // overUDP: and TCP
	wanted  string
	bound   netip.AddrPort
	problem string
}

// serve listens on one address for as long as ctx lasts, trying again whenever it cannot.
func (r *Resolver) serve(ctx context.Context, l *listener, addr netip.AddrPort) error {
	pause := backoff.Backoff{Base: 200 * time.Millisecond, Max: 10 * time.Second} // served soon after the address appears
	for ctx.Err() == nil {
		udp, tcp, err := r.bind(ctx, l.kind, addr)
		if err == nil {
			pause.Reset()
			at := tcp.Addr().(*net.TCPAddr).AddrPort() //nolint:forcetypeassert // what ListenTCP returns
			at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
			r.log.Info("listening for DNS", "address", at, "over", l.kind)
			r.listening(l, at, "")
			err = r.answerOn(ctx, l.kind, udp, tcp)
		}
		r.listening(l, netip.AddrPort{}, problemOf(err))
		if ctx.Err() != nil {
			return nil
		}
		if pause.Failures() == 0 {
			r.log.Warn("cannot listen for DNS now, trying again", "address", addr, "over", l.kind, "err", err)
		}
		pause.Wait(ctx, r.clk)
	}
	return nil
}

func problemOf(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this machine does not have the address yet"
	case errors.Is(err, syscall.EADDRINUSE):
		return "another program listens there: stop it (systemd-resolved, dnsmasq, …) or choose another address"
	case errors.Is(err, syscall.EACCES):
		return "not allowed to listen there: give the process CAP_NET_BIND_SERVICE or choose a port above 1023"
	}
	return err.Error()
}

// bind opens the sockets of an address. With port 0 all get the same one. The UDP sockets share their address with whoever else wants to;
// that another program is there shows by TCP.
func (r *Resolver) bind(ctx context.Context, kind transport, addr netip.AddrPort) (udp []*datagram.Socket, tcp *net.TCPListener, err error) {
	if kind != overUDP {
		tcp, err = listenTCP(addr)
		return nil, tcp, err
	}
	tries := 1
	if addr.Port() == 0 {
		tries = 20 // the port that is free for one may be taken for the other
	}
	for range tries {
		if tcp, err = listenTCP(addr); err != nil {
			return nil, nil, err
		}
		at := netip.AddrPortFrom(addr.Addr(), tcp.Addr().(*net.TCPAddr).AddrPort().Port()) //nolint:forcetypeassert // what ListenTCP returns
		if udp, err = datagram.Listen(at, r.cfg.Workers); err == nil {
			return udp, tcp, nil
		}
		_ = tcp.Close()
		if ctx.Err() != nil {
			break
		}
	}
	return nil, nil, err
}

func listenTCP(addr netip.AddrPort) (*net.TCPListener, error) {
	// Named by family, because "tcp" on 0.0.0.0 would take IPv6 as well.
	network := "tcp4"
	if addr.Addr().Is6() {
		network = "tcp6"
		if addr.Addr().IsUnspecified() {
			network = "tcp"
		}
	}
	return net.ListenTCP(network, net.TCPAddrFromAddrPort(addr))
}

// listening notes where an address stands.
func (r *Resolver) listening(l *listener, at netip.AddrPort, problem string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l.bound, l.problem = at, problem
	var all []netip.AddrPort
	complete := true
	for _, l := range r.listeners {
		complete = complete && l.bound.IsValid()
		if l.kind == overUDP && l.bound.IsValid() {
			all = append(all, l.bound)
		}
	}
	r.bound.Store(&all)
	r.state.Store(r.newState(r.table, r.clients)) // an upstream may be ourselves now
	if complete {
		r.allBound.Do(func() { close(r.ready) })
	}
}

// answerOn answers on the sockets of an address until ctx ends or one of them fails, and closes them.
func (r *Resolver) answerOn(ctx context.Context, kind transport, udp []*datagram.Socket, tcp *net.TCPListener) error {
	g, ctx := errgroup.WithContext(ctx)
	ln := r.admitted(tcp)
	g.Go(func() error {
		<-ctx.Done()
		err := ln.Close()
		for _, s := range udp {
			err = errors.Join(err, s.Close())
		}
		return err
	})
	for _, s := range udp {
		g.Go(func() error { return r.answerUDP(ctx, s) })
	}
	g.Go(func() error {
		switch kind {
		case overTLS:
			return r.acceptStreams(ctx, g, overTLS, r.overTLS(ln))
		case overHTTPS:
			return r.serveHTTPS(ctx, ln)
		case overUDP, overTCP:
		}
		return r.acceptStreams(ctx, g, overTCP, ln)
	})
	return g.Wait()
}
