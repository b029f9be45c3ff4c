package provisioning

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"

	"github.com/isthmus-io/isthmus/fault"
)

// allocation is the hub chosen for a device.
type allocation struct {
	hub     string
	twin    *Twin // instead of the enrollment's; from a webhook
	payload json.RawMessage
}

// allocate chooses among the linked hubs, or those of them which the enrollment names.
func (s *Service) allocate(ctx context.Context, e *Enrollment, rec *record) (allocation, error) {
	op := "provisioning.allocate"
	linked, err := s.LinkedHubs(ctx)
	if err != nil {
		return allocation{}, err
	}
	if len(e.Hubs) > 0 {
		linked = slices.DeleteFunc(linked, func(h LinkedHub) bool { return !slices.Contains(e.Hubs, h.HostName) })
	}
	if e.Allocation == AllocateStatic {
		host := e.HubHostName
		if host == "" {
			host = e.Hubs[0]
		}
		if !slices.ContainsFunc(linked, func(h LinkedHub) bool { return h.HostName == host }) {
			return allocation{}, with(fault.Newf(op, fault.NotFound, "the enrollment names the hub %.140q, which is not linked", host).Advise("link it"), NoHub)
		}
		return allocation{hub: host}, nil
	}
	if e.Allocation == AllocateCustom {
		return s.askWebhook(ctx, e, rec, linked)
	}
	linked = slices.DeleteFunc(linked, func(h LinkedHub) bool { return h.Weight == 0 })
	if len(linked) == 0 {
		return allocation{}, with(fault.New(op, fault.NotFound, "no hub is linked that the device could be assigned to").Advise("link a hub"), NoHub)
	}
	if e.Allocation == AllocateGeoLatency {
		return allocation{hub: s.nearest(linked)}, nil
	}
	return allocation{hub: hashed(linked, rec.row.ID)}, nil
}

// hashed chooses by weighted rendezvous: every device goes to the hub where it scores highest, so that of all devices only those move
// that a new hub takes over, and as many as its weight asks for.
func hashed(hubs []LinkedHub, registrationID string) string {
	best, most := "", math.Inf(-1)
	for _, h := range hubs {
		sum := sha256.Sum256([]byte(h.HostName + "\x00" + registrationID))
		u := (float64(binary.BigEndian.Uint64(sum[:])>>11) + 0.5) / (1 << 53) // between 0 and 1, neither included
		if score := -float64(h.Weight) / math.Log(u); score > most {
			best, most = h.HostName, score
		}
	}
	return best
}

// nearest chooses the hub with the lowest latency known; the first one while none is.
func (s *Service) nearest(hubs []LinkedHub) string {
	best := hubs[0].HostName
	if s.server.cfg.Latency == nil {
		return best
	}
	least := int64(math.MaxInt64)
	for _, h := range hubs {
		if l, known := s.server.cfg.Latency(h.HostName); known && int64(l) < least {
			best, least = h.HostName, int64(l)
		}
	}
	return best
}
