package grant

import (
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// Bounds of what people write.
const (
	MaxReason = 500
	MaxAsk    = 10
	shortest  = 5 * time.Second
	atOnce    = time.Minute // a beginning that is not further in the past than this means now
)

// Request is what somebody asks for.
type Request struct {
	Kind   Kind                   // Once when empty
	Reason string                 // at least a few words
	From   time.Time              // zero: as soon as it is approved
	For    time.Duration          // zero: an hour, or what the policy lets at most; Standing: the policy's longest
	Ask    []string               // names of approvers
	Hours  *resource.WorkingHours // Standing only
	Whom   *Person                // Standing only: who is let in, when it is not who asks
}

// New makes a grant of a request by a person for a target of the tenant under its policy. ID, Target and TargetUID are the caller's to fill in.
// Invalid for what the policy or common sense does not let anybody have, Denied for what this person may not have.
func New(r Request, by Person, tenant string, p *resource.AccessPolicySpec, now time.Time) (Grant, error) {
	op := "grant.New"
	if r.Kind == "" {
		r.Kind = Once
	}
	g := Grant{
		Tenant: tenant, Person: by, RequestedBy: by, Kind: r.Kind, State: Requested, Reason: strings.TrimSpace(r.Reason), Ask: r.Ask,
		RequestedAt: now, From: r.From, For: r.For, WaitsUntil: now.Add(p.Wait()), Hours: r.Hours, Needed: p.ApprovalsNeeded(),
	}
	if err := checkWords(op, g.Reason); err != nil {
		return Grant{}, err
	}
	if len(r.Ask) > MaxAsk {
		return Grant{}, fault.Newf(op, fault.Invalid, "%d people are asked", len(r.Ask)).Advise("name at most %d", MaxAsk)
	}
	if r.Kind != Standing && (r.Hours != nil || r.Whom != nil) {
		return Grant{}, fault.New(op, fault.Invalid, "working hours, and another person, are for standing grants").Advise("ask for a standing grant, or leave them out")
	}
	var err error
	switch r.Kind {
	case Once:
		err = g.once(p, now)
	case Standing:
		if r.Whom != nil {
			g.Person = *r.Whom
		}
		err = g.standing(p, now)
	case BreakGlass:
		err = g.emergency(p, now)
	default:
		err = fault.Newf(op, fault.Invalid, "%q is no kind of grant", r.Kind).Advise("kinds are Once, Standing and BreakGlass")
	}
	if err != nil {
		return Grant{}, err
	}
	if !g.Person.Has(resource.RoleOperator, resource.RoleOwner, resource.RoleNetworkAdmin) {
		return Grant{}, fault.Newf(op, fault.Denied, "%s has no role that may be let into targets", g.Person.Who()).
			Advise("ask an owner of the tenant for the role operator")
	}
	if g.Needed == 0 {
		g.begin(now)
	}
	return g, nil
}

func checkWords(op, reason string) error {
	if len(reason) < 3 || len(reason) > MaxReason || strings.ContainsFunc(reason, noWord) {
		return fault.Newf(op, fault.Invalid, "the reason has %d bytes, or characters that are no text", len(reason)).
			Advise("say in 3 to %d characters why: it stands in the audit log for good", MaxReason)
	}
	return nil
}

// noWord tells of a character that steers terminals, or turns the writing around so that it reads as something else (Unicode Standard Annex #9).
func noWord(r rune) bool {
	switch {
	case r < 0x20 && r != '\n', r >= 0x7f && r < 0xa0, r == '\ufffd', r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
		return true
	}
	return false
}

// window checks beginning and length.
func (g *Grant) window(now time.Time, ahead, most time.Duration) error {
	op := "grant.New"
	if g.For < shortest || g.For > most {
		return fault.Newf(op, fault.Invalid, "%s were asked for, and the policy of the target allows %s to %s", words(g.For), words(shortest), words(most)).
			Advise("ask for less; the owner of the target may change the policy")
	}
	if g.From.IsZero() {
		return nil
	}
	if g.From.Before(now.Add(-atOnce)) {
		return fault.Newf(op, fault.Invalid, "it would begin at %s, which is over", g.From.UTC().Format(time.RFC3339)).Advise("leave the beginning out for at once; check the clock of this machine")
	}
	if g.From.After(now.Add(ahead)) {
		return fault.Newf(op, fault.Invalid, "it would begin in more than %s", words(ahead)).Advise("ask again nearer to it")
	}
	return nil
}

func (g *Grant) once(p *resource.AccessPolicySpec, now time.Time) error {
	if g.For == 0 {
		g.For = min(time.Hour, p.Longest())
	}
	return g.window(now, p.Ahead(), p.Longest())
}

func (g *Grant) standing(p *resource.AccessPolicySpec, now time.Time) error {
	op := "grant.New"
	if !p.Standing {
		return fault.New(op, fault.Denied, "the policy of the target has no standing grants").Advise("ask for a while each time, or ask the owner to set spec.standing of the policy")
	}
	if g.Hours != nil {
		if err := g.Hours.Validate(); err != nil {
			return err
		}
	}
	if g.For == 0 {
		g.For = p.LongestStanding()
	}
	return g.window(now, p.Ahead(), p.LongestStanding())
}

func (g *Grant) emergency(p *resource.AccessPolicySpec, now time.Time) error {
	op := "grant.New"
	if !p.BreakGlass {
		return fault.New(op, fault.Denied, "the policy of the target lets nobody break the glass").Advise("ask for access and for somebody to approve; the owner may set spec.breakGlass of the policy")
	}
	if !g.From.IsZero() {
		return fault.New(op, fault.Invalid, "an emergency begins at once").Advise("leave the beginning out")
	}
	if g.For == 0 {
		g.For = p.Emergency()
	}
	g.Needed = 0
	return g.window(now, 0, p.Emergency())
}

// begin puts an approved grant into force.
func (g *Grant) begin(now time.Time) {
	if g.From.Before(now) {
		g.From = now
	}
	g.State, g.Until, g.WaitsUntil = Approved, g.From.Add(g.For), time.Time{}
}

// words says a duration as people do: "8h", "7 days".
func words(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day && d%day == 0 {
		return strconv.Itoa(int(d/day)) + " days"
	}
	s := d.String()
	if d != 0 && d%time.Minute == 0 {
		s = strings.TrimSuffix(s, "0s")
	}
	if d != 0 && d%time.Hour == 0 {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
