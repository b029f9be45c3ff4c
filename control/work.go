package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

// work is one change under way: a transaction that remembers what to tell the world once it is committed.
type work struct {
	*store.Tx
	c       *Control
	who     string
	why     string
	now     time.Time
	changes []change
	posted  bool                                            // a webhook has something to send
	taken   map[string]map[netip.Addr]string                // addresses read so far, by the network's uid
	claimed map[placeKey]claims                             // names as the changes so far leave them, where somebody asked
	zones   map[placeKey][]*resource.Zone                   // linked, where somebody asked
	made    map[string]map[resource.Key]*resource.RecordSet // by endpoints, by tenant, where somebody asked
}

// errDry rolls a dry run back.
var errDry = errors.New("dry run")

// update runs fn in a transaction; after the commit the world shows its changes and the agents concerned are woken.
func (c *Control) update(ctx context.Context, who, why string, fn func(w *work) error) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	w := &work{c: c, who: who, why: why, now: c.clock.Now().UTC()}
	stale := c.world
	defer func() {
		if c.world != stale { // also when this change failed: those of other servers are news
			c.mu.RLock()
			defer c.mu.RUnlock()
			c.wake(dirty{all: true})
		}
	}()
	err := c.store.Update(ctx, func(tx *store.Tx) error {
		w.Tx, w.changes, w.posted, w.taken = tx, nil, false, map[string]map[netip.Addr]string{}
		if err := c.catchUp(tx); err != nil {
			return err
		}
		if err := w.precondition(ctx); err != nil {
			return err
		}
		if err := fn(w); err != nil {
			return err
		}
		return w.assignBridges()
	})
	if errors.Is(err, errDry) {
		return nil
	}
	if err == nil && w.posted {
		nudge(c.posted)
	}
	if err != nil || len(w.changes) == 0 {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.world.commit(w.changes)
	c.world.revision++
	if c.world == stale {
		c.wake(d)
	}
	return nil
}

// catchUp reads the world anew when another server has written, so that a change is decided on, and added to, what is there now. Nobody
// is woken by it yet.
func (c *Control) catchUp(tx *store.Tx) error {
	now, err := tx.Revision()
	if err != nil || now == c.world.revision {
		return err
	}
	w, err := c.loadWorld(tx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.world = w
	c.mu.Unlock()
	return nil
}

// insert keeps a new noun and gives it its uid, generation and times.
func (w *work) insert(o resource.Object, ch change) error {
	m := &o.Head().Metadata
	m.UID, m.Generation, m.CreatedAt, m.UpdatedAt = newUID(), 1, w.now, w.now
	if err := w.Insert(o, ch.target); err != nil {
		return err
	}
	ch.after = o
	w.changed(ch)
	return nil
}

func (w *work) changed(ch change) {
	if a, ok := ch.after.(*resource.Allowlist); ok {
		var old []*plan.Part
		if was := w.world().allowlist(a.Key()); was != nil {
			old = was.parts
		}
		ch.parts = plan.Cut(a.Spec.Rules, old)
	}
	w.changes = append(w.changes, ch)
	w.claim(ch)
	if _, ok := ch.after.(*resource.Zone); ok {
		w.zones = nil
	}
}

// put keeps a noun that was changed; after must be another value than before.
func (w *work) put(before, after resource.Object) error {
	if err := w.Put(after); err != nil {
		return err
	}
	w.changed(change{before: before, after: after})
	return nil
}

func (w *work) remove(o resource.Object, ch change) error {
	if err := w.Remove(o.Head().Key()); err != nil {
		return err
	}
	ch.before = o
	w.changed(ch)
	return nil
}

// get is Get with nil instead of NotFound. Long lists of rules are not read from the disk when the world has them.
func (w *work) get(key resource.Key) (resource.Object, error) {
	if key.Kind == resource.KindAllowlist && len(w.changes) == 0 {
		if a := w.world().allowlist(key); a != nil {
			return a.noun, nil
		}
		return nil, nil
	}
	o, err := w.Get(key)
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil
	}
	return o, err
}

