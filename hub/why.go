package hub

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/limit"
	"github.com/isthmus-io/isthmus/hub/route"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// Explanation is everything a hub knows about why a device or module does or does not work. It holds no keys.
type Explanation struct {
	Hub      string    `json:"hub"`
	Name     string    `json:"name"` // device, or device/module
	At       time.Time `json:"at"`
	Findings []Finding `json:"findings"` // what matters, the most important first; never empty

	Identity   *IdentityState `json:"identity"`   // null when there is none of this name
	Session    *SessionState  `json:"session"`    // null when it is not connected
	Departure  *Departure     `json:"lastEnd"`    // of its last session, since the process started
	Refusals   []Refusal      `json:"refusals"`   // of whoever called itself so, newest first, since the process started
	Throttling []Throttling   `json:"throttling"` // of the last ten minutes
	Commands   int            `json:"commandsWaiting"`
	Twin       *TwinState     `json:"twin"`
	Routes     []RouteState   `json:"routes"` // those for its messages
	Fallback   bool           `json:"fallback"`
}

// Finding is one thing that matters, in words.
type Finding struct {
	What string `json:"what"`
	Next string `json:"next,omitempty"` // what to do about it
	Bad  bool   `json:"bad"`            // it keeps the device from working as it should
}

// IdentityState is an identity without its keys.
type IdentityState struct {
	Status       hubstore.Status `json:"status"`
	StatusReason string          `json:"statusReason,omitempty"`
	AuthType     string          `json:"authenticationType"`
	Generation   string          `json:"generationId"`
	Edge         bool            `json:"iotEdge"`
	Created      time.Time       `json:"created"`
	LastActivity time.Time       `json:"lastActivity"`
}

// SessionState is a session as people see it.
type SessionState struct {
	Door    string    `json:"door"`
	Side    string    `json:"side"` // private or public
	Link    uint32    `json:"link,omitempty"`
	Peer    string    `json:"peer"`
	Since   time.Time `json:"since"`
	Active  time.Time `json:"lastActivity"`
	Listens []string  `json:"listens"`
	Expires time.Time `json:"proofEnds"` // zero when it does not
	Model   string    `json:"modelId,omitempty"`
}

// Departure is when and why a session ended.
type Departure struct {
	At    time.Time `json:"at"`
	Why   string    `json:"why"`
	ByHub bool      `json:"byHub"`
}

// Throttling is a limit that was reached.
type Throttling struct {
	Class     string    `json:"class"`
	Level     string    `json:"level"` // whose allowance was used up: device, hub or tenant
	Since     time.Time `json:"since"`
	Last      time.Time `json:"last"`
	Now       bool      `json:"now"`
	Count     int64     `json:"count"`
	PerSecond float64   `json:"perSecond"` // what is allowed
	Burst     float64   `json:"burst"`
}

// TwinState is the versions and sizes of a twin.
type TwinState struct {
	Version         int64     `json:"version"`
	DesiredVersion  int64     `json:"desiredVersion"`
	ReportedVersion int64     `json:"reportedVersion"`
	TagsBytes       int       `json:"tagsBytes"`
	DesiredBytes    int       `json:"desiredBytes"`
	ReportedBytes   int       `json:"reportedBytes"`
	Changed         time.Time `json:"changed"`
}

// RouteState is what a route means for the device's messages.
type RouteState struct {
	Name      string   `json:"name"`
	Endpoints []string `json:"endpointNames"`
	Matches   string   `json:"matches"` // yes, no, or "by message" when that is up to each message
	Enabled   bool     `json:"isEnabled"`
}

