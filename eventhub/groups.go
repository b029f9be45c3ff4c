package eventhub

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/eventhubstore"
)

// Group is a name under which readers of an event hub keep how far they have come.
type Group struct {
	Name     string
	Declared bool      // by the resource; $Default is neither declared nor made
	Created  time.Time // of $Default, that of the event hub
}

// Groups lists the consumer groups of an event hub, $Default first.
func (n *Namespace) Groups(eventHub string) ([]Group, error) {
	h, err := n.find("eventhub.Groups", eventHub)
	if err != nil {
		return nil, err
	}
	out := []Group{}
	for _, g := range h.groups {
		out = append(out, Group{g.Name, g.Declared, g.Created})
	}
	slices.SortFunc(out, func(a, b Group) int { return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	return append([]Group{{Name: DefaultGroup, Created: h.Created}}, out...), nil
}

// CreateGroup adds a consumer group to an event hub. Conflict when it is there.
func (n *Namespace) CreateGroup(ctx context.Context, eventHub, name string) (Group, error) {
	op := "eventhub.CreateGroup"
	key, err := groupKey(op, name)
	if err != nil {
		return Group{}, err
	}
	n.changing.Lock()
	defer n.changing.Unlock()
	g := eventhubstore.Group{Key: key, Name: name, Created: whole(n.server.clock.Now())}
	err = n.change(ctx, func(tx *eventhubstore.Tx, next *state) error {
		h := next.hubs[strings.ToLower(eventHub)]
		if h == nil {
			return noEntity(op, eventHub)
		}
		if had, err := h.group(op, name); err == nil {
			return fault.Newf(op, fault.Conflict, "the event hub %s has a consumer group %s already", h.Name, had)
		}
		if len(h.groups) >= MaxGroups {
			return fault.Newf(op, fault.Exhausted, "the event hub %s has %d consumer groups, which is all it can", h.Name, len(h.groups)).Advise("delete one that nobody reads with")
		}
		g.Hub = h.Key
		if err := tx.Forget(eventhubstore.Place{Namespace: n.id, Hub: h.Key, Group: key}); err != nil { // of one that a processor outlived
			return err
		}
		return next.putGroup(tx, n.id, g)
	})
	return Group{Name: g.Name, Created: g.Created}, err
}

// DeleteGroup removes a consumer group with its checkpoints and ownerships. Conflict for $Default and for one that the resource declares.
func (n *Namespace) DeleteGroup(ctx context.Context, eventHub, name string) error {
	op := "eventhub.DeleteGroup"
	n.changing.Lock()
	defer n.changing.Unlock()
	return n.change(ctx, func(tx *eventhubstore.Tx, next *state) error {
		h := next.hubs[strings.ToLower(eventHub)]
		if h == nil {
			return noEntity(op, eventHub)
		}
		if strings.EqualFold(name, DefaultGroup) {
			return fault.Newf(op, fault.Conflict, "the consumer group %s cannot be deleted", DefaultGroup).Advise("set its checkpoints to where you want to begin")
		}
		if _, err := h.group(op, name); err != nil {
			return err
		}
		g := h.groups[strings.ToLower(name)]
		if g.Declared {
			return declared(op, "consumer group "+g.Name)
		}
		delete(next.edit(h).groups, g.Key)
		return tx.DeleteGroup(n.id, h.Key, g.Key)
	})
}
