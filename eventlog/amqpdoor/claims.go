package amqpdoor

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/cbs"
)

// Put takes a token. It is how $cbs works, and how a door that keeps $cbs itself passes a token on.
func (v *Conversation) Put(ctx context.Context, t cbs.Token) cbs.Result {
	c, audience, err := v.prove(ctx, t)
	if err == nil {
		err = v.keep(audience, c)
	}
	if err != nil {
		v.refuse(clip(audience), err)
		e := condition(err)
		return cbs.Result{Code: status(err), Description: e.Description, Condition: e.Condition}
	}
	return cbs.Result{Code: 202, Description: "Accepted"}
}

// Trust takes a claim that was proved otherwise.
func (v *Conversation) Trust(c eventhub.Claim) { _ = v.keep("", c) } // there is room for one that has no audience

func (v *Conversation) prove(ctx context.Context, t cbs.Token) (c eventhub.Claim, audience string, err error) {
	audience = audienceOf(t.Audience)
	c, err = v.dir.Prove(ctx, t.Kind, t.Text)
	if err != nil {
		return c, audience, err
	}
	if audience == "" {
		return c, audience, nil
	}
	if !c.Covers(audience, 0) {
		return c, audience, fault.Newf("amqpdoor", fault.Unauthenticated, "InvalidAudience: The token is for '%s', not for '%s'.", c.Path, clip(audience))
	}
	a := parse(audience)
	if a.kind == nowhere {
		return c, audience, fault.Newf("amqpdoor", fault.NotFound, "The messaging entity '%s' could not be found.", clip(audience))
	}
	if a.entity != "" && coversAny(c, audience) { // nobody else learns what there is
		_, err = v.dir.Entity(ctx, a.entity)
	}
	return c, audience, err
}

// everyRight are those of which each alone lets one know of an event hub.
var everyRight = [...]eventhub.Right{eventhub.Listen, eventhub.Send, eventhub.Manage}

func coversAny(c eventhub.Claim, path string) bool {
	for _, r := range everyRight {
		if c.Covers(path, r) {
			return true
		}
	}
	return false
}

// audienceOf is the path of an audience, in lower case: "sb://host:5671/Hub" is "hub", a host alone is empty. Without a scheme the host is
// what stands before the first slash.
func audienceOf(text string) string {
	if plain, err := url.PathUnescape(text); err == nil {
		text = plain
	}
	if len(text) > maxAddress {
		text = text[:maxAddress]
	}
	if scheme, _, ok := strings.Cut(text, "://"); !ok || !isScheme(scheme) {
		_, text, _ = strings.Cut(text, "/")
	}
	return strings.ToLower(pathOf(text))
}

// keep notes a claim, instead of the one its audience had.
func (v *Conversation) keep(audience string, c eventhub.Claim) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, renewed := v.claims[audience]; !renewed && audience != "" && len(v.claims) >= v.door.cfg.Claims {
		if v.forget(v.door.clock.Now()); len(v.claims) >= v.door.cfg.Claims {
			return fault.Newf("amqpdoor", fault.Invalid, "One connection holds tokens for at most %d audiences.", v.door.cfg.Claims).Advise("open another connection")
		}
	}
	v.claims[audience] = c
	v.known()
	return nil
}

// known notes that the peer has proved something. The caller holds mu.
func (v *Conversation) known() {
	if !v.proved {
		v.proved = true
		v.conn.Restrain(false)
	}
	v.schedule()
}

// allowed tells whether a claim that is still good covers a path.
func (v *Conversation) allowed(path string, need eventhub.Right) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.forget(v.door.clock.Now())
	return v.covered(path, need)
}

// forget drops the claims that are good no longer. The caller holds mu.
func (v *Conversation) forget(now time.Time) {
	for audience, c := range v.claims {
		if !c.Expires.IsZero() && !now.Before(c.Expires) || c.Valid != nil && !c.Valid() {
			delete(v.claims, audience)
		}
	}
}

