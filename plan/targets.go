package plan

import (
	"time"

	"github.com/isthmus-io/isthmus/resource"
)

// Target is a way into a machine that this process leads to, and who may come: all that is needed to decide while the control plane is away.
type Target struct {
	ID       string                  `json:"id"`   // uid of the Target
	Name     string                  `json:"name"` // ot/plant-7/press-4-ssh
	Protocol resource.TargetProtocol `json:"protocol"`
	Address  string                  `json:"address,omitempty"` // HOST:PORT or unix:/PATH; agents
	Device   *TargetDevice           `json:"device,omitempty"`  // hubs
	Limits   resource.SessionLimits  `json:"limits,omitzero"`   // of each grant
	Record   *Recording              `json:"record,omitempty"`  // SSH ends here and is recorded; nil: bytes are passed as they are
	Grants   []Grant                 `json:"grants,omitempty"`
}

// TargetDevice is a device's stream.
type TargetDevice struct {
	Hub    string `json:"hub"` // uid of the Service
	Device string `json:"device"`
	Module string `json:"module,omitempty"`
	Stream string `json:"stream"`
}

// Recording is what is needed to end SSH here and to write it down.
type Recording struct {
	Recipients []string `json:"recipients"`         // age public keys the recording is encrypted for
	UserCA     string   `json:"userCA"`             // public key of the tenant's SSH authority, as in an authorized_keys file
	Logins     []string `json:"logins,omitempty"`   // accounts a certificate may name; none: any
	HostKeys   []string `json:"hostKeys,omitempty"` // of the machine; none: the first one seen is remembered
	Forwarding bool     `json:"forwarding,omitempty"`
}

// Grant lets one person into one target, from and until moments of the control plane's clock.
type Grant struct {
	ID     string                 `json:"id"`
	Person string                 `json:"person"` // SPIFFE id prefix of the person's passes, ending in "/"
	Name   string                 `json:"name"`   // "alice of ot", for the log and for recordings
	From   time.Time              `json:"from"`
	Until  time.Time              `json:"until"`
	Hours  *resource.WorkingHours `json:"hours,omitempty"` // of a standing grant: only within them
}

// Open tells whether the grant lets its person in at a moment, and until when without another look.
func (g *Grant) Open(at time.Time) (until time.Time, ok bool) {
	if at.Before(g.From) || !at.Before(g.Until) {
		return time.Time{}, false
	}
	if g.Hours == nil {
		return g.Until, true
	}
	end, ok := g.Hours.Hold(at)
	if end.After(g.Until) {
		end = g.Until
	}
	return end, ok
}
