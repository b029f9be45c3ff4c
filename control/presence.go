package control

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

// presence is what agents and relays said last. It is written down now and then, not at each report: a report decides nothing.
type presence struct {
	mu   sync.Mutex // guards seen and what it leads to
	seen map[identity.ID]*sighting
}

type sighting struct {
	watching int // WatchPlan calls under way
	last     time.Time
	report   AgentReport
	reported bool // report holds something
	unkept   bool
}

// maxWatches bounds the WatchPlan calls of one process. It needs one; a few more are streams whose end the server has not noticed yet.
const maxWatches = 16

// arrive counts a WatchPlan call; the function it returns counts its end, unless the process was deleted in between. It is nil when
// there are too many.
func (p *presence) arrive(id identity.ID, now func() time.Time) (leave func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.at(id)
	if s.watching >= maxWatches {
		return nil
	}
	s.watching++
	s.last, s.unkept = now(), true
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.seen[id] == s {
			s.watching--
			s.last, s.unkept = now(), true
		}
	}
}

func (p *presence) at(id identity.ID) *sighting {
	s := p.seen[id]
	if s == nil {
		s = &sighting{}
		p.seen[id] = s
	}
	return s
}

func (p *presence) forget(id identity.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.seen, id)
}

// overlay puts what was heard last over the status that was kept.
func (p *presence) overlay(id identity.ID, st *resource.AgentStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.seen[id]
	st.Connected = s != nil && s.watching > 0
	if s == nil {
		return
	}
	if s.last.After(st.LastSeen) {
		st.LastSeen = s.last.UTC()
	}
	if s.reported {
		st.Version, st.PlanRevision, st.Problems = s.report.Version, s.report.PlanRevision, s.report.Problems
	}
}

func (p *presence) lastSeen(id identity.ID) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.seen[id]; s != nil {
		return s.last.UTC()
	}
	return time.Time{}
}

const (
	maxProblems      = 50
	maxProblemLength = 500
	maxVersion       = 100
)

// cut shortens a text to n bytes without leaving half a character.
func cut(s string, n int) string { return strings.ToValidUTF8(s[:min(len(s), n)], "") }

// Report notes what an agent or relay says of itself. A new direct address is a change of other agents' plans, and where its resolver
// answers decides which forwarding rules would go in circles: both are kept at once; everything else is kept within Config.Keep. Unauthenticated when the process was deleted.
func (c *Control) Report(ctx context.Context, id identity.ID, r AgentReport) error {
	op := "control.Report"
	if err := checkHostPort(op, "the direct address", r.Direct); err != nil {
		return err
	}
	r.Version, r.PlanRevision = cut(r.Version, maxVersion), cut(r.PlanRevision, 64)
	r.Problems = r.Problems[:min(len(r.Problems), maxProblems)]
	problems := make([]string, len(r.Problems))
	for i, s := range r.Problems {
		problems[i] = cut(s, maxProblemLength)
	}
	r.Problems = problems
	c.mu.RLock()
	a := c.world.agents[id]
	relay := c.world.relay(id)
	c.mu.RUnlock()
	if a == nil && relay == nil {
		c.metrics.refused.Inc()
		return unknownIdentity(op, id)
	}
	c.presence.mu.Lock()
	s := c.presence.at(id)
	s.last, s.report, s.reported, s.unkept = c.clock.Now(), r, true, true
	s.report.Bridges = nil // kept by bridge
	c.presence.mu.Unlock()
	c.hear(a, r.Bridges)
	r.DNSAddresses = answering(r.DNSAddresses)
	if a == nil || a.Status.DirectAddress == r.Direct && slices.Equal(a.Status.DNSAddresses, r.DNSAddresses) {
		return nil
	}
	return c.update(ctx, string(id), "", func(w *work) error {
		o, err := w.ByUID(a.Metadata.UID)
		if err != nil {
			return unknownIdentity(op, id)
		}
		before := o.(*resource.Agent)
		after := resource.Clone(before)
		after.Status.DirectAddress, after.Status.DNSAddresses = r.Direct, r.DNSAddresses
		return w.put(before, after)
	})
}

// maxDNSAddresses bounds what is kept of where a resolver answers.
const maxDNSAddresses = 64

// answering puts addresses in order and leaves those out at which nobody can be asked.
func answering(list []netip.AddrPort) []netip.AddrPort {
	var out []netip.AddrPort
	for _, a := range list[:min(len(list), maxDNSAddresses)] {
		if a.IsValid() && a.Port() != 0 && !a.Addr().IsUnspecified() {
			out = append(out, netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port()))
		}
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	return slices.Compact(out)
}

func (w *world) relay(id identity.ID) *resource.Relay {
	for _, r := range w.relays {
		if r.Status.SPIFFEID == string(id) {
			return r
		}
	}
	return nil
}

// checkHostPort lets an empty string and host:port pass.
func checkHostPort(op, what, s string) error {
	if s == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(s)
	n, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || n == 0 || host == "" || len(s) > 260 {
		return fault.Newf(op, fault.Invalid, "%s %q is not host:port", what, s[:min(len(s), 260)]).Advise("write something like relay.example.net:443")
	}
	return nil
}

// keepPresence writes sightings down. Nothing of it is in a plan, so no revision rises.
func (c *Control) keepPresence(ctx context.Context) error {
	unkept := map[identity.ID]sighting{}
	c.presence.mu.Lock()
	for id, s := range c.presence.seen {
		if s.unkept {
			unkept[id] = *s
			s.unkept = false
		}
	}
	c.presence.mu.Unlock()
	if len(unkept) == 0 {
		return nil
	}
	// Control.writing is held, so that nobody replaces a status between reading and writing it.
	c.writing.Lock()
	defer c.writing.Unlock()
	err := c.store.Update(ctx, func(tx *store.Tx) error {
		for id, s := range unkept {
			o, err := c.process(tx, id)
			if err != nil {
				return err
			}
			switch o := o.(type) {
			case *resource.Agent:
				c.presence.overlay(id, &o.Status)
				o.Status.Connected = false // true only while somebody watches, which a restart ends
				err = tx.PutStatus(o)
			case *resource.Relay:
				o.Status.LastSeen = s.last.UTC()
				err = tx.PutStatus(o)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		c.presence.mu.Lock()
		defer c.presence.mu.Unlock()
		for id := range unkept {
			if s := c.presence.seen[id]; s != nil {
				s.unkept = true
			}
		}
	}
	return err
}

// process reads the noun of an agent or relay from the store; nil when it is gone.
func (c *Control) process(tx *store.Tx, id identity.ID) (resource.Object, error) {
	c.mu.RLock()
	a, r := c.world.agents[id], c.world.relay(id)
	c.mu.RUnlock()
	var uid string
	switch {
	case a != nil:
		uid = a.Metadata.UID
	case r != nil:
		uid = r.Metadata.UID
	default:
		return nil, nil
	}
	o, err := tx.ByUID(uid)
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil
	}
	return o, err
}
