package eventhub

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store/eventhubstore"
)

// declare makes event hubs, policies and groups to be as the resource says, and marks what it does not say any more as undeclared. What
// cannot be made stays as it is, and is told in the error.
func (n *Namespace) declare(ctx context.Context, list []resource.EventHub) error {
	n.changing.Lock()
	defer n.changing.Unlock()
	d := &declaration{namespace: n, now: n.state.Load(), wanted: map[string]bool{}}
	for _, e := range list {
		d.compare(e)
	}
	d.compareRest()
	if err := d.makeStreams(ctx); err != nil {
		return errors.Join(append(d.errs, err)...)
	}
	if len(d.steps) > 0 {
		if err := n.change(ctx, d.carryOut); err != nil {
			d.errs = append(d.errs, err)
		} else {
			n.server.log.Info("eventhub: as its resource declares", "namespace", n.Name(), "changes", len(d.steps))
		}
	}
	return errors.Join(d.errs...)
}

// declaration is the way from what there is to what is declared.
type declaration struct {
	namespace *Namespace
	now       *state
	wanted    map[string]bool // keys of event hubs
	errs      []error

	fresh []eventhubstore.EventHub // whose streams are not there yet
	keep  []eventhubstore.EventHub // whose streams keep something else from now on
	steps []func(tx *eventhubstore.Tx, next *state) error
}

func (d *declaration) step(fn func(tx *eventhubstore.Tx, next *state) error) {
	d.steps = append(d.steps, fn)
}

func (d *declaration) carryOut(tx *eventhubstore.Tx, next *state) error {
	for _, fn := range d.steps {
		if err := fn(tx, next); err != nil {
			return err
		}
	}
	return nil
}

func (d *declaration) compare(e resource.EventHub) {
	op := "eventhub.SetNamespaces"
	n := d.namespace
	row, err := n.row(op, e.Name, Settings{Partitions: e.Partitions, Retention: time.Duration(e.RetentionHours) * time.Hour, RetentionBytes: e.RetentionBytes})
	if err != nil {
		d.errs = append(d.errs, err)
		return
	}
	row.Declared = true
	d.wanted[row.Key] = true
	had := d.now.hubs[row.Key]
	switch {
	case had == nil && len(d.now.hubs)+len(d.fresh) >= MaxEventHubs:
		d.errs = append(d.errs, fault.Newf(op, fault.Exhausted, "namespace %s has %d event hubs, and no room for %s", n.Name(), MaxEventHubs, e.Name).
			Advise("delete some that are not declared: isthmus eventhub delete"))
		return
	case had == nil:
		d.fresh = append(d.fresh, row)
		d.step(func(tx *eventhubstore.Tx, next *state) error {
			next.add(row)
			return n.putFresh(tx, row)
		})
	default:
		if row.Partitions != had.Partitions {
			d.errs = append(d.errs, fault.Newf(op, fault.Conflict, "event hub %s of namespace %s has %d partitions, which cannot become %d", e.Name, n.Name(), had.Partitions, row.Partitions).
				Advise("declare %d, or declare one of another name", had.Partitions))
		}
		row.Partitions, row.Created, row.Disabled = had.Partitions, had.Created, had.Disabled
		same := row
		same.Updated = had.Updated
		if same == had.EventHub {
			break
		}
		if retentionOf(row) != retentionOf(had.EventHub) {
			d.keep = append(d.keep, row)
		}
		d.step(func(tx *eventhubstore.Tx, next *state) error {
			next.edit(next.hubs[row.Key]).turn(row)
			return tx.PutEventHub(n.id, row)
		})
	}
	d.comparePolicies(row.Key, had, e.Policies)
	d.compareGroups(row.Key, had, e.ConsumerGroups)
}

