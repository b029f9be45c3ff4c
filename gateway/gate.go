package gateway

import (
	"net/netip"

	"github.com/isthmus-io/isthmus/gateway/carry"
	"github.com/isthmus-io/isthmus/gateway/decide"
	"github.com/isthmus-io/isthmus/gateway/refusals"
)

// Reasons of refusals which neither decide, limit nor carry knows.
const (
	reasonNoWay   = "no-tunnel"  // no provider of the private endpoint can be reached
	reasonNowhere = "no-target"  // no target of the group has an address
	reasonGone    = "no-gateway" // the gateway has left the plan
)

// Arrive is carry's: the first half of the decision.
func (g *Gateway) Arrive(at *carry.Entrance, source netip.AddrPort) (carry.Visit, *carry.Refusal) {
	d := (*g.doors.Load())[at.Name]
	if d == nil {
		return nil, g.refuse(refusals.Refusal{Listener: at.Name, Source: source.Addr(), Reason: string(decide.NoListener)})
	}
	f := d.front
	s := f.state.Load()
	if s == nil {
		return nil, g.refuse(refusals.Refusal{Gateway: f.name, Listener: at.Name, Source: source.Addr(), Reason: reasonGone})
	}
	listener := s.at[d.address]
	no := refusals.Refusal{Gateway: f.name, Listener: listener, Source: source.Addr()}
	if is := s.decide.Arrive(listener, source.Addr(), g.clk.Now()); is.Refused() {
		no.Reason, no.Rule = string(is.Reason), ruleOf(is)
		return nil, g.refuse(no)
	}
	if f.open.Add(1) > s.most {
		f.open.Add(-1)
		no.Reason = carry.ReasonFull
		return nil, g.refuse(no)
	}
	v := &visit{door: d, source: source}
	if over := f.limiter.Enter(&v.lease, source.Addr()); over != "" {
		f.open.Add(-1)
		no.Reason = string(over)
		return nil, g.refuse(no)
	}
	return v, nil
}

func ruleOf(d decide.Decision) string {
	if d.Match.Rule == nil {
		return ""
	}
	return d.Match.Rule.ID
}

// dropped is carry's: a connection ended before its source was known.
func (g *Gateway) dropped(at *carry.Entrance, peer netip.AddrPort, reason string) {
	switch reason {
	case carry.ReasonNoHello, carry.ReasonDrain:
		return // nobody was turned away
	}
	no := refusals.Refusal{Listener: at.Name, Source: peer.Addr(), Reason: reason}
	if d := (*g.doors.Load())[at.Name]; d != nil {
		no.Gateway, no.Listener = d.front.name, d.front.now().at[d.address]
	}
	g.refuse(no)
}

// refuse counts a refusal, and logs it unless there are too many.
func (g *Gateway) refuse(r refusals.Refusal) *carry.Refusal {
	g.ledger.Refused(r)
	return &carry.Refusal{Reason: r.Reason}
}
