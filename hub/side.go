package hub

import (
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
)

// Side is where a peer came from. The zero Hub is the public side: nobody vouched for the peer.
type Side struct {
	Hub        string         // uid of the only hub it may reach: it came through an approved endpoint of that hub
	Link       uint32         // the connection's link id
	Peer       netip.AddrPort // the device, as its endpoint saw it
	Via        netip.AddrPort // the other end of our socket: the provider's agent, or the device itself
	ServerName string         // the name it said in TLS, lower case; may be empty
}

// IsPublic tells whether nobody vouched for the peer.
func (s Side) IsPublic() bool { return s.Hub == "" }

// LinkKey is a key that proves a link of a hub.
type LinkKey struct {
	Hub string // uid
	Key []byte
}

// LinkKeys returns the keys with which a PROXY header for the link may be proved: those of the hubs that have the link approved.
func (s *Server) LinkKeys(link uint32) []LinkKey {
	var out []LinkKey
	for _, h := range s.Hubs() {
		if p := h.plan.Load(); len(p.LinkKey) > 0 && slices.Contains(p.Links, link) {
			out = append(out, LinkKey{h.id, p.LinkKey})
		}
	}
	return out
}

type hold struct {
	side Side
	cut  func(Cause)
}

// Hold registers a connection that came through an endpoint: cut is called, once or more, when its link is no longer approved. The
// connection calls release when it ends. Denied when the link is not approved now.
func (s *Server) Hold(side Side, cut func(Cause)) (release func(), err error) {
	if side.IsPublic() {
		return func() {}, nil // nobody vouches for it, so nobody can take that back
	}
	l := &hold{side, cut}
	s.mu.Lock()
	s.held[l] = struct{}{}
	s.mu.Unlock()
	release = func() {
		s.mu.Lock()
		delete(s.held, l)
		s.mu.Unlock()
	}
	// Only now, so that a plan which arrives in between either sees the hold or is seen here.
	if !s.approved(side) {
		release()
		return nil, fault.Newf("hub.Hold", fault.Denied, "link %d is not approved", side.Link).Advise("approve the endpoint's connection")
	}
	return release, nil
}

func (s *Server) approved(side Side) bool {
	if side.IsPublic() {
		return true
	}
	h, ok := s.byID(side.Hub)
	return ok && slices.Contains(h.plan.Load().Links, side.Link)
}

// Enter returns the hub that answers to host, if a peer from this side may speak to it. Every refusal is Denied: 401002 on the wire,
// whether the hub exists or not.
func (s *Server) Enter(side Side, host string) (*Hub, error) {
	op := "hub.Enter"
	h, ok := s.ByHost(host)
	if !side.IsPublic() {
		bound, here := s.byID(side.Hub)
		switch {
		case !here || !s.approved(side):
			return nil, fault.Newf(op, fault.Denied, "link %d is not approved any more", side.Link).Advise("approve the endpoint's connection")
		case h != bound:
			return nil, fault.Newf(op, fault.Denied, "the peer came through an endpoint of %s and asks for %q", bound.HostName(), shorten(host)).
				Advise("an endpoint leads to one hub: give the device an endpoint for the other one")
		case side.ServerName != "" && !sas.IsHost(side.ServerName, bound.HostNames()):
			return nil, fault.Newf(op, fault.Denied, "the peer came through an endpoint of %s and said %q in TLS", bound.HostName(), shorten(side.ServerName)).
				Advise("an endpoint leads to one hub: give the device an endpoint for the other one")
		}
		return h, nil
	}
	switch {
	case !ok:
		return nil, fault.Newf(op, fault.Denied, "no hub here answers to %q", shorten(host)).Advise("compare HostName in the connection string with the hub's public name")
	case !h.Public():
		return nil, fault.Newf(op, fault.Denied, "%s allows no public network access, and the peer came through no approved endpoint", h.HostName()).
			Advise("connect through a private endpoint, or set publicNetworkAccess of the service to Enabled")
	}
	if other, known := s.ByHost(side.ServerName); known && other != h {
		return nil, fault.Newf(op, fault.Denied, "the peer said %q in TLS and asks for %s", shorten(side.ServerName), h.HostName())
	}
	return h, nil
}

// shorten bounds what a stranger can write into our log and onto a screen: neither long texts nor characters that steer a terminal.
func shorten(s string) string {
	more := ""
	if len(s) > 128 {
		s, more = s[:128], "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, strings.ToValidUTF8(s, "?")) + more
}