func (d *declaration) comparePolicies(hub string, had *eventHub, list []resource.EventHubPolicy) {
	op := "eventhub.SetNamespaces"
	n := d.namespace
	known, wanted := map[string]eventhubstore.Policy{}, map[string]bool{}
	if had != nil {
		known = had.policies
	}
	put := func(p eventhubstore.Policy) {
		d.step(func(tx *eventhubstore.Tx, next *state) error { return next.putPolicy(tx, n.id, next.hubs[hub], p) })
	}
	for _, one := range list {
		key, err := policyKey(op, one.Name)
		if err != nil {
			d.errs = append(d.errs, err)
			continue
		}
		wanted[key] = true
		rights := Right(0)
		for i, name := range rightNames {
			for _, r := range one.Rights {
				if strings.EqualFold(string(r), name) {
					rights |= 1 << i
				}
			}
		}
		p, ok := known[key]
		next := eventhubstore.Policy{Hub: hub, Key: key, Name: one.Name, Rights: uint32(rights.whole()), PrimaryKey: p.PrimaryKey, SecondaryKey: p.SecondaryKey, Declared: true}
		if !ok {
			next.PrimaryKey, next.SecondaryKey = newKey(), newKey()
		}
		if next != p {
			put(next)
		}
	}
	for key, p := range known {
		if p.Declared && !wanted[key] {
			p.Declared = false
			put(p)
		}
	}
}

func (d *declaration) compareGroups(hub string, had *eventHub, list []string) {
	op := "eventhub.SetNamespaces"
	n := d.namespace
	known, wanted := map[string]eventhubstore.Group{}, map[string]bool{}
	if had != nil {
		known = had.groups
	}
	for _, name := range list {
		key, err := groupKey(op, name)
		if err != nil {
			d.errs = append(d.errs, err)
			continue
		}
		wanted[key] = true
		g, ok := known[key]
		next := eventhubstore.Group{Hub: hub, Key: key, Name: name, Declared: true, Created: g.Created}
		if !ok {
			next.Created = whole(n.server.clock.Now())
		}
		if next != g && !strings.EqualFold(name, DefaultGroup) {
			d.step(func(tx *eventhubstore.Tx, s *state) error {
				if !ok { // what a processor wrote that outlived another group of the name
					if err := tx.Forget(eventhubstore.Place{Namespace: n.id, Hub: hub, Group: key}); err != nil {
						return err
					}
				}
				return s.putGroup(tx, n.id, next)
			})
		}
	}
	for key, g := range known {
		if g.Declared && !wanted[key] {
			g.Declared = false
			d.step(func(tx *eventhubstore.Tx, s *state) error { return s.putGroup(tx, n.id, g) })
		}
	}
}

// compareRest finds what was declared and is not any more. It stays, with its events, until somebody deletes it.
func (d *declaration) compareRest() {
	n := d.namespace
	for key, h := range d.now.hubs {
		if d.wanted[key] || !h.Declared {
			continue
		}
		row := h.EventHub
		row.Declared, row.Updated = false, whole(n.server.clock.Now())
		d.step(func(tx *eventhubstore.Tx, next *state) error {
			next.edit(next.hubs[key]).turn(row)
			return tx.PutEventHub(n.id, row)
		})
		d.comparePolicies(key, h, nil)
		d.compareGroups(key, h, nil)
		n.server.log.Info("eventhub: no longer declared; it stays until it is deleted by command", "namespace", n.Name(), "eventHub", h.Name)
	}
}

func (d *declaration) makeStreams(ctx context.Context) error {
	n := d.namespace
	var all errgroup.Group
	all.SetLimit(streamsAtOnce)
	for _, row := range d.fresh {
		all.Go(func() error { return n.freshStream(ctx, row) })
	}
	for _, row := range d.keep {
		all.Go(func() error { return n.server.events.SetRetention(ctx, n.stream(row.Key), retentionOf(row)) })
	}
	return all.Wait()
}

// putGroup writes a consumer group down, here and in the store.
func (s *state) putGroup(tx *eventhubstore.Tx, namespace string, g eventhubstore.Group) error {
	s.edit(s.hubs[g.Hub]).groups[g.Key] = g
	return tx.PutGroup(namespace, g)
}