func (v *Conversation) covered(path string, need eventhub.Right) bool {
	for _, c := range v.claims {
		if c.Covers(path, need) {
			return true
		}
	}
	return false
}

// due is when look has something to do. The caller holds mu, or is alone.
func (v *Conversation) due() time.Time {
	now := v.door.clock.Now()
	switch {
	case len(v.links) > 0:
	case v.guest:
		return now.Add(time.Hour)
	case !v.proved:
		return v.began.Add(min(v.door.cfg.Unproved, v.door.cfg.Unused))
	default:
		return v.empty.Add(v.door.cfg.Unused)
	}
	at := now.Add(v.door.cfg.Check)
	for _, c := range v.claims {
		if !c.Expires.IsZero() && c.Expires.After(now) && c.Expires.Before(at) {
			at = c.Expires
		}
	}
	return at
}

// schedule has look called when it is due. The caller holds mu.
func (v *Conversation) schedule() {
	if !v.ended {
		v.door.expiry.Move(v.term, v.due())
	}
}

// Recheck ends now what stands on a claim that is worth nothing any more. Call it when what claims stand on has changed.
func (v *Conversation) Recheck() { v.look() }

// look is called when time has passed: it ends the links whose claim has lapsed, whose event hub is gone, or whose sender has gone silent,
// and the connection that is not used.
func (v *Conversation) look() {
	type end struct {
		l   *link
		why *amqp.Error // nil: to be found out
	}
	var ends []end
	v.mu.Lock()
	if v.ended {
		v.mu.Unlock()
		return
	}
	now := v.door.clock.Now()
	v.forget(now)
	for l := range v.links {
		switch {
		case l.entity == nil:
		case isGone(l.entity):
			ends = append(ends, end{l, nil})
		case !v.covered(l.path, l.need):
			ends = append(ends, end{l, condition(v.unauthorized(l.path, l.need))})
		case l.sends && now.Sub(time.UnixMilli(l.active.Load())) >= v.door.cfg.IdleSender:
			ends = append(ends, end{l, amqp.Errorf(amqp.ConditionDetachForced, "The link '%s' is force detached. Details: the publisher was idle for %s.", l.Name(), v.door.cfg.IdleSender)})
		}
	}
	var patience time.Duration // that is over; 0: none
	switch {
	case v.guest:
	case !v.proved && now.Sub(v.began) >= v.door.cfg.Unproved:
		patience = v.door.cfg.Unproved
	case len(v.links) == 0 && now.Sub(v.empty) >= v.door.cfg.Unused:
		patience = v.door.cfg.Unused
	}
	if patience > 0 {
		v.empty, v.began = now, now // should the close take its time
	}
	v.schedule()
	v.mu.Unlock()
	for _, e := range ends {
		if e.why != nil {
			v.door.log.Debug("eventhub: a link was detached", "address", e.l.Address(), "condition", string(e.why.Condition), "why", e.why.Description)
			e.l.Detach(e.why)
			continue
		}
		v.busy.Go(func() { v.farewell(e.l) })
	}
	if patience > 0 {
		v.conn.Close(amqp.Errorf(amqp.ConditionConnectionForced, "The connection was inactive for more than the allowed %d milliseconds.", patience.Milliseconds()))
	}
}

func isGone(e eventhub.Entity) bool {
	select {
	case <-e.Gone():
		return true
	default:
		return false
	}
}

// farewell detaches a link whose event hub was deleted or disabled.
func (v *Conversation) farewell(l *link) {
	_, err := v.dir.Entity(l.Context(), l.entity.Name())
	if err == nil { // another one has its name by now
		err = notFound(l.entity.Name())
	}
	e := condition(err)
	v.door.log.Debug("eventhub: a link was detached", "address", l.Address(), "condition", string(e.Condition), "why", e.Description)
	l.Detach(e)
}
