package eventhub

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/eventhubstore"
)

// EventHub is an event hub as its keeper sees it.
type EventHub struct {
	Name           string
	Partitions     int
	Retention      time.Duration // how long events are kept
	RetentionBytes int64         // how much of them in one partition; 0: any
	Disabled       bool
	Declared       bool // by the namespace's resource
	Groups         int  // consumer groups, $Default among them
	Policies       int  // of its own
	Created        time.Time
	Updated        time.Time
}

func (h *eventHub) view() EventHub {
	return EventHub{
		Name: h.Name, Partitions: h.Partitions, Retention: h.Age, RetentionBytes: h.Bytes, Disabled: h.Disabled, Declared: h.Declared,
		Groups: len(h.groups) + 1, Policies: len(h.policies), Created: h.Created, Updated: h.Updated,
	}
}

// EventHubs returns all event hubs by name.
func (n *Namespace) EventHubs() []EventHub {
	out := []EventHub{}
	for _, h := range n.state.Load().hubs {
		out = append(out, h.view())
	}
	slices.SortFunc(out, func(a, b EventHub) int { return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	return out
}

// EventHub returns one by its name, in any case. NotFound.
func (n *Namespace) EventHub(name string) (EventHub, error) {
	h, err := n.find("eventhub.EventHub", name)
	if err != nil {
		return EventHub{}, err
	}
	return h.view(), nil
}

// Info returns where each partition of an event hub stands, also of a disabled one.
func (n *Namespace) Info(name string) ([]eventlog.Info, error) {
	h, err := n.find("eventhub.Info", name)
	if err != nil {
		return nil, err
	}
	out := make([]eventlog.Info, h.Partitions)
	for i := range out {
		if out[i], err = n.server.events.Info(n.stream(h.Key), i); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Settings is how an event hub is made. The zero value works.
type Settings struct {
	Partitions     int           // DefaultPartitions when 0; it cannot change later
	Retention      time.Duration // DefaultRetention when 0
	RetentionBytes int64
}

// CreateEventHub makes an event hub. Conflict when there is one of this name.
func (n *Namespace) CreateEventHub(ctx context.Context, name string, s Settings) (EventHub, error) {
	op := "eventhub.CreateEventHub"
	row, err := n.row(op, name, s)
	if err != nil {
		return EventHub{}, err
	}
	n.changing.Lock()
	defer n.changing.Unlock()
	now := n.state.Load()
	if had := now.hubs[row.Key]; had != nil {
		return EventHub{}, fault.Newf(op, fault.Conflict, "there is an event hub %s already", had.Name).Advise("change it with: isthmus eventhub set %s", had.Name)
	}
	if len(now.hubs) >= MaxEventHubs {
		return EventHub{}, fault.Newf(op, fault.Exhausted, "the namespace has %d event hubs, which is all it can", len(now.hubs)).Advise("delete one, or make another namespace")
	}
	if err := n.freshStream(ctx, row); err != nil {
		return EventHub{}, err
	}
	var out *eventHub
	err = n.change(ctx, func(tx *eventhubstore.Tx, next *state) error {
		out = next.add(row)
		return n.putFresh(tx, row)
	})
	if err != nil {
		return EventHub{}, err
	}
	n.server.log.Info("eventhub: event hub created", "namespace", n.Name(), "eventHub", row.Name, "partitions", row.Partitions)
	return out.view(), nil
}

// row checks what an event hub is to be.
func (n *Namespace) row(op, name string, s Settings) (eventhubstore.EventHub, error) {
	if s.Partitions == 0 {
		s.Partitions = DefaultPartitions
	}
	if s.Retention == 0 {
		s.Retention = DefaultRetention
	}
	key, err := hubKey(op, name)
	if err == nil {
		err = checkPartitions(op, s.Partitions)
	}
	if err == nil {
		err = checkRetention(op, s.Retention, s.RetentionBytes)
	}
	at := whole(n.server.clock.Now())
	return eventhubstore.EventHub{
		Key: key, Name: name, Partitions: s.Partitions, Age: s.Retention.Truncate(time.Millisecond), Bytes: s.RetentionBytes, Created: at, Updated: at,
	}, err
}

// putFresh writes down an event hub that is new, and forgets what processors wrote that outlived another one of its name.
func (n *Namespace) putFresh(tx *eventhubstore.Tx, row eventhubstore.EventHub) error {
	if err := tx.Forget(eventhubstore.Place{Namespace: n.id, Hub: row.Key}); err != nil {
		return err
	}
	return tx.PutEventHub(n.id, row)
}

func (s *state) add(row eventhubstore.EventHub) *eventHub {
	h := &eventHub{EventHub: row, policies: map[string]eventhubstore.Policy{}, groups: map[string]eventhubstore.Group{}, life: newLife()}
	s.hubs[row.Key] = h
	return h
}

// freshStream makes the stream of an event hub that is not there yet. What an event hub of this name has left behind, which a crash or a
// failing disk kept from going, goes first: nobody may read it.
func (n *Namespace) freshStream(ctx context.Context, h eventhubstore.EventHub) error {
	name := n.stream(h.Key)
	if n.server.events.Partitions(name) > 0 {
		if err := n.server.events.DeleteStream(ctx, name); err != nil {
			return err
		}
	}
	return n.server.events.CreateStream(ctx, name, eventlog.StreamOptions{Partitions: h.Partitions, Hash: "lookup3", Retention: retentionOf(h)})
}

// Change is what becomes of an event hub; what is nil stays.
type Change struct {
	Retention      *time.Duration
	RetentionBytes *int64
	Disabled       *bool
}

// ChangeEventHub changes an event hub. Whoever uses one that becomes disabled is told. Of an event hub that the resource declares only
// Disabled can be changed: Conflict.
func (n *Namespace) ChangeEventHub(ctx context.Context, name string, c Change) (EventHub, error) {
	op := "eventhub.ChangeEventHub"
	n.changing.Lock()
	defer n.changing.Unlock()
	h, err := n.find(op, name)
	if err != nil {
		return EventHub{}, err
	}
	row := h.EventHub
	if c.Retention != nil {
		row.Age = c.Retention.Truncate(time.Millisecond)
	}
	if c.RetentionBytes != nil {
		row.Bytes = *c.RetentionBytes
	}
	if c.Disabled != nil {
		row.Disabled = *c.Disabled
	}
	kept := row.Age == h.Age && row.Bytes == h.Bytes
	switch {
	case kept && row.Disabled == h.Disabled:
		return h.view(), nil
	case h.Declared && !kept:
		return EventHub{}, declared(op, "event hub "+h.Name)
	case !kept:
		if err := checkRetention(op, row.Age, row.Bytes); err != nil {
			return EventHub{}, err
		}
	}
	row.Updated = whole(n.server.clock.Now())
	next, err := n.replace(ctx, h, row)
	if err != nil {
		return EventHub{}, err
	}
	n.server.log.Info("eventhub: event hub changed", "namespace", n.Name(), "eventHub", row.Name, "retention", row.Age, "bytes", row.Bytes, "disabled", row.Disabled)
	return next.view(), nil
}

// replace writes down what an event hub has become, and carries it out. The caller holds changing.
func (n *Namespace) replace(ctx context.Context, h *eventHub, row eventhubstore.EventHub) (next *eventHub, err error) {
	if retentionOf(row) != retentionOf(h.EventHub) {
		if err := n.server.events.SetRetention(ctx, n.stream(row.Key), retentionOf(row)); err != nil {
			return nil, err
		}
	}
	err = n.change(ctx, func(tx *eventhubstore.Tx, s *state) error {
		next = s.edit(h)
		next.turn(row)
		return tx.PutEventHub(n.id, row)
	})
	if err != nil {
		return nil, err
	}
	if next.life != h.life {
		h.life.end()
	}
	return next, nil
}

// turn gives an event hub that nobody has seen yet another row.
func (h *eventHub) turn(row eventhubstore.EventHub) {
	switch {
	case row.Disabled:
		h.life = nil
	case h.life == nil:
		h.life = newLife()
	}
	h.EventHub = row
}

// DeleteEventHub removes an event hub with its events, policies, consumer groups and checkpoints. Whoever uses it is told. Conflict for
// one that the resource declares.
func (n *Namespace) DeleteEventHub(ctx context.Context, name string) error {
	op := "eventhub.DeleteEventHub"
	n.changing.Lock()
	defer n.changing.Unlock()
	h, err := n.find(op, name)
	if err != nil {
		return err
	}
	if h.Declared {
		return declared(op, "event hub "+h.Name)
	}
	err = n.change(ctx, func(tx *eventhubstore.Tx, next *state) error {
		delete(next.hubs, h.Key)
		return tx.DeleteEventHub(n.id, h.Key)
	})
	if err != nil {
		return err
	}
	h.life.end()
	// It is gone for everybody; that its events are still on the disk is mended when the process starts, or one of this name is made.
	if err := n.server.events.DeleteStream(context.WithoutCancel(ctx), n.stream(h.Key)); err != nil {
		n.server.log.Warn("eventhub: the events of an event hub that was deleted are still on the disk", "namespace", n.Name(), "eventHub", h.Name, "err", err)
	}
	n.server.log.Info("eventhub: event hub deleted", "namespace", n.Name(), "eventHub", h.Name)
	return nil
}