// Why tells everything the hub knows about a device or module. That there is none of this name is no error but the first finding.
func (h *Hub) Why(ctx context.Context, n Name) (Explanation, error) {
	x := Explanation{Hub: h.Name(), Name: n.String(), At: h.server.clock.Now().UTC(), Refusals: []Refusal{}, Throttling: []Throttling{}, Routes: []RouteState{}}
	if err := validName(n); err != nil {
		return x, err
	}
	d, err := h.Identity(ctx, n)
	switch {
	case err == nil:
		x.Identity = &IdentityState{d.Status, d.StatusReason, d.AuthType, d.Generation, d.Edge, d.Created, d.LastActivity}
		if err := h.whyStored(ctx, n, &x); err != nil {
			return x, err
		}
	case fault.KindOf(err) != fault.NotFound:
		return x, err
	}
	if s := h.session(n); s != nil {
		x.Session = s.state()
	}
	if last, ok := h.departures.of(n); ok {
		x.Departure = &Departure{last.At.UTC(), last.Cause, last.ByHub}
	}
	for _, r := range h.server.Refusals() {
		if r.Hub == h.id && (r.Who == n.String() || strings.Contains(r.Who+"/", "/devices/"+n.Device+"/")) {
			x.Refusals = append(x.Refusals, r)
		}
	}
	x.Throttling = h.throttlingOf(n, x.At)
	x.find(n, h)
	return x, nil
}

// whyStored fills in what is in the database.
func (h *Hub) whyStored(ctx context.Context, n Name, x *Explanation) error {
	t, err := h.server.store.Twin(ctx, h.id, n)
	if err != nil {
		return err
	}
	x.Twin = &TwinState{t.Version, t.Desired.Version, t.Reported.Version, len(t.Tags), len(t.Desired.Text), len(t.Reported.Text), t.Changed}
	if x.Commands, err = h.server.store.CountCommands(ctx, h.id, n); err != nil {
		return err
	}
	r, err := h.readRouting(ctx)
	if err != nil {
		return err
	}
	x.Fallback = r.Fallback
	m := h.message(Sample{Name: n})
	for _, one := range r.Routes {
		if one.Source != DeviceMessages {
			continue
		}
		state := RouteState{one.Name, one.Endpoints, "by message", one.Enabled}
		byIdentity, err := route.ByIdentity(one)
		if err == nil && byIdentity {
			var o route.Outcome
			o, err = route.Try(one, m)
			state.Matches = "no"
			if o.Matches {
				state.Matches = "yes"
			}
		}
		if err != nil {
			return err
		}
		x.Routes = append(x.Routes, state)
	}
	return nil
}

func (s *Session) state() *SessionState {
	out := &SessionState{
		Door: s.Door, Side: "private", Link: s.Side.Link, Peer: s.Side.Peer.String(), Since: s.since.UTC(), Active: s.active(), Expires: s.Ends(), Model: shorten(s.ModelID), Listens: []string{},
	}
	if s.Side.IsPublic() {
		out.Side = "public"
	}
	for _, t := range []struct {
		topic Topic
		name  string
	}{{DesiredProperties, "desired properties"}, {Methods, "methods"}, {Commands, "commands"}} {
		if s.Listening(t.topic) {
			out.Listens = append(out.Listens, t.name)
		}
	}
	return out
}

func (h *Hub) throttlingOf(n Name, now time.Time) []Throttling {
	out := []Throttling{}
	l := h.Limits()
	for _, t := range h.limits.Troubles(n.String(), now) {
		rate := map[limit.Level]limit.Rate{limit.Device: l.Device[t.Class], limit.OfHub: l.Hub[t.Class], limit.Tenant: h.server.cfg.Tenant[t.Class]}[t.Level]
		out = append(out, Throttling{t.Class.String(), t.Level.String(), t.Since.UTC(), t.Last.UTC(), t.Now, t.Count, rate.PerSecond, rate.Burst})
	}
	slices.SortStableFunc(out, func(a, b Throttling) int { return b.Last.Compare(a.Last) })
	return out
}

// find says what matters, the most important first.
func (x *Explanation) find(n Name, h *Hub) {
	x.findIdentity(n)
	x.findSession(n)
	for _, t := range x.Throttling {
		what := fmt.Sprintf("it was over the limit of %s, last %s ago", t.Class, ago(x.At, t.Last))
		if t.Now {
			what = fmt.Sprintf("it is over the limit of %s now, since %s: it is held back or refused", t.Class, ago(x.At, t.Since))
		}
		whose := map[string]string{
			"device": "one device is allowed %s a second, %s at once; it should send less, or the limit be raised: PUT /isthmus/v1/limits",
			"hub":    "the allowance of the whole hub, %s a second and %s at once, is used up; find who sends most, or raise the limit: PUT /isthmus/v1/limits",
			"tenant": "the allowance of the tenant, %s a second and %s at once, is used up by all its hubs together",
		}[t.Level]
		x.Findings = append(x.Findings, Finding{what, fmt.Sprintf(whose, number(t.PerSecond), number(t.Burst)), t.Now})
	}
	x.findWaiting(h)
	if len(x.Findings) == 0 {
		x.Findings = []Finding{{What: "nothing is wrong that the hub knows of"}}
	}
}