// addresses is Addresses, read once for all the endpoints of one change.
func (w *work) addresses(network string) (map[netip.Addr]string, error) {
	if used, ok := w.taken[network]; ok {
		return used, nil
	}
	used, err := w.Addresses(network)
	if err == nil {
		w.taken[network] = used
	}
	return used, err
}

// record adds to a tenant's audit chain; "" is the deployment's own. before and after may be nil.
func (w *work) record(tenant, operation string, key resource.Key, before, after any) error {
	r := store.AuditRecord{Tenant: tenant, Time: w.now, Who: w.who, Operation: operation, Kind: string(key.Kind), Path: key.Path(), Why: w.why}
	for _, h := range []struct {
		of   any
		into *json.RawMessage
	}{{before, &r.Before}, {after, &r.After}} {
		if h.of == nil {
			continue
		}
		b, err := json.Marshal(h.of)
		if err != nil {
			return fault.Wrap("control.record", fault.Internal, err, "")
		}
		*h.into = b
	}
	return w.AppendAudit(r)
}

// portrait is what an audit record shows of a noun: all that somebody asked for and what was given, no secret and nothing that
// changes by itself.
type portrait struct {
	UID         string               `json:"uid"`
	Labels      map[string]string    `json:"labels,omitempty"`
	Annotations map[string]string    `json:"annotations,omitempty"`
	Spec        any                  `json:"spec"`
	Address     netip.Addr           `json:"address,omitzero"`
	Connection  *resource.Connection `json:"connection,omitempty"`
}

// portrayBoth is what a record shows of a change.
func (w *work) portrayBoth(before, after resource.Object) (any, any) {
	if a, ok := after.(*resource.Allowlist); ok {
		return w.portrayLists(before.(*resource.Allowlist), a)
	}
	return w.portray(before), w.portray(after)
}

func (w *work) portray(o resource.Object) any {
	if o == nil {
		return nil
	}
	if a, ok := o.(*resource.Allowlist); ok {
		return w.portrayList(a, a.Spec.Rules)
	}
	m := o.Head().Metadata
	spec, _ := o.SpecAndStatus()
	p := portrait{UID: m.UID, Labels: m.Labels, Annotations: m.Annotations, Spec: spec}
	if e, ok := o.(*resource.PrivateEndpoint); ok {
		p.Address, p.Connection = e.Status.Address, &e.Status.Connection
	}
	return p
}

// ownerOf is the tenant a noun belongs to, and whose audit chain it is in; "" is the deployment.
func ownerOf(k resource.Key) string {
	if k.Kind == resource.KindTenant {
		return k.Name
	}
	return k.Tenant
}

// noSuch is the one answer for what is not there and for what the caller may not know of.
func noSuch(op string, key resource.Key) *fault.Error {
	return fault.Newf(op, fault.NotFound, "there is no %s", key).Advise("list what there is with: isthmus get %s", plural(key.Kind))
}

func plural(k resource.Kind) string {
	switch k {
	case resource.KindPrivateEndpoint:
		return "endpoints"
	case resource.KindRecordSet:
		return "recordsets"
	case resource.KindTenant, resource.KindNetwork, resource.KindZone, resource.KindRelay, resource.KindAgent, resource.KindService, resource.KindRuleset,
		resource.KindGateway, resource.KindAllowlist, resource.KindIdentityProvider, resource.KindTarget, resource.KindContract, resource.KindBridge:
	case resource.KindAccessPolicy:
		return "accesspolicies"
	case resource.KindRoleAssignment:
		return "roleassignments"
	}
	b := []byte(k)
	b[0] |= 0x20 // ASCII lower case
	return string(b) + "s"
}

// about says which noun a fault is about, and keeps its kind, words and advice.
func about(op string, key resource.Key, err error) error {
	if err == nil {
		return nil
	}
	if fault.KindOf(err) == fault.Internal {
		return fault.Wrap(op, fault.Internal, err, "")
	}
	e := fault.Newf(op, fault.KindOf(err), "%s: %s", key, fault.Message(err)).Because(err)
	if next := fault.Next(err); next != "" {
		e = e.Advise("%s", next)
	}
	return e
}
