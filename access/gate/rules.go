package gate

import (
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// maxSessions are open in one process at the same time.
const maxSessions = 4096

// rules are what the plan allows. A value is never changed once it is in use.
type rules struct {
	grants  map[string]entry    // by id; one that stands there twice lets nobody in
	targets map[string]struct{} // ids
	people  map[string]struct{} // prefixes of passes of those who have a grant
}

// entry is a grant and the target it leads to.
type entry struct {
	target *plan.Target
	grant  *plan.Grant
}

// compile makes rules of the plan's targets, keeping no memory of the plan's.
func compile(targets []plan.Target) *rules {
	r := &rules{grants: map[string]entry{}, targets: map[string]struct{}{}, people: map[string]struct{}{}}
	twice := map[string]struct{}{}
	for i := range targets {
		t := clone(&targets[i])
		r.targets[t.ID] = struct{}{}
		for j := range t.Grants {
			g := &t.Grants[j]
			if _, there := r.grants[g.ID]; there {
				twice[g.ID] = struct{}{}
			}
			r.grants[g.ID] = entry{t, g}
			if _, ok := identity.ID(g.Person + "pass").Person(); ok && strings.HasSuffix(g.Person, "/") {
				r.people[g.Person] = struct{}{}
			}
		}
	}
	for id := range twice {
		delete(r.grants, id)
	}
	return r
}

func clone(t *plan.Target) *plan.Target {
	c := *t
	if t.Device != nil {
		d := *t.Device
		c.Device = &d
	}
	if t.Record != nil {
		r := *t.Record
		r.Recipients, r.Logins, r.HostKeys = slices.Clone(r.Recipients), slices.Clone(r.Logins), slices.Clone(r.HostKeys)
		c.Record = &r
	}
	c.Grants = slices.Clone(t.Grants)
	for i := range c.Grants {
		if h := c.Grants[i].Hours; h != nil {
			copied := *h
			copied.Days = slices.Clone(h.Days)
			c.Grants[i].Hours = &copied
		}
	}
	return &c
}

// refusal is a no: why, for the record, and in words, for the person.
type refusal struct {
	why   session.End
	code  tunnel.ResetCode
	words string
}

func refused(why session.End, words string) *refusal {
	return &refusal{why, tunnel.ResetRefused, words}
}

// question is all that a decision depends on beside the rules.
type question struct {
	peer    identity.ID
	grant   string
	now     time.Time
	open    int // sessions of the grant
	all     int // sessions of the process
	records bool
	allow   *allowlist
}

// decide is the one place that says no. It returns why, or what is granted and until when without another look.
func (r *rules) decide(q question) (e entry, until time.Time, no *refusal) {
	// Who asks for another's grant learns as little as who asks for none.
	const unknown = "no grant of yours with this id is in force here: see which you have, or ask for one"
	e, known := r.grants[q.grant]
	person, isPerson := q.peer.Person()
	switch {
	case !isPerson:
		return entry{}, until, refused(session.NoGrant, "only people with a pass are let in here")
	case !known:
		return entry{}, until, refused(session.NoGrant, unknown)
	case e.grant.Person != identity.PersonPrefix(person.TrustDomain, person.Tenant, person.Name):
		return e, until, refused(session.NotYours, unknown)
	}
	until, holds := e.grant.Open(q.now)
	switch {
	case !holds:
		return e, until, refused(session.NotNow, notOpen(e.grant, q.now))
	case e.target.Record != nil && (!q.records || e.target.Protocol != resource.ProtocolSSH):
		return e, until, refused(session.NotRecordable, "sessions into this target have to be recorded, which cannot be done here")
	case e.target.Device == nil && !q.allow.mayBe(e.target.Address):
		return e, until, refused(session.NotAllowedHere, "the machine's own settings do not allow people into the target's address")
	case q.open >= e.target.Limits.MostSessions():
		return e, until, refused(session.TooMany, "as many sessions of the grant are open as the policy allows: close one first")
	case q.all >= maxSessions:
		return e, until, &refusal{session.TooMany, tunnel.ResetOverloaded, "as many sessions are open as this machine can take: try again later"}
	}
	return e, until, nil
}

// notOpen says why a grant lets nobody in at a moment.
func notOpen(g *plan.Grant, at time.Time) string {
	switch {
	case at.Before(g.From):
		return "the grant does not begin before " + stamp(g.From)
	case !at.Before(g.Until):
		return "the grant ended at " + stamp(g.Until) + ": ask for another one"
	}
	h := g.Hours
	words := "the grant holds within its working hours, " + strings.Join(h.Days, " ") + " " + h.From + " to " + h.To + " " + h.TimeZone
	if from, _, ok := h.At(at); ok {
		return words + "; they begin again at " + stamp(from)
	}
	return words + ", a time zone which is not known here"
}

// keep says whether sessions of an entry of rules before are what these rules would open still; if not, in words why.
func (r *rules) keep(was entry) (now entry, words string) {
	now, has := r.grants[was.grant.ID]
	_, still := r.targets[was.target.ID]
	switch {
	case !still:
		return now, "the grant was revoked, or its target disabled or deleted"
	case !has:
		return now, "the grant was revoked"
	case now.target.ID != was.target.ID || now.grant.Person != was.grant.Person:
		return now, "the grant is another one now"
	case now.target.Address != was.target.Address || !sameDevice(now.target.Device, was.target.Device) || now.target.Protocol != was.target.Protocol:
		return now, "the target leads somewhere else now"
	case (now.target.Record == nil) != (was.target.Record == nil):
		return now, "whether sessions are recorded has changed"
	}
	return now, ""
}

func sameDevice(a, b *plan.TargetDevice) bool {
	return (a == nil) == (b == nil) && (a == nil || *a == *b)
}

// sameTimes says whether two states of a grant let its person in at the same times.
func sameTimes(a, b *plan.Grant) bool {
	if !a.From.Equal(b.From) || !a.Until.Equal(b.Until) || (a.Hours == nil) != (b.Hours == nil) {
		return false
	}
	return a.Hours == nil || a.Hours.From == b.Hours.From && a.Hours.To == b.Hours.To && a.Hours.TimeZone == b.Hours.TimeZone &&
		slices.Equal(a.Hours.Days, b.Hours.Days)
}
