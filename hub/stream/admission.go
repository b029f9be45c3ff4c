package stream

import (
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/access/streamkey"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/plan"
)

// admission is a grant of the plan and where it leads.
type admission struct {
	target *plan.Target
	grant  *plan.Grant
}

// leads tells whether it is for this stream.
func (a admission) leads(h *hub.Hub, to hub.Name, stream string) bool {
	d := a.target.Device
	return d.Hub == h.ID() && d.Device == to.Device && d.Module == to.Module && d.Stream == stream
}

// SetTargets says which grants there are. Streams of those that are not there any more, or not now, have been cut when it returns.
func (g *Gateway) SetTargets(targets []plan.Target) {
	next := map[string]admission{}
	for i := range targets {
		t := &targets[i]
		if t.Device == nil {
			continue
		}
		for j := range t.Grants {
			next[t.Grants[j].ID] = admission{t, &t.Grants[j]}
		}
	}
	g.mu.Lock()
	g.admitted = next
	g.mu.Unlock()
	now := g.clock.Now()
	g.sweep(func(b *bridge) { g.checkTimes(b, now) })
}

// begin makes a bridge for somebody who may have one, or says why he may not.
func (g *Gateway) begin(h *hub.Hub, r Request) (*bridge, error) {
	op := "stream.Open"
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	b := &bridge{id: hex.EncodeToString(id), gateway: g, hub: h, request: r, met: make(chan struct{}), over: make(chan struct{})}
	b.grant, _ = streamkey.Grant(r.By)
	b.granted = b.grant != "" || r.inside
	pace, each, most := g.keys, g.cfg.EachSecond, g.cfg.Open
	if b.granted {
		pace, each, most = g.grants, g.cfg.GrantedEachSecond, g.cfg.GrantedOpen
	}
	turn := b.grant // also one that is over: its holder takes nothing from the others
	if r.inside {
		turn = h.ID() + "/" + r.To.String() + "/" + r.Name
	}
	if turn != "" && g.one.Take(turn) > 0 {
		return nil, code.With(fault.New(op, fault.Exhausted, "the stream is asked for too often").Advise("try again in a second"), code.Throttled)
	}
	if pace.Take(h.ID()) > 0 { // whatever else there is to say is written down, so it comes first
		return nil, code.With(fault.Newf(op, fault.Exhausted, "the hub opens at most %d streams a second", each).Advise("try again in a second"), code.Throttled)
	}
	end, err := g.enter(b, most)
	if err != nil {
		g.note(b.refused(end, fault.Message(err)))
		return nil, err
	}
	return b, nil
}

// enter lets a bridge in, and counts it.
func (g *Gateway) enter(b *bridge, most int) (session.End, error) {
	op := "stream.Open"
	now := g.clock.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if end, err := g.admit(b, now); err != nil {
		return end, err
	}
	h := b.hub
	if !b.granted {
		if b.today = g.today(h.ID(), now); b.today.bytes.Load() >= g.cfg.Bytes {
			return session.TooMany, code.With(fault.Newf(op, fault.Exhausted, "the streams of the hub carried %d bytes today, which is their limit", g.cfg.Bytes).
				Advise("try again tomorrow, UTC"), code.QuotaExceeded)
		}
	}
	which := sort{h.ID(), b.granted}
	if g.open[which] >= most {
		return session.TooMany, code.With(fault.Newf(op, fault.Exhausted, "the hub has %d streams open, which is its limit", most).Advise("close some"), code.Throttled)
	}
	g.open[which]++
	if b.grant != "" {
		g.using[b.grant]++
	}
	g.bridges[b.id] = b
	return "", nil
}

// admit tells whether who asks may have the stream. The caller holds mu.
func (g *Gateway) admit(b *bridge, now time.Time) (session.End, error) {
	r, h := b.request, b.hub
	denied := func(format string, args ...any) *fault.Error {
		return fault.Newf("stream.Open", fault.Denied, format, args...)
	}
	switch {
	case r.inside:
		return "", nil
	case b.grant == "" && h.StreamsByKey():
		return "", nil
	case b.grant == "":
		return session.NoGrant, code.With(denied("the devices of %s open streams to people with a grant, and %s is a policy", h.HostName(), r.By).
			Advise("ask to be let into a target that leads there, with isthmus access request, and use the grant's connection string; the service's spec.deviceStreams would allow keys"), code.Forbidden)
	}
	a, ok := g.admitted[b.grant]
	if !ok || a.target.Device.Hub != h.ID() {
		return session.NoGrant, code.With(denied("grant %s lets nobody in: it was revoked, has ended, or its target is gone or disabled", b.grant).
			Advise("ask for a new one with isthmus access request; isthmus access why says more"), code.Forbidden)
	}
	b.target = a.target.ID
	b.person = a.grant.Person + personWay
	b.pace.set(a.target.Limits.BytesPerSecond)
	switch _, open := a.grant.Open(g.correct(now)); {
	case !a.leads(h, r.To, r.Name):
		d := a.target.Device
		return session.NoGrant, code.With(denied("grant %s is for the stream %s of %s, and leads nowhere else", b.grant, d.Stream, hub.Name{Device: d.Device, Module: d.Module}.Words()), code.Forbidden)
	case !open:
		return session.NotNow, code.With(denied("grant %s lets people in from %s until %s%s", b.grant, moment(a.grant.From), moment(a.grant.Until), within(a.grant)), code.Forbidden)
	case a.target.Record != nil:
		return session.NotRecordable, code.With(denied("sessions of %s are recorded, which those of a connection string cannot be", a.target.Name).Advise("use isthmus ssh"), code.Forbidden)
	case g.using[b.grant] >= a.target.Limits.MostSessions():
		return session.TooMany, code.With(fault.Newf("stream.Open", fault.Exhausted, "the grant has %d streams open, as many as the policy of its target allows", g.using[b.grant]).
			Advise("close some"), code.Throttled)
	}
	return "", nil
}

// personWay stands in the place of a pass in the ids of those who came without one.
const personWay = "connection-string"

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func within(g *plan.Grant) string {
	if g.Hours == nil {
		return ""
	}
	return " within its working hours, " + g.Hours.From + " to " + g.Hours.To + " " + g.Hours.TimeZone
}

// today returns what counts a hub's bytes on this day. The caller holds mu.
func (g *Gateway) today(id string, now time.Time) *day {
	of := now.Unix() / (24 * 60 * 60)
	d := g.carried[id]
	if d == nil || d.of != of {
		d = &day{of: of}
		g.carried[id] = d
	}
	return d
}

// leave takes a bridge that is over out, once, and writes down what became of it.
func (g *Gateway) leave(b *bridge) {
	g.mu.Lock()
	if g.bridges[b.id] != b {
		g.mu.Unlock()
		return
	}
	delete(g.bridges, b.id)
	which := sort{b.hub.ID(), b.granted}
	if g.open[which]--; g.open[which] == 0 {
		delete(g.open, which)
	}
	if b.grant != "" {
		if g.using[b.grant]--; g.using[b.grant] == 0 {
			delete(g.using, b.grant)
		}
	}
	g.mu.Unlock()
	end, words := b.outcome()
	if b.isMet() {
		g.log.Info("hub: stream ended", "hub", b.hub.Name(), "device", b.request.To.String(), "stream", b.request.Name, "bridge", b.id, "end", string(end),
			"fromDevice", b.toService.Load(), "toDevice", b.toDevice.Load())
		g.note(b.ended(end, words))
		return
	}
	g.note(b.refused(end, words))
}
