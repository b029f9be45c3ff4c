package hub

import (
	"context"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// DefaultGroup is the consumer group every endpoint has.
const DefaultGroup = "$Default"

// maxGroups is how many consumer groups one endpoint may have beside the default one.
const maxGroups = 100

// ConsumerGroup is a name under which readers of an endpoint keep how far they have come.
type ConsumerGroup struct {
	Endpoint    string       `json:"endpoint"`
	Name        string       `json:"name"`
	Created     time.Time    `json:"created"` // zero for the default one
	Checkpoints []Checkpoint `json:"checkpoints"`
}

// Checkpoint is how far a consumer group has come in one partition.
type Checkpoint struct {
	Partition int       `json:"partition"`
	Next      int64     `json:"next"` // the sequence number it wants next
	Waiting   int64     `json:"waiting"`
	Owner     string    `json:"owner,omitempty"` // who wrote it, as it called itself
	Updated   time.Time `json:"updated"`
}

// groupName gives the default group its one spelling, and refuses what Event Hubs would (Event Hubs: naming rules, consumer groups).
func groupName(name string) (string, error) {
	if name == "" || strings.EqualFold(name, DefaultGroup) {
		return DefaultGroup, nil
	}
	bad := func(why string) error {
		return fault.Newf("hub.ConsumerGroup", fault.Invalid, "the consumer group's name %.60q %s", name, why).
			Advise("use 1 to 50 letters, digits and . _ -, with a letter or digit at both ends")
	}
	if len(name) > 50 {
		return "", bad("is longer than 50 bytes")
	}
	for i := range len(name) {
		c := name[i]
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alphanumeric && (strings.IndexByte("._-", c) < 0 || i == 0 || i == len(name)-1) {
			return "", bad("has a character where none like it may be")
		}
	}
	return name, nil
}

// ConsumerGroups lists those of an endpoint with their checkpoints, the default one first.
func (h *Hub) ConsumerGroups(ctx context.Context, endpoint string) ([]ConsumerGroup, error) {
	s, err := h.Stream(endpoint)
	if err != nil {
		return nil, err
	}
	stored, err := h.server.store.ConsumerGroups(ctx, h.id, s.Endpoint)
	if err != nil {
		return nil, err
	}
	out := []ConsumerGroup{{Endpoint: s.Endpoint, Name: DefaultGroup}}
	for _, g := range stored {
		out = append(out, ConsumerGroup{Endpoint: s.Endpoint, Name: g.Name, Created: g.Created})
	}
	for i := range out {
		if out[i].Checkpoints, err = h.checkpoints(ctx, s, out[i].Name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (h *Hub) checkpoints(ctx context.Context, s Stream, group string) ([]Checkpoint, error) {
	stored, err := h.server.store.Cursors(ctx, h.id, s.Endpoint, group)
	if err != nil {
		return nil, err
	}
	out := []Checkpoint{}
	for _, c := range stored {
		first, next := s.Bounds(c.Partition)
		out = append(out, Checkpoint{c.Partition, c.Next, max(0, next-max(first, c.Next)), c.Owner, c.Updated})
	}
	return out, nil
}

// Checkpoints returns how far a consumer group of an endpoint has come; partitions it never came to are not there. NotFound when there is
// no such group.
func (h *Hub) Checkpoints(ctx context.Context, endpoint, group string) ([]Checkpoint, error) {
	s, group, err := h.group(ctx, endpoint, group)
	if err != nil {
		return nil, err
	}
	return h.checkpoints(ctx, s, group)
}

func (h *Hub) group(ctx context.Context, endpoint, group string) (Stream, string, error) {
	s, err := h.Stream(endpoint)
	if err != nil {
		return s, "", err
	}
	if group, err = groupName(group); err != nil || group == DefaultGroup {
		return s, group, err
	}
	list, err := h.server.store.ConsumerGroups(ctx, h.id, s.Endpoint)
	if err != nil {
		return s, "", err
	}
	for _, g := range list {
		if g.Name == group {
			return s, group, nil
		}
	}
	return s, "", noGroup(s.Endpoint, group)
}

func noGroup(endpoint, group string) error {
	return code.With(fault.Newf("hub.ConsumerGroup", fault.NotFound, "endpoint %s has no consumer group %q", endpoint, group).
		Advise("make it first; %s is always there", DefaultGroup), code.NotFound)
}

// CreateConsumerGroup adds a consumer group to an endpoint. Conflict when it is there.
func (h *Hub) CreateConsumerGroup(ctx context.Context, endpoint, group string) (ConsumerGroup, error) {
	s, err := h.Stream(endpoint)
	if err != nil {
		return ConsumerGroup{}, err
	}
	if group, err = groupName(group); err != nil {
		return ConsumerGroup{}, err
	}
	if group == DefaultGroup {
		return ConsumerGroup{}, fault.Newf("hub.CreateConsumerGroup", fault.Conflict, "the consumer group %s is always there", DefaultGroup)
	}
	list, err := h.server.store.ConsumerGroups(ctx, h.id, s.Endpoint)
	if err != nil {
		return ConsumerGroup{}, err
	}
	if len(list) >= maxGroups {
		return ConsumerGroup{}, code.With(fault.Newf("hub.CreateConsumerGroup", fault.Exhausted, "endpoint %s has %d consumer groups, which is all it can", s.Endpoint, len(list)).
			Advise("delete one that nobody reads with"), code.QuotaExceeded)
	}
	g := hubstore.ConsumerGroup{Endpoint: s.Endpoint, Name: group, Created: h.server.clock.Now()}
	err = h.server.store.Write(ctx, func(tx *hubstore.Tx) error { return tx.CreateConsumerGroup(h.id, g) })
	return ConsumerGroup{s.Endpoint, g.Name, g.Created.UTC(), []Checkpoint{}}, err
}

// DeleteConsumerGroup removes a consumer group and its checkpoints. The default one cannot go.
func (h *Hub) DeleteConsumerGroup(ctx context.Context, endpoint, group string) error {
	s, group, err := h.group(ctx, endpoint, group)
	if err != nil {
		return err
	}
	if group == DefaultGroup {
		return fault.Newf("hub.DeleteConsumerGroup", fault.Invalid, "the consumer group %s cannot be deleted", DefaultGroup).Advise("set its checkpoint to where you want to begin")
	}
	return h.server.store.Write(ctx, func(tx *hubstore.Tx) error { return tx.DeleteConsumerGroup(h.id, s.Endpoint, group) })
}

// SetCheckpoints writes down how far a consumer group has come: by partition, the sequence number it wants next. It may go back. Invalid
// for a partition that is not there or a number beyond the next event. owner, which may be empty, is for people.
func (h *Hub) SetCheckpoints(ctx context.Context, endpoint, group, owner string, next map[int]int64) error {
	op := "hub.SetCheckpoints"
	s, group, err := h.group(ctx, endpoint, group)
	if err != nil {
		return err
	}
	n, err := s.Partitions(ctx)
	if err != nil {
		return err
	}
	for p, seq := range next {
		if p < 0 || p >= n {
			return fault.Newf(op, fault.Invalid, "endpoint %s has no partition %d", s.Endpoint, p).Advise("partitions are 0 to %d", n-1)
		}
		if _, end := s.Bounds(p); seq < 0 || seq > end {
			return fault.Newf(op, fault.Invalid, "partition %d of endpoint %s has no event %d yet", p, s.Endpoint, seq).Advise("a checkpoint is the sequence number wanted next, at most %d now", end)
		}
	}
	now := h.server.clock.Now()
	return h.server.store.Together(ctx, func(tx *hubstore.Tx) error {
		for p, seq := range next {
			c := hubstore.Cursor{Endpoint: s.Endpoint, Consumer: group, Partition: p, Next: seq, Owner: shorten(owner), Updated: now}
			if err := tx.SetCursor(h.id, c); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}
