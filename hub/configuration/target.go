package configuration

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// edgeCondition is what a device has to be for a deployment.
const edgeCondition = "capabilities.iotEdge = true"

// page is how many targets are written down together.
const page = 500

// CarryOut brings the identities of one hub to what its configurations say, and counts. Run does it from time to time.
func (e *Engine) CarryOut(ctx context.Context, h *hub.Hub) error {
	list, err := e.List(ctx, h, "", e.cfg.Most)
	if err != nil || len(list) == 0 {
		return err
	}
	// In the order of writing: the last one wins.
	slices.SortFunc(list, func(a, b Configuration) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	had := map[hub.Name]map[string]string{} // what was applied, by configuration
	if err := e.server.Store().Targets(ctx, h.ID(), func(t hubstore.Target) {
		if had[t.Name] == nil {
			had[t.Name] = map[string]string{}
		}
		had[t.Name][t.Configuration] = t.Applied
	}); err != nil {
		return err
	}
	has, met, err := e.match(ctx, h, list)
	if err != nil {
		return err
	}
	if err := e.settle(ctx, h, had, has); err != nil {
		return err
	}
	return e.count(ctx, h, list, has, met)
}

// match finds out which configurations count for whom, in the order of the list, and how many meet the condition of each: whoever meets
// the one of a deployment that another one beats is targeted by it all the same.
func (e *Engine) match(ctx context.Context, h *hub.Hub, list []Configuration) (has map[hub.Name][]*Configuration, met Results, err error) {
	has, met = map[hub.Name][]*Configuration{}, Results{}
	for i := range list {
		c := &list[i]
		condition, err := c.condition()
		if err != nil || condition == "" {
			continue
		}
		if c.Content.kind() == forEdge {
			if condition == "*" {
				condition = edgeCondition
			} else {
				condition = edgeCondition + " AND (" + condition + ")"
			}
		}
		err = h.QueryNames(ctx, condition, c.Content.kind() == forModules, func(n hub.Name) error {
			has[n] = append(has[n], c)
			met[c.ID]++
			return nil
		})
		if err != nil {
			return nil, nil, fault.Wrap("configuration.match", fault.KindOf(err), err, "the target condition of configuration "+c.ID+" cannot be answered")
		}
	}
	for n, list := range has {
		has[n] = effective(list)
	}
	return has, met, nil
}

// effective leaves of the base deployments the last one, and of the layered ones those after it; other configurations all count.
func effective(list []*Configuration) []*Configuration {
	base := -1
	for i, c := range list {
		if c.Content.kind() == forEdge && !c.Content.layered() {
			base = i
		}
	}
	out := list[:0:0]
	for i, c := range list {
		if c.Content.kind() == forEdge && (base < 0 || i < base) {
			continue
		}
		out = append(out, c)
	}
	return out
}

// stamp says which contents an identity has, in their order.
func stamp(list []*Configuration) string {
	sum := sha256.New()
	for _, c := range list {
		sum.Write([]byte(c.ID + "\n" + c.Created.UTC().String() + "\n")) // a content never changes
	}
	return hex.EncodeToString(sum.Sum(nil)[:12])
}

// settle writes contents into the twins of those for whom something changed, and writes down who has what.
func (e *Engine) settle(ctx context.Context, h *hub.Hub, had map[hub.Name]map[string]string, has map[hub.Name][]*Configuration) error {
	var changes []func(tx *hubstore.Tx) error
	flush := func() error {
		list := changes
		changes = nil
		if len(list) == 0 {
			return nil
		}
		return e.server.Store().Together(ctx, func(tx *hubstore.Tx) error {
			for _, c := range list {
				if err := c(tx); err != nil {
					return err
				}
			}
			return nil
		}, nil)
	}
	for n, list := range has {
		want := stamp(list)
		stale := len(had[n]) != len(list)
		for _, c := range list {
			stale = stale || had[n][c.ID] != want
		}
		if !stale {
			continue
		}
		now := want
		if err := e.apply(ctx, h, n, list); err != nil {
			if ctx.Err() != nil {
				return err
			}
			now = ""
			e.log.Warn("hub: a configuration is not applied; it will be tried again", "hub", h.Name(), "device", n.String(), "err", err)
		}
		changes = append(changes, e.note(h, n, list, had[n], now))
		if len(changes) >= page {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	for n, old := range had {
		if len(has[n]) == 0 {
			changes = append(changes, e.note(h, n, nil, old, ""))
		}
	}
	return flush()
}

// note writes down which configurations an identity has now, and forgets those it had.
func (e *Engine) note(h *hub.Hub, n hub.Name, list []*Configuration, old map[string]string, applied string) func(tx *hubstore.Tx) error {
	return func(tx *hubstore.Tx) error {
		for id := range old {
			if !slices.ContainsFunc(list, func(c *Configuration) bool { return c.ID == id }) {
				if err := tx.DeleteTarget(h.ID(), hubstore.Target{Configuration: id, Name: n}); err != nil {
					return err
				}
			}
		}
		for _, c := range list {
			if err := tx.SetTarget(h.ID(), hubstore.Target{Configuration: c.ID, Name: n, Applied: applied}); err != nil {
				return err
			}
		}
		return nil
	}
}

// count writes down the metrics of all configurations.
func (e *Engine) count(ctx context.Context, h *hub.Hub, list []Configuration, has map[hub.Name][]*Configuration, met Results) error {
	done, err := e.server.Store().CountApplied(ctx, h.ID())
	if err != nil {
		return err
	}
	system := map[string]Results{}
	for i := range list {
		id := list[i].ID
		system[id] = Results{targeted: met[id], applied: done[id]}
	}
	for i := range list {
		c := &list[i]
		if c.Content.kind() == forEdge {
			if err := e.countReports(ctx, h, c, has, system[c.ID]); err != nil {
				return err
			}
		}
		metrics := Results{}
		for _, name := range sortedKeys(c.Metrics) {
			n, err := e.countQuery(ctx, h, c.Metrics[name])
			if err != nil {
				e.log.Debug("hub: a metric cannot be counted", "hub", h.Name(), "configuration", c.ID, "metric", name, "err", err)
				continue
			}
			metrics[name] = n
		}
		b, err := json.Marshal(results{system[c.ID], metrics})
		if err != nil {
			return fault.Wrap("configuration.count", fault.Internal, err, "")
		}
		if err := e.server.Store().Together(ctx, func(tx *hubstore.Tx) error { return tx.SetConfigurationResults(h.ID(), c.ID, string(b)) }, nil); err != nil {
			return err
		}
	}
	return nil
}

// countQuery counts the rows of a query.
func (e *Engine) countQuery(ctx context.Context, h *hub.Hub, text string) (int, error) {
	const page = 1000
	n, continuation := 0, ""
	for {
		p, err := h.Query(ctx, text, page, continuation)
		if err != nil {
			return n, err
		}
		n += len(p.Items)
		if continuation = p.Continuation; continuation == "" {
			return n, nil
		}
	}
}
