package control

import (
	"context"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

// Sessions lists sessions, those opened last first: a person's own; with the role owner, approver or auditor all into the tenant's targets.
// Where a target leads is shown to its own tenant only.
func (c *Control) Sessions(ctx context.Context, p Principal, f SessionFilter) ([]SessionView, error) {
	op := "control.Sessions"
	if f.Limit < 0 || f.Limit > 1000 {
		return nil, fault.Newf(op, fault.Invalid, "%d sessions were asked for", f.Limit).Advise("ask for at most 1000, and for those before the last one's opened")
	}
	if err := checkText(op, "the filter", f.Tenant+f.Target+f.Person+f.Grant); err != nil {
		return nil, err
	}
	sf := store.SessionFilter{Tenant: f.Tenant, Target: f.Target, Person: f.Person, Grant: f.Grant, Open: f.Open, Allowed: !f.Refused, Before: f.Before, Limit: f.Limit}
	switch {
	case p.whole():
	case p.maySeeAccess(p.Tenant):
		sf.Side, sf.OrTenant = p.Person, p.Tenant
	case p.Person != "":
		sf.Side = p.Person
	default:
		return nil, nil
	}
	var list []store.Session
	var have map[string]bool
	err := c.store.View(ctx, func(tx *store.Tx) (err error) {
		if list, err = tx.Sessions(sf); err != nil {
			return err
		}
		have, err = tx.HaveRecordings(list)
		return err
	})
	out := make([]SessionView, 0, len(list))
	for _, s := range list {
		out = append(out, p.viewSession(s, have[s.Session]))
	}
	return out, err
}

func (p Principal) viewSession(s store.Session, recording bool) SessionView {
	v := SessionView{
		ID: s.Session, Grant: s.Grant, Target: s.TargetPath, Tenant: s.Tenant, Person: personWho(s), Reason: s.Reason, ApprovedBy: s.ApprovedBy,
		Phase: s.Phase, Opened: s.At, Ended: s.EndedAt, From: s.From, Sent: s.Sent, Received: s.Received, End: s.End, Login: s.Login,
		Files: s.Files, MoreFiles: s.MoreFiles, Commands: s.Commands, Words: s.Words, Agent: s.Agent,
	}
	if p.sees(s.Tenant) {
		v.To = s.To
		v.Recording = recording && p.mayReplay("") == nil
	} else if s.End == session.NotYours { // who tries another's grant is not told into what
		v.Target = ""
	}
	return v
}

// countSessions fills in how many sessions are open into targets.
func (c *Control) countSessions(tx *store.Tx, list []resource.Object) error {
	_, open, err := tx.OpenSessions()
	if err != nil {
		return err
	}
	for _, o := range list {
		if t, ok := o.(*resource.Target); ok {
			t.Status.Sessions = open[t.Metadata.UID]
		}
	}
	return nil
}
