package control

import (
	"context"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
)

// watcher is one WatchPlan call. wake holds at most one signal, so that any number of changes while it works are one.
type watcher struct {
	id    identity.ID
	place placeKey
	wake  chan struct{}
}

// wake tells the watchers concerned. Control.mu is held.
func (c *Control) wake(d dirty) {
	one := func(w *watcher) {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
	signal := func(ws map[*watcher]struct{}) {
		for w := range ws {
			one(w)
		}
	}
	for _, id := range d.grants {
		c.stirs.stir(id)
	}
	if d.all || len(d.grants) > 0 {
		nudge(c.granted)
	}
	if d.all {
		c.stirs.stirAll()
		for _, ws := range c.watchers {
			signal(ws)
		}
		return
	}
	for k := range d.places {
		signal(c.watchers[k])
	}
	for id := range d.members {
		for w := range c.watchers[placeOfID(id)] {
			if w.id == id {
				one(w)
			}
		}
	}
}

// nudge leaves a signal in a channel that holds one.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// placeOfID is where a member belongs, by its name.
func placeOfID(id identity.ID) placeKey {
	if a, ok := id.Agent(); ok {
		return placeKey{a.Tenant, a.Network}
	}
	return placeKey{}
}

// WatchPlan calls changed with the plan as it is, and again, on the same goroutine, each time it has become another. Changes that
// come while changed works are passed on together. It returns when changed fails (with that error), when the context ends (with
// its error), Unauthenticated when the agent or relay was deleted, and Unavailable
// when it follows its plan too often already. The plan's slices are shared: changed must not write to them.
func (c *Control) WatchPlan(ctx context.Context, id identity.ID, changed func(plan.Plan) error) error {
	if _, err := c.plan("control.WatchPlan", id); err != nil { // before anything is held for it
		return err
	}
	leave := c.presence.arrive(id, c.clock.Now)
	if leave == nil {
		return fault.Newf("control.WatchPlan", fault.Unavailable, "%s follows its plan %d times already", id, maxWatches).
			Advise("end the other processes with this identity; one that lost its connection is forgotten within a minute")
	}
	defer leave()
	c.refreshKnown(ctx, id)
	w := &watcher{id: id, place: placeOfID(id), wake: make(chan struct{}, 1)}
	c.mu.Lock()
	if c.watchers[w.place] == nil {
		c.watchers[w.place] = map[*watcher]struct{}{}
	}
	c.watchers[w.place][w] = struct{}{}
	c.mu.Unlock()
	c.metrics.watchers.Inc()
	defer func() {
		c.metrics.watchers.Dec()
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watchers[w.place], w)
		if len(c.watchers[w.place]) == 0 {
			delete(c.watchers, w.place)
		}
	}()
	last := ""
	for {
		p, err := c.plan("control.WatchPlan", id)
		if err != nil {
			return err
		}
		if p.Revision == last {
			c.metrics.plans.WithLabelValues("same").Inc()
		} else {
			c.metrics.plans.WithLabelValues("sent").Inc()
			if err := changed(p); err != nil {
				return err
			}
			last = p.Revision
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.wake:
		}
	}
}

// plan compiles the plan of an agent or relay as of now; Unauthenticated when it is not known, or not any more.
func (c *Control) plan(op string, id identity.ID) (plan.Plan, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if a := c.world.agents[id]; a != nil {
		return c.compiler.agent(c.world, a), nil
	}
	for _, r := range c.world.relays {
		if r.Status.SPIFFEID == string(id) {
			return c.compiler.relay(c.world, r), nil
		}
	}
	c.metrics.refused.Inc()
	return plan.Plan{}, unknownIdentity(op, id)
}

func unknownIdentity(op string, id identity.ID) error {
	return fault.Newf(op, fault.Unauthenticated, "%s was deleted, or never joined", id).
		Advise("join again with a new token: isthmus token join")
}
