package control

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/store"
)

// agedAtOnce bounds the grants that one transaction ends.
const agedAtOnce = 100

// itself is who time is, in records.
const itself = "the control plane"

// ageGrants ends grants and requests at the moment they are due, until the context ends.
func (c *Control) ageGrants(ctx context.Context) {
	for {
		wait, err := c.ageOnce(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			c.log.Warn("control: grants that are over could not be ended; their sessions are cut all the same", "error", err)
			wait = ageAgain
		}
		var due <-chan time.Time
		stop := func() {}
		if wait >= 0 {
			due, stop = c.clock.After(wait)
		}
		select {
		case <-ctx.Done():
			stop()
			return
		case <-c.granted: // something may be due earlier
		case <-due:
		}
		stop()
	}
}

const ageAgain = 5 * time.Second

// ageOnce ends what is due, and says how long it is until something will be; negative when nothing is.
func (c *Control) ageOnce(ctx context.Context) (wait time.Duration, err error) {
	for {
		var due time.Time
		var some bool
		if err := c.store.View(ctx, func(tx *store.Tx) (err error) {
			due, some, err = tx.NextDue()
			return err
		}); err != nil || !some {
			return -1, err
		}
		if wait := due.Sub(c.clock.Now()); wait > 0 {
			return wait, nil
		}
		if err := c.update(ctx, itself, "", func(w *work) error {
			list, err := w.DueGrants(w.now, agedAtOnce)
			if err != nil {
				return err
			}
			for _, g := range list {
				if next, changed := g.Age(w.now); changed {
					if err := w.ageGrant(g, next); err != nil {
						return err
					}
				}
			}
			return nil
		}); err != nil {
			return 0, err
		}
	}
}

// ageGrant keeps what time has made of a grant.
func (w *work) ageGrant(before, after grant.Grant) error {
	if err := w.putGrant(after); err != nil {
		return err
	}
	who := w.who
	defer func() { w.who = who }()
	w.who = itself
	step := "expire"
	if after.State == grant.Lapsed {
		step = "lapse"
	}
	w.c.metrics.grants.WithLabelValues(step).Inc()
	return w.recordGrant(step, before, after)
}

// endGrantsOf ends every grant and request of a person who may not be let in any more.
func (w *work) endGrantsOf(person, why string) error {
	open, err := w.Grants(store.GrantFilter{Person: person, Open: true, Limit: maxGrantsOfTarget})
	if err != nil {
		return err
	}
	for _, g := range open {
		if err := w.cancelGrant(g, why); err != nil {
			return err
		}
	}
	return nil
}

// unapprove takes back what a person approved and what waits for another approval still.
func (w *work) unapprove(p store.Person) error {
	open, err := w.Grants(store.GrantFilter{Tenant: p.Tenant, Open: true, Limit: maxGrantsOfTarget})
	if err != nil {
		return err
	}
	for _, g := range open {
		next, changed := g.Without(p.UID)
		if !changed {
			continue
		}
		if err := w.putGrant(next); err != nil {
			return err
		}
		if err := w.recordGrant("unapprove", g, next); err != nil {
			return err
		}
	}
	return nil
}
