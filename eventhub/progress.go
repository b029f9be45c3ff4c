package eventhub

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/eventhubstore"
)

// maxOwner bounds the names processors have for themselves, and the offsets they write.
const maxOwner = 256

// Checkpoint is how far a consumer group has come in one partition.
type Checkpoint struct {
	Partition int
	Sequence  int64  // of the last event somebody has done with; -1: none yet
	Offset    string // of that event, as clients are told it
	Waiting   int64  // events after it
	Owner     string // who wrote it, as it called itself
	ETag      string
	Updated   time.Time
}

// Ownership says which processor reads a partition for a consumer group, for processors that share the work.
type Ownership struct {
	Partition int
	Owner     string // as the processor calls itself; empty when it gave the partition back
	ETag      string
	Modified  time.Time
}

// place finds a consumer group, and returns the event hub with how the group is kept.
func (n *Namespace) place(op, eventHub, group string) (*eventHub, eventhubstore.Place, error) {
	h, err := n.find(op, eventHub)
	if err != nil {
		return nil, eventhubstore.Place{}, err
	}
	name, err := h.group(op, group)
	return h, eventhubstore.Place{Namespace: n.id, Hub: h.Key, Group: strings.ToLower(name)}, err
}

func (h *eventHub) checkPartition(op string, partition int) error {
	if partition < 0 || partition >= h.Partitions {
		return fault.Newf(op, fault.NotFound, "the event hub %s has no partition %d", h.Name, partition).Advise("partitions are 0 to %d", h.Partitions-1)
	}
	return nil
}

// Checkpoints returns how far a consumer group has come, by partition; partitions without a checkpoint are not there.
func (n *Namespace) Checkpoints(ctx context.Context, eventHub, group string) ([]Checkpoint, error) {
	h, p, err := n.place("eventhub.Checkpoints", eventHub, group)
	if err != nil {
		return nil, err
	}
	rows, err := n.server.store.Checkpoints(ctx, p)
	if err != nil {
		return nil, err
	}
	out := make([]Checkpoint, len(rows))
	for i, c := range rows {
		out[i] = n.checkpoint(h, c)
	}
	return out, nil
}

func (n *Namespace) checkpoint(h *eventHub, c eventhubstore.Checkpoint) Checkpoint {
	first, next := n.server.events.Bounds(n.stream(h.Key), c.Partition)
	return Checkpoint{c.Partition, c.Sequence, c.Offset, max(0, next-max(first, c.Sequence+1)), c.Owner, c.ETag, c.Updated}
}

// SetCheckpoint writes down how far a consumer group has come in a partition. It may go back. Without an Offset it is found by the
// sequence number. With ifMatch, an etag, only over the checkpoint that has it: Precondition otherwise. Invalid for an event that is not
// there yet.
func (n *Namespace) SetCheckpoint(ctx context.Context, eventHub, group string, c Checkpoint, ifMatch string) (Checkpoint, error) {
	op := "eventhub.SetCheckpoint"
	h, p, err := n.place(op, eventHub, group)
	if err == nil {
		err = h.checkPartition(op, c.Partition)
	}
	if err != nil {
		return Checkpoint{}, err
	}
	stream := n.stream(h.Key)
	if _, next := n.server.events.Bounds(stream, c.Partition); c.Sequence < -1 || c.Sequence >= next {
		return Checkpoint{}, fault.Newf(op, fault.Invalid, "partition %d of event hub %s has no event %d", c.Partition, h.Name, c.Sequence).
			Advise("a checkpoint is the sequence number of the last event that was done with, at most %d now, or -1 for none", next-1)
	}
	if len(c.Offset) > maxOwner || len(c.Owner) > maxOwner {
		return Checkpoint{}, fault.Newf(op, fault.Invalid, "the owner's name or the offset has more than %d bytes", maxOwner)
	}
	if c.Offset == "" {
		if c.Offset, err = n.offset(ctx, stream, c.Partition, c.Sequence); err != nil {
			return Checkpoint{}, err
		}
	}
	row := eventhubstore.Checkpoint{Partition: c.Partition, Sequence: c.Sequence, Offset: c.Offset, Owner: c.Owner, ETag: newETag(), Updated: whole(n.server.clock.Now())}
	if err := n.server.store.Together(ctx, func(tx *eventhubstore.Tx) error { return tx.SetCheckpoint(p, row, ifMatch) }); err != nil {
		return Checkpoint{}, err
	}
	return n.checkpoint(h, row), nil
}

// offset returns one that has every event up to a sequence number before or at it, and those that come after it beyond.
func (n *Namespace) offset(ctx context.Context, stream string, partition int, sequence int64) (string, error) {
	offset := int64(-1)
	err := n.server.events.Scan(ctx, stream, partition, max(0, sequence), 1, func(v *eventlog.View) bool {
		offset = v.Offset
		if v.Sequence > sequence { // it was trimmed, or there is none before
			offset--
		}
		return false
	})
	if err != nil {
		return "", err
	}
	if offset < 0 && sequence >= 0 { // everything up to the end was trimmed
		i, err := n.server.events.Info(stream, partition)
		if err != nil {
			return "", err
		}
		offset = i.LastOffset
	}
	return strconv.FormatInt(max(offset, -1), 10), nil
}

// Ownerships returns which processors read the partitions for a consumer group; partitions that nobody ever claimed are not there.
func (n *Namespace) Ownerships(ctx context.Context, eventHub, group string) ([]Ownership, error) {
	_, p, err := n.place("eventhub.Ownerships", eventHub, group)
	if err != nil {
		return nil, err
	}
	rows, err := n.server.store.Ownerships(ctx, p)
	if err != nil {
		return nil, err
	}
	out := make([]Ownership, len(rows))
	for i, o := range rows {
		out[i] = Ownership(o)
	}
	return out, nil
}

// ClaimOwnership makes a processor the owner of a partition: over the record that has the etag ifMatch, or, when that is empty, where
// there is no record yet. An empty owner gives the partition back. Precondition when somebody was quicker.
func (n *Namespace) ClaimOwnership(ctx context.Context, eventHub, group string, partition int, owner, ifMatch string) (Ownership, error) {
	op := "eventhub.ClaimOwnership"
	h, p, err := n.place(op, eventHub, group)
	if err == nil {
		err = h.checkPartition(op, partition)
	}
	if err == nil && len(owner) > maxOwner {
		err = fault.Newf(op, fault.Invalid, "the owner's name has more than %d bytes", maxOwner)
	}
	if err != nil {
		return Ownership{}, err
	}
	row := eventhubstore.Ownership{Partition: partition, Owner: owner, ETag: newETag(), Modified: whole(n.server.clock.Now())}
	err = n.server.store.Together(ctx, func(tx *eventhubstore.Tx) error { return tx.Claim(p, row, ifMatch) })
	return Ownership(row), err
}

func newETag() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
