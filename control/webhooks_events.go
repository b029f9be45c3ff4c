package control

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/access/webhook"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store"
)

// eventOf is how webhooks call a step with a grant; empty for what they are not told.
func eventOf(step string, g grant.Grant) string {
	switch step {
	case "request":
		return webhook.Request
	case "break-glass":
		return webhook.BreakGlass
	case "approve":
		return webhook.Approve
	case "deny":
		return webhook.Deny
	case "revoke", "withdraw":
		return webhook.Revoke
	case "expire", "lapse":
		return webhook.Expire
	case "extend":
		if g.Extension != nil {
			return webhook.Request
		}
		return webhook.Approve
	}
	return ""
}

// tellOfGrant queues a step for the webhooks of the target's tenant and of the person's that want to know of it. Of an emergency every one is told.
func (w *work) tellOfGrant(step string, g grant.Grant) error {
	event := eventOf(step, g)
	if event == "" {
		return nil
	}
	e := webhook.Event{
		Event: event, At: w.now, By: w.who, Grant: g.ID, Kind: string(g.Kind), State: string(g.State), Target: g.Target, Person: g.Person.Who(),
		Reason: g.Reason, For: spoken(g.For), From: g.From, Until: g.Until, Ask: g.Ask, ApprovedBy: g.ApprovedBy(), Needed: g.Needed,
	}
	switch {
	case g.Waits():
		e.Commands = &webhook.Commands{Approve: "isthmus access approve " + g.ID, Deny: "isthmus access deny " + g.ID + " --reason ..."}
	case g.State == grant.Approved:
		e.Commands = &webhook.Commands{Revoke: "isthmus access revoke " + g.ID + " --reason ..."}
	}
	if event == webhook.BreakGlass {
		e.Commands.Review = "isthmus access review " + g.ID + " --reason ..."
	}
	e.Text = chat(w.sentence(step, g, e))
	return w.tell(e, g.Tenant, g.Person.Tenant)
}

// sentence is what a chat shows.
func (w *work) sentence(step string, g grant.Grant, e webhook.Event) string {
	who, what := g.Person.Who(), g.Target
	switch {
	case step == "break-glass":
		return fmt.Sprintf("EMERGENCY: %s broke the glass of %s for %s: %s. Stop it: %s. Look at it afterwards: %s", who, what, e.For, g.Reason, e.Commands.Revoke, e.Commands.Review)
	case step == "request" && g.State == grant.Requested:
		asks := who + " asks"
		if g.RequestedBy.ID != g.Person.ID {
			asks = g.RequestedBy.Who() + " asks for " + who
		}
		return fmt.Sprintf("%s to be let into %s for %s: %s. Approve: %s", asks, what, e.For, g.Reason, e.Commands.Approve)
	case step == "request":
		return fmt.Sprintf("%s is let into %s for %s without approval: %s", who, what, e.For, g.Reason)
	case step == "extend" && g.Extension != nil:
		return fmt.Sprintf("%s asks for %s more in %s: %s. Approve: %s", w.who, spoken(g.Extension.For), what, g.Extension.Reason, e.Commands.Approve)
	case step == "approve" && g.State == grant.Requested:
		return fmt.Sprintf("%s approved %s for %s (%d of %d). Approve too: %s", w.who, who, what, len(g.Approvals), g.Needed, e.Commands.Approve)
	case e.Event == webhook.Approve:
		return fmt.Sprintf("%s may come into %s until %s, by %s", who, what, g.Until.UTC().Format(time.RFC3339), w.who)
	}
	words := map[string]string{
		"deny": "%s was denied %s", "revoke": "the access of %s to %s was revoked", "withdraw": "the request of %s for %s was withdrawn",
		"expire": "the access of %s to %s has ended", "lapse": "the request of %s for %s was decided by nobody in time",
	}[step]
	text := fmt.Sprintf(words, who, what)
	if g.EndedBy != "" {
		text += " by " + g.EndedBy
	}
	if g.EndReason != "" {
		text += ": " + g.EndReason
	}
	return text
}

// tellOfSession queues the beginning or end of a session.
func (w *work) tellOfSession(step string, s store.Session) error {
	e := webhook.Event{
		Event: step, At: w.now, By: personWho(s), Grant: s.Grant, Target: s.TargetPath, Person: personWho(s), Reason: s.Reason, ApprovedBy: s.ApprovedBy,
		Session: &webhook.SessionFacts{ID: s.Session, Opened: s.At, Ended: s.EndedAt, From: s.From, Sent: s.Sent, Received: s.Received, End: string(s.End)},
	}
	text := fmt.Sprintf("%s came into %s: %s", e.Person, s.TargetPath, s.Reason)
	if step == webhook.SessionEnd {
		text = fmt.Sprintf("%s left %s after %s (%s; %s bytes in, %s out)", e.Person, s.TargetPath, spoken(s.EndedAt.Sub(s.At).Round(time.Second)), s.End,
			strconv.FormatUint(s.Sent, 10), strconv.FormatUint(s.Received, 10))
	}
	e.Text = chat(text)
	home, err := w.concerned(s)
	if err != nil {
		return err
	}
	return w.tell(e, s.Tenant, home)
}

// tell queues an event for the webhooks of tenants.
func (w *work) tell(e webhook.Event, tenants ...string) error {
	for i, tenant := range tenants {
		if tenant == "" || slices.Contains(tenants[:i], tenant) {
			continue
		}
		list, err := w.Webhooks(tenant)
		if err != nil {
			return err
		}
		for _, h := range list {
			if !slices.Contains(h.Events, e.Event) && e.Event != webhook.BreakGlass {
				continue
			}
			e.ID, e.Tenant = newUID(), tenant
			body, err := json.Marshal(e)
			if err != nil {
				return fault.Wrap("control.tell", fault.Internal, err, "")
			}
			if err := w.AddDelivery(store.Delivery{ID: e.ID, Webhook: h.ID, Body: string(body), Created: w.now, Due: w.now}, maxWaitingTo); err != nil {
				return err
			}
			w.posted = true
		}
	}
	return nil
}

// chat makes one line of text that calls nobody and hides no link: what people write stands in it.
func chat(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "@", "@\u200b", "](", "]\u200b(").Replace(s)
}

// spoken is a duration without what is zero in it: 2h, 1h30m.
func spoken(d time.Duration) string {
	s := d.String()
	if d != 0 && d%time.Minute == 0 {
		s = strings.TrimSuffix(s, "0s")
	}
	if d != 0 && d%time.Hour == 0 {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
