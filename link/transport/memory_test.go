package transport

import (
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// Peers who come with many tunnels and send what nobody reads pin no more than is meant for all of them.
func TestTunnelsThatComeInShareMemory(t *testing.T) {
	const bound, many, each = 4 << 20, 4, 16
	w := newWorld(t)
	over := make(chan struct{})
	b, stop := w.agent(provider, Config{Direct: "127.0.0.1:0", MaxMemory: bound, MaxInboundMemory: bound}, clock.System{}, nil, func(id identity.ID, s *mux.Stream) {
		if s.Flow().Port == 7 {
			echo(id, s)
			return
		}
		_ = s.Accept()
		<-over
		_ = s.Close()
	})
	defer stop()
	defer close(over)
	to := peers(provider, b.Status().Direct)
	var agents []*Transport
	for i := range many { // all tunnels stand before anything is sent
		a, _ := w.agent(agentID("it", "it-cloud", fmt.Sprint("gw-", i)), Config{MaxTunnelsPerPeer: 1}, clock.System{}, nil, nil)
		if err := roundTripOn(t, a, to); err != nil {
			t.Fatal(err)
		}
		agents = append(agents, a)
	}
	var writers sync.WaitGroup
	for _, a := range agents {
		for range each {
			s, err := a.Open(t.Context(), to, tunnel.Flow{Endpoint: "e", Port: 1})
			if err != nil {
				t.Fatal(err)
			}
			writers.Go(func() {
				_ = s.SetWriteDeadline(time.Now().Add(5 * time.Second))
				_, _ = s.Write(make([]byte, 200<<10)) // it may be reset
			})
		}
	}
	writers.Wait()
	for _, a := range agents {
		if err := roundTripOn(t, a, to); err != nil {
			t.Errorf("a stream that is read suffers: %v", err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	held := int64(0)
	for p := range b.passages {
		held += p.session.Stats().Held
	}
	if len(b.passages) != many || held > 2*bound || held == 0 {
		t.Errorf("%d tunnels hold %d bytes, meant are %d", len(b.passages), held, bound)
	}
}

func roundTripOn(t *testing.T, a *Transport, to []plan.Peer) error {
	s, err := a.Open(t.Context(), to, tunnel.Flow{Endpoint: "e", Port: 7})
	if err != nil {
		return err
	}
	defer s.Close()
	_ = s.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := s.Write([]byte("hello")); err != nil {
		return err
	}
	_, err = io.ReadFull(s, make([]byte, 5))
	return err
}
