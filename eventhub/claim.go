package eventhub

import (
	"strings"
	"time"
)

// Right is what the holder of a policy's key may do (Event Hubs: authorise access with shared access signatures).
type Right uint32

const (
	Send   Right = 1 << iota // append events
	Listen                   // read events, keep checkpoints
	Manage                   // the other two, and change event hubs, consumer groups and policies

	EveryRight = Send | Listen | Manage
)

var rightNames = []string{"Send", "Listen", "Manage"}

// Names returns the rights by their names.
func (r Right) Names() []string {
	out := []string{}
	for i, name := range rightNames {
		if r&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return out
}

func (r Right) String() string { return strings.Join(r.Names(), ", ") }

// whole adds what a right brings with it: who may manage may also send and listen.
func (r Right) whole() Right {
	if r&Manage != 0 {
		return EveryRight
	}
	return r
}

// Claim is what somebody proved that he may do.
type Claim struct {
	Path    string    // "": the whole namespace; "telemetry"; "telemetry/partitions/0". Lower case
	Rights  Right     // what he may do there
	Expires time.Time // the claim is good until then; zero: always
	Who     string    // whose it is, for logs: a policy's name, a token's subject
	// Workload is the SPIFFE id of the workload that proved it; empty when it was proved otherwise.
	Workload string
	// Also are other places it covers, with rights of their own.
	Also  []Scope
	Valid func() bool // false once the key, the policy or the right behind it is gone; nil: that cannot be
}

// Scope is a place in a namespace and what may be done there.
type Scope struct {
	Path   string // as that of a claim
	Rights Right
}

func (s Scope) covers(path string, need Right) bool {
	if s.Rights.whole()&need != need {
		return false
	}
	n := len(s.Path)
	return n == 0 || len(path) >= n && strings.EqualFold(path[:n], s.Path) && (len(path) == n || path[n] == '/')
}

// Covers tells whether the claim gives all the rights needed for a path, which is its own or one below it. Case does not matter. Whether
// it is still good is for Expires and Valid to say.
func (c Claim) Covers(path string, need Right) bool {
	path = strings.Trim(path, "/")
	if (Scope{c.Path, c.Rights}).covers(path, need) {
		return true
	}
	for _, s := range c.Also {
		if s.covers(path, need) {
			return true
		}
	}
	return false
}
