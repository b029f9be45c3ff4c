package resolver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/backoff"
)

// listenerState is what Status tells about one address.
type listenerState struct {
	wanted  string
	bound   netip.AddrPort
	problem string
}

// serve listens on one address for as long as ctx lasts, trying again whenever it cannot.
func (r *Resolver) serve(ctx context.Context, i int, addr netip.AddrPort) error {
	pause := backoff.Backoff{Base: 200 * time.Millisecond, Max: 10 * time.Second} // served soon after the address appears
	for ctx.Err() == nil {
		udp, tcp, err := bind(ctx, addr)
		if err == nil {
			pause.Reset()
			at := udp.LocalAddr().(*net.UDPAddr).AddrPort() //nolint:forcetypeassert // what ListenUDP returns
			at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
			r.log.Info("listening for DNS", "address", at)
			r.listening(i, at, "")
			err = r.answerOn(ctx, udp, tcp)
		}
		r.listening(i, netip.AddrPort{}, problemOf(err))
		if ctx.Err() != nil {
			return nil
		}
		if pause.Failures() == 0 {
			r.log.Warn("cannot listen for DNS now, trying again", "address", addr, "err", err)
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

// bind opens both sockets. With port 0 both get the same one.
func bind(ctx context.Context, addr netip.AddrPort) (*net.UDPConn, *net.TCPListener, error) {
	// Named by family, because "udp" on 0.0.0.0 would take IPv6 as well.
	family, tries := "4", 1
	if addr.Addr().Is6() {
		family = "6"
		if addr.Addr().IsUnspecified() {
			family = ""
		}
	}
	if addr.Port() == 0 {
		tries = 20 // the port UDP was given may be taken for TCP
	}
	var last error
	for range tries {
		udp, err := net.ListenUDP("udp"+family, net.UDPAddrFromAddrPort(addr))
		if err != nil {
			return nil, nil, err
		}
		at := udp.LocalAddr().(*net.UDPAddr) //nolint:forcetypeassert // what ListenUDP returns
		tcp, err := net.ListenTCP("tcp"+family, &net.TCPAddr{IP: at.IP, Port: at.Port, Zone: at.Zone})
		if err == nil {
			return udp, tcp, nil
		}
		last = err
		_ = udp.Close()
		if ctx.Err() != nil {
			break
		}
	}
	return nil, nil, last
}

// listening notes where an address stands.
func (r *Resolver) listening(i int, at netip.AddrPort, problem string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listeners[i].bound, r.listeners[i].problem = at, problem
	var all []netip.AddrPort
	for _, l := range r.listeners {
		if l.bound.IsValid() {
			all = append(all, l.bound)
		}
	}
	r.bound.Store(&all)
	if len(all) == len(r.listeners) {
		r.allBound.Do(func() { close(r.ready) })
	}
}

// answerOn answers on both sockets until ctx ends or one of them fails, and closes them.
func (r *Resolver) answerOn(ctx context.Context, udp *net.UDPConn, tcp *net.TCPListener) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		<-ctx.Done()
		return errors.Join(udp.Close(), tcp.Close())
	})
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error { return r.answerUDP(ctx, g, udp) })
	}
	g.Go(func() error { return r.acceptTCP(ctx, g, tcp) })
	return g.Wait()
}
