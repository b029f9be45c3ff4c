package control

import (
	"context"
	"fmt"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
)

// absence is when a member that comes and goes was seen last, by the clock of the server that saw it, and since when we know of nothing
// later, by our own. Our own counts: clocks of servers differ, and a clock may be set.
type absence struct{ seen, since time.Time }

// sweep removes members that joined to come and go and were not seen for the time their token said. The server's own absence is none of
// theirs, so time counts from when it met them first.
func (c *Control) sweep(ctx context.Context) error {
	now := c.clock.Now()
	var due []*resource.Agent
	c.sweeping.Lock()
	defer c.sweeping.Unlock()
	c.mu.RLock()
	for id := range c.absences {
		if c.world.agents[id] == nil {
			delete(c.absences, id)
		}
	}
	for id, a := range c.world.agents {
		if st := a.Status; a.Spec.EphemeralAfterSeconds > 0 {
			c.presence.overlay(id, &st)
			if c.overdue(a, st, now) > 0 {
				due = append(due, a)
			}
		}
	}
	c.mu.RUnlock()
	for _, a := range due {
		if err := c.removeEphemeral(ctx, a, now); err != nil {
			return err
		}
	}
	return nil
}

// overdue is for how long an ephemeral member was not seen, 0 while that is not too long. It is called with sweeping held.
func (c *Control) overdue(a *resource.Agent, st resource.AgentStatus, now time.Time) time.Duration {
	id := identity.ID(a.Status.SPIFFEID)
	gone, known := c.absences[id]
	if !known || st.Connected || st.LastSeen.After(gone.seen) {
		gone = absence{later(gone.seen, st.LastSeen), now}
		c.absences[id] = gone
	}
	if away := now.Sub(gone.since); away >= time.Duration(a.Spec.EphemeralAfterSeconds)*time.Second {
		return away
	}
	return 0
}

func (c *Control) removeEphemeral(ctx context.Context, a *resource.Agent, now time.Time) error {
	gone := false
	id := identity.ID(a.Status.SPIFFEID)
	err := c.update(ctx, "isthmus", "", func(w *work) error {
		gone = false
		o, err := w.ByUID(a.Metadata.UID)
		if fault.KindOf(err) == fault.NotFound && err != nil {
			return nil
		}
		if err != nil {
			return err
		}
		kept := o.(*resource.Agent)
		st := kept.Status // another server may have seen it since
		c.presence.overlay(id, &st)
		away := c.overdue(kept, st, now)
		if away == 0 {
			return nil
		}
		gone = true
		w.why = fmt.Sprintf("not seen for %s; it joined with a token that lets it go after %s", away.Round(time.Second), time.Duration(kept.Spec.EphemeralAfterSeconds)*time.Second)
		return w.delete(kept)
	})
	if err != nil || !gone {
		return err
	}
	c.presence.forget(id)
	c.metrics.changes.WithLabelValues("deleted").Inc()
	c.log.Info("control: an ephemeral member was removed", "id", string(id))
	return nil
}
