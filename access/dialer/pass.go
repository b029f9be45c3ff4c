package dialer

import (
	"bytes"
	"slices"
	"time"

	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// Pass is what the control plane gives a person for a short while: a certificate, where to dial, and the grants that lead somewhere.
type Pass struct {
	Certificate string       `json:"certificate"` // PEM, the person's own first
	Key         string       `json:"key"`         // PEM of PKCS #8; made on this machine, which it never leaves
	Roots       string       `json:"roots"`       // PEM of the deployment's authorities
	Relays      []plan.Relay `json:"relays,omitempty"`
	Issued      time.Time    `json:"issued"` // by this machine's clock; filled in when it arrives
	Expires     time.Time    `json:"expires"`
	Grants      []PassGrant  `json:"grants,omitempty"` // in force, or soon
}

// PassGrant is one grant as its person needs it.
type PassGrant struct {
	ID        string                  `json:"id"`
	Target    string                  `json:"target"` // ot/plant-7/press-4-ssh
	TargetUID string                  `json:"targetUid,omitempty"`
	Protocol  resource.TargetProtocol `json:"protocol"`
	Address   string                  `json:"address,omitempty"` // the target's own, to be found by it; only for people of its tenant
	From      time.Time               `json:"from"`
	Until     time.Time               `json:"until"`
	Hours     *resource.WorkingHours  `json:"hours,omitempty"` // of a standing grant: only within them
	Providers []plan.Peer             `json:"providers"`       // none while the agent that leads there has not joined
	Recorded  bool                    `json:"recorded,omitempty"`
	Socks     bool                    `json:"socks,omitempty"`    // its policy allows SOCKS
	Logins    []string                `json:"logins,omitempty"`   // SSH: accounts a certificate may name; none: any
	HostKeys  []string                `json:"hostKeys,omitempty"` // SSH: the machine's, as in ssh_host_ed25519_key.pub
	HostCA    string                  `json:"hostCA,omitempty"`   // SSH: the authority of host certificates, as in an authorized_keys file
}

// Grant returns the grant of an id.
func (p *Pass) Grant(id string) (PassGrant, bool) {
	i := slices.IndexFunc(p.Grants, func(g PassGrant) bool { return g.ID == id })
	if i < 0 {
		return PassGrant{}, false
	}
	return p.Grants[i], true
}

// Open tells whether the grant lets its person in at a moment, and until when without another look.
func (g *PassGrant) Open(at time.Time) (until time.Time, ok bool) {
	return (&plan.Grant{From: g.From, Until: g.Until, Hours: g.Hours}).Open(at)
}

// For returns the grant that lets into a target (ot/plant-7/press-4-ssh) at a moment: of several the one that lasts longest.
func (p *Pass) For(target string, at time.Time) (best PassGrant, ok bool) {
	var last time.Time
	for _, g := range p.Grants {
		if g.Target != target {
			continue
		}
		if until, open := g.Open(at); open && (!ok || until.After(last)) {
			best, last, ok = g, until, true
		}
	}
	return best, ok
}

// Good tells whether the pass may still be used.
func (p *Pass) Good(at time.Time) bool { return p.Certificate != "" && at.Before(p.Expires) }

// half is when the pass should be renewed.
func (p *Pass) half() time.Time { return p.Issued.Add(p.Expires.Sub(p.Issued) / 2) }

// is tells whether two passes are the same one.
func (p *Pass) is(o *Pass) bool {
	return p != nil && o != nil && bytes.Equal([]byte(p.Certificate), []byte(o.Certificate)) && p.Expires.Equal(o.Expires)
}
