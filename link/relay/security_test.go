package relay

import (
	"io"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// An agent that was deleted has a good certificate for some days yet.
func TestRevokedAgentsAreCutOff(t *testing.T) {
	h := serve(t, Config{}, clock.System{})
	a, b := h.join(asker), h.join(target)
	h.ticket(a, b)
	h.relay.SetRevoked([]identity.ID{target})
	if _, err := b.in.ReadByte(); err == nil {
		t.Fatal("it is connected still")
	}
	a.send(tunnel.Ask{Request: 1, Target: string(target)})
	if r, ok := a.next().(tunnel.Refuse); !ok || r.Code != tunnel.RefuseAbsent {
		t.Fatalf("asking for it was answered by %#v", r)
	}
	eventually(t, "it has left", func() bool { return h.relay.agents.count() == 1 })
	h.relay.agents.remove(h.relay.agents.find(asker)) // refusedAgent wants nobody there
	refusedAgent(t, h, h.ca.credentials(target, time.Hour))
	h.relay.SetRevoked(nil)
	h.join(target)
}

// A machine that opens connections and says nothing takes its own share of the places and not everybody's.
func TestOneSourceDoesNotTakeAllPlaces(t *testing.T) {
	const places = 16
	h := serve(t, Config{MaxStrangers: places}, clock.System{})
	var silent []io.Closer
	for range places / 4 {
		silent = append(silent, h.dial())
	}
	eventually(t, "all of them wait", func() bool { return h.relay.Status().Visitors == places/4 })
	eventually(t, "all of them are looked at", func() bool { return len(h.relay.strange) == places/4 })
	closed(t, h.dial())
	for _, c := range silent {
		_ = c.Close()
	}
	eventually(t, "they are forgotten", func() bool {
		h.relay.door.mu.Lock()
		defer h.relay.door.mu.Unlock()
		return len(h.relay.door.strange) == 0 && len(h.relay.strange) == 0
	})
	h.join(asker)
}
