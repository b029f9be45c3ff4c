package gateway

import (
	"cmp"
	"net/netip"

	"github.com/isthmus-io/isthmus/gateway/balance"
	"github.com/isthmus-io/isthmus/gateway/carry"
	"github.com/isthmus-io/isthmus/gateway/decide"
	"github.com/isthmus-io/isthmus/gateway/limit"
	"github.com/isthmus-io/isthmus/gateway/refusals"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/proxyproto"
)

// visit is one connection that was let in by its source.
type visit struct {
	door    *door
	source  netip.AddrPort
	lease   limit.Lease
	attempt balance.Attempt
	group   *balance.Group
	rule    *use   // nil: none was needed, or not known yet
	named   *use   // nil: not known yet
	name    string // that the client asks for
	port    uint16 // that targets without one are dialled on
	chosen  bool
	sent    uint64
	recvd   uint64 // of a connection that went into a tunnel
}

// Choose is carry's: the second half.
func (v *visit) Choose(h carry.Hello) (carry.Way, *carry.Refusal) {
	f := v.door.front
	s := f.state.Load()
	v.name, v.chosen = h.ServerName, true
	if s == nil {
		return carry.Way{}, v.refuse(reasonGone, "")
	}
	is := s.decide.Choose(s.at[v.door.address], v.source.Addr(), v.name, f.g.clk.Now())
	if is.Refused() {
		return carry.Way{}, v.refuse(string(is.Reason), ruleOf(is))
	}
	if r := is.Match.Rule; r != nil {
		if over := v.lease.Rule(r.ID, r.Limit); over != "" {
			return carry.Way{}, v.refuse(string(over), r.ID)
		}
	}
	if v.name != "" {
		if over := v.lease.Name(v.name); over != "" {
			return carry.Way{}, v.refuse(string(over), ruleOf(is))
		}
	}
	way, ok := v.way(s, is)
	if !ok {
		return carry.Way{}, v.refuse(reasonNowhere, ruleOf(is))
	}
	if r := is.Match.Rule; r != nil {
		v.rule = f.rules.get(r.ID)
		v.rule.enter()
	}
	v.named = f.names.get(cmp.Or(is.Pattern, anyName))
	v.named.enter()
	return way, nil
}

// way leads to where the decision says.
func (v *visit) way(s *state, is decide.Decision) (w carry.Way, ok bool) {
	v.port = is.Port
	if e := is.Route.Endpoint; e != nil {
		w.Hand = v.into(e, s.idle)
		return w, true
	}
	if v.lease.Metered() {
		w.Meter = &v.lease
	}
	to := &s.ways[is.Route.Number]
	v.group, w.Wait = to.group, to.wait
	if w.Target, ok = v.Next(); !ok {
		return w, false
	}
	if to.proxy != "" {
		w.Header = v.header(to.proxy)
	}
	return w, true
}

// header tells a target who is calling. Where the gateway listens on every address, the one that was dialled is not told.
func (v *visit) header(version resource.ProxyVersion) []byte {
	to := v.door.address
	if !to.Addr().IsValid() || to.Addr().IsUnspecified() {
		any := netip.IPv4Unspecified()
		if v.source.Addr().Is6() {
			any = netip.IPv6Unspecified()
		}
		to = netip.AddrPortFrom(any, to.Port())
	}
	h := proxyproto.New(v.source, to)
	if version == resource.ProxyV1 {
		h.Version = 1
	}
	b, err := proxyproto.Append(nil, h)
	if err != nil {
		v.door.front.g.log.Error("a PROXY header cannot be written", "error", err) // two addresses always can
	}
	return b
}

// Next is carry's.
func (v *visit) Next() (netip.AddrPort, bool) {
	if v.group == nil {
		return netip.AddrPort{}, false
	}
	return v.group.Next(&v.attempt, v.source.Addr(), v.port)
}

// Failed is carry's.
func (v *visit) Failed(_ netip.AddrPort, err error) { v.attempt.Failed(err) }

// Connected is carry's.
func (v *visit) Connected(netip.AddrPort) { v.attempt.Connected() }

// Ended is carry's.
func (v *visit) Ended(o carry.Outcome) {
	v.attempt.Released()
	v.lease.Leave()
	v.door.front.open.Add(-1)
	sent, received := o.Sent+v.sent, o.Received+v.recvd
	for _, u := range []*use{v.rule, v.named} {
		if u != nil {
			u.leave(sent, received)
		}
	}
	switch o.Reason {
	case carry.ReasonBadHello, carry.ReasonHelloTooLong, carry.ReasonHelloTimeout, carry.ReasonNoTarget:
		v.refuseOver(o.Reason, "", o.Detail)
	}
}

// refuse tells of a refusal of this connection.
func (v *visit) refuse(reason, rule string) *carry.Refusal { return v.refuseOver(reason, rule, "") }

// refuseOver is refuse with what was wrong with what the client said.
func (v *visit) refuseOver(reason, rule, detail string) *carry.Refusal {
	f := v.door.front
	s := f.now()
	listener := s.at[v.door.address]
	return f.g.refuse(refusals.Refusal{
		Gateway: f.name, Listener: listener, Source: v.source.Addr(), Name: v.name, Pattern: s.pattern(listener, v.name), Rule: rule, Reason: reason, Detail: detail,
	})
}