func (x *Explanation) findIdentity(n Name) {
	switch {
	case x.Identity == nil:
		x.Findings = append(x.Findings, Finding{"the hub has no " + n.Words(), "create it: isthmus hub device create " + n.Device + "; ids are compared letter by letter", true})
	case x.Identity.Status == hubstore.Disabled:
		why := ""
		if x.Identity.StatusReason != "" {
			why = ": " + shorten(x.Identity.StatusReason)
		}
		x.Findings = append(x.Findings, Finding{n.Words() + " is disabled" + why, "enable it in the registry", true})
	case x.Identity.AuthType == AuthNone:
		x.Findings = append(x.Findings, Finding{n.Words() + " has no way to prove itself", "give it a key or a certificate", true})
	}
}

func (x *Explanation) findSession(n Name) {
	newest := time.Time{}
	if len(x.Refusals) > 0 {
		newest = x.Refusals[0].Last
	}
	if s := x.Session; s != nil {
		what := fmt.Sprintf("it is connected over %s since %s", s.Door, ago(x.At, s.Since))
		if s.Side == "private" {
			what += fmt.Sprintf(", through link %d", s.Link)
		} else {
			what += ", from the public side"
		}
		x.Findings = append(x.Findings, Finding{What: what + "; its last activity was " + ago(x.At, s.Active) + " ago"})
		if newest.After(s.Since) {
			r := x.Refusals[0]
			x.Findings = append(x.Findings, Finding{"somebody else called itself " + n.String() + " and was turned away " + ago(x.At, r.Last) + " ago: " + r.Why, r.Next, false})
		}
		return
	}
	if x.Identity == nil && len(x.Refusals) == 0 {
		return
	}
	f := Finding{What: "it is not connected, and was not since the process started", Next: "see that the device is on, resolves the hub's name and reaches its port", Bad: true}
	if d := x.Departure; d != nil {
		f.What = "it is not connected since " + ago(x.At, d.At) + ": " + d.Why
	}
	if !newest.IsZero() && (x.Departure == nil || newest.After(x.Departure.At)) {
		r := x.Refusals[0]
		f.What += fmt.Sprintf("; it was turned away %d times, last %s ago: %s", r.Count, ago(x.At, r.Last), r.Why)
		f.Next = r.Next
	}
	x.Findings = append(x.Findings, f)
}

func (x *Explanation) findWaiting(h *Hub) {
	if x.Commands > 0 {
		f := Finding{What: fmt.Sprintf("%d cloud-to-device messages wait for it", x.Commands)}
		if x.Session != nil && !slices.Contains(x.Session.Listens, "commands") {
			f.Next, f.Bad = "it is connected and does not listen: have it subscribe to messages/devicebound, or delete them with DELETE /devices/{d}/commands", true
		}
		x.Findings = append(x.Findings, f)
	}
	if x.Identity == nil {
		return
	}
	to := false
	for _, r := range x.Routes {
		to = to || r.Enabled && r.Matches != "no"
	}
	if !to && !x.Fallback {
		x.Findings = append(x.Findings, Finding{"no route takes its messages and the fallback is off: they are acknowledged and dropped", "add a route, or set the fallback: PUT /isthmus/v1/routing/fallback", true})
	}
	for _, r := range x.Routes {
		for _, e := range r.Endpoints {
			if p, ok := h.Progress(e); ok && r.Enabled && r.Matches != "no" && !p.Failing.IsZero() {
				x.Findings = append(x.Findings, Finding{
					fmt.Sprintf("its messages are stored, and do not reach endpoint %s since %s: %s", e, ago(x.At, p.Failing), p.LastError), "mend the endpoint; nothing is lost while the log keeps the events", true,
				})
			}
		}
	}
}

// ago writes how long something is past, in words a person reads at a glance.
func ago(now, then time.Time) string {
	d := max(0, now.Sub(then))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
