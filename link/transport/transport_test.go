package transport

import (
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/link/relay"
)

var (
	consumer = agentID("ot", "plant-7", "gw-1")
	provider = agentID("it", "it-cloud", "p-1")
)

func TestThroughRelay(t *testing.T) {
	w := newWorld(t)
	r := w.relay(relay.Config{})
	a, _ := w.agent(consumer, Config{}, clock.System{}, r.plan(), nil)
	b, _ := w.agent(provider, Config{}, clock.System{}, r.plan(), nil)
	eventually(t, "both connected", func() bool { return connected(a) && connected(b) })
	if err := roundTrip(t.Context(), a, peers(provider, ""), strings.Repeat("hello over there ", 100_000)); err != nil {
		t.Fatal(err)
	}
	s := a.Status()
	if len(s.Tunnels) != 1 || s.Tunnels[0].Via != r.address || s.Tunnels[0].Peer != provider || s.Sent != 1_700_000 {
		t.Fatalf("status %+v", s)
	}
	eventually(t, "the relay has seen the bytes", func() bool {
		s := r.relay.Status()
		return s.PairsMade == 1 && len(s.Pairs) == 1 && s.Pairs[0].Asker == consumer && s.Pairs[0].Bytes > 0
	})
}
