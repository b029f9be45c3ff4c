package flow

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

type nowhere struct{}

func (nowhere) Open(context.Context, []plan.Peer, tunnel.Flow) (*mux.Stream, error) {
	return nil, fault.New("test", fault.Unavailable, "no relay answers")
}

// scarce is a listener of a process that has no file descriptors left for a while.
type scarce struct {
	*net.TCPListener
	failures int
}

func (s *scarce) AcceptTCP() (*net.TCPConn, error) {
	if s.failures > 0 {
		s.failures--
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return s.TCPListener.AcceptTCP()
}

func TestAcceptingOutlivesAShortageOfDescriptors(t *testing.T) {
	clk := clock.NewFake(time.Now())
	e := NewEndpoints(nowhere{}, slog.New(slog.DiscardHandler), nil, WithClock(clk))
	p := plan.Endpoint{ID: "1", Name: "ot/plant-7/hub"}
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	l := newListener(e, place{"1", socket.Addr().(*net.TCPAddr).AddrPort()}, &p)
	ended := make(chan struct{})
	s := &scarce{socket.(*net.TCPListener), 3}
	go func() { defer close(ended); l.accept(t.Context(), s) }()
	await := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !ok(); {
			if time.Now().After(end) {
				t.Fatalf("waited too long for %s", what)
			}
			clk.Advance(10 * time.Millisecond)
		}
	}
	words := func() string {
		if p := l.problem.Load(); p != nil {
			return *p
		}
		return ""
	}
	await("the problem", func() bool { return words() == "cannot accept: too many open files" })
	c, err := net.Dial("tcp", socket.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// The next thing it says is about the flow that it took.
	await("a flow", func() bool { return words() == "no way to its provider: no relay answers" })
	_ = socket.Close()
	<-ended
	e.wg.Wait()
}

func TestComplaintsAreBounded(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, nil))
	var c complaints
	now := time.Unix(1000, 0)
	for range 100 {
		c.warn(now, log, "no")
	}
	c.warn(now.Add(time.Second), log, "no again")
	if n := strings.Count(b.String(), "\n"); n != complaintsPerSecond+1 || !strings.Contains(b.String(), "unseen=90") {
		t.Errorf("%d lines: %s", n, b.String())
	}
}

// slowDecide says the same as rules.decide, straight from the plan.
func slowDecide(services []plan.Service, peer identity.ID, endpoint string, port uint16) (target uint16, ok bool) {
	for _, s := range services {
		for _, l := range s.Links {
			if l.Endpoint != endpoint {
				continue
			}
			a, isAgent := peer.Agent()
			if !isAgent || identity.NetworkPrefix(a.TrustDomain, a.Tenant, a.Network) != l.Consumer {
				return 0, false
			}
			for _, p := range s.Ports {
				if p.Port == port {
					return p.TargetPort, true
				}
			}
		}
	}
	return 0, false
}

func TestDecideLikeItsSlowTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		network := func(label string) string {
			return rapid.SampledFrom([]string{"plant", "plant-7", "plant-77"}).Draw(t, label)
		}
		endpoints := []string{"a", "b", "c", "d"}
		var services []plan.Service
		for _, e := range rapid.Permutation(endpoints).Draw(t, "order")[:rapid.IntRange(0, 4).Draw(t, "links")] {
			l := plan.Link{Endpoint: e, Consumer: identity.NetworkPrefix("t", "ot", network("consumer"))}
			if len(services) == 0 || rapid.Bool().Draw(t, "new service") {
				ports := rapid.SliceOfNDistinct(rapid.Uint16Range(1, 4), 0, 3, rapid.ID[uint16]).Draw(t, "ports")
				s := plan.Service{ID: e}
				for _, p := range ports {
					s.Ports = append(s.Ports, resource.ServicePort{Port: p, TargetPort: p + 100})
				}
				services = append(services, s)
			}
			s := &services[len(services)-1]
			s.Links = append(s.Links, l)
		}
		peer := rapid.SampledFrom([]identity.ID{
			identity.AgentID("t", "ot", network("peer"), "x"), identity.AgentID("u", "ot", "plant", "x"),
			identity.RelayID("t", "x"), identity.ID(identity.NetworkPrefix("t", "ot", "plant")) + "x/y", "",
		}).Draw(t, "peer")
		endpoint, port := rapid.SampledFrom(endpoints).Draw(t, "endpoint"), rapid.Uint16Range(0, 5).Draw(t, "port")
		want, ok := slowDecide(services, peer, endpoint, port)
		g, reason := compile(services).decide(peer, endpoint, port)
		if ok != (reason == "") {
			t.Fatalf("reason %q, want passed %v", reason, ok)
		}
		if ok && g.target(port) != want {
			t.Fatalf("target %d, want %d", g.target(port), want)
		}
	})
}

func TestEveryRefusalHasWords(t *testing.T) {
	for c := tunnel.ResetRefused; c <= tunnel.ResetTimeout; c++ {
		if w := refusalWords(c, "m"); !strings.Contains(w, "provider") && !strings.Contains(w, "target") || !strings.HasSuffix(w, "(m)") {
			t.Errorf("%s: %q", c, w)
		}
	}
	if network(netip.MustParseAddr("10.0.0.1")) != "tcp4" || network(netip.MustParseAddr("::1")) != "tcp6" {
		t.Error("a listener takes the other family too")
	}
}
