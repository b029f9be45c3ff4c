package eventhubstore

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// Place names a consumer group of an event hub; all three in lower case.
type Place struct{ Namespace, Hub, Group string }

// Forget removes the checkpoints and ownerships of a consumer group; of all of an event hub's when Group is empty.
func (tx *Tx) Forget(p Place) error {
	for _, table := range []string{"eh_ownerships", "eh_checkpoints"} {
		where, args := " WHERE namespace = ? AND hub = ?", []any{p.Namespace, p.Hub}
		if p.Group != "" {
			where, args = where+" AND grp = ?", append(args, p.Group)
		}
		if _, err := tx.sql.Exec("DELETE FROM "+table+where, args...); err != nil {
			return err
		}
	}
	return nil
}

// Checkpoint is how far a consumer group has come in one partition: the last event somebody has done with.
type Checkpoint struct {
	Partition int
	Offset    string // as SDKs write it; empty for none
	Sequence  int64  // -1 when there is none: before the first event
	Owner     string // who wrote it, for people; may be empty
	ETag      string
	Updated   time.Time
}

// Ownership says which processor reads a partition for a consumer group.
type Ownership struct {
	Partition int
	Owner     string // empty when it was given back
	ETag      string
	Modified  time.Time
}

// Checkpoints returns a consumer group's, by partition; partitions without one are not there.
func (s *Store) Checkpoints(ctx context.Context, p Place) ([]Checkpoint, error) {
	out := []Checkpoint{}
	err := s.db.Reading(ctx).Rows(func(scan func(...any) error) error {
		var c Checkpoint
		var updated int64
		err := scan(&c.Partition, &c.Offset, &c.Sequence, &c.Owner, &c.ETag, &updated)
		c.Updated = at(updated)
		out = append(out, c)
		return err
	}, "SELECT partition, position, sequence, owner, etag, updated FROM eh_checkpoints WHERE namespace = ? AND hub = ? AND grp = ? ORDER BY partition", p.Namespace, p.Hub, p.Group)
	return out, err
}

// SetCheckpoint writes one. With ifMatch only over the one that has this etag: Precondition otherwise.
func (tx *Tx) SetCheckpoint(p Place, c Checkpoint, ifMatch string) error {
	if ifMatch != "" {
		n, err := tx.sql.Exec("UPDATE eh_checkpoints SET position = ?, sequence = ?, owner = ?, etag = ?, updated = ? WHERE namespace = ? AND hub = ? AND grp = ? AND partition = ? AND etag = ?",
			c.Offset, c.Sequence, c.Owner, c.ETag, ms(c.Updated), p.Namespace, p.Hub, p.Group, c.Partition, ifMatch)
		if err == nil && n == 0 {
			err = fault.Newf("eventhubstore.SetCheckpoint", fault.Precondition, "the checkpoint of partition %d was changed meanwhile", c.Partition)
		}
		return err
	}
	_, err := tx.sql.Exec("INSERT INTO eh_checkpoints (namespace, hub, grp, partition, position, sequence, owner, etag, updated) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "+
		"ON CONFLICT (namespace, hub, grp, partition) DO UPDATE SET position = excluded.position, sequence = excluded.sequence, owner = excluded.owner, etag = excluded.etag, updated = excluded.updated",
		p.Namespace, p.Hub, p.Group, c.Partition, c.Offset, c.Sequence, c.Owner, c.ETag, ms(c.Updated))
	return err
}

// Ownerships returns a consumer group's, by partition; partitions that nobody ever claimed are not there.
func (s *Store) Ownerships(ctx context.Context, p Place) ([]Ownership, error) {
	out := []Ownership{}
	err := s.db.Reading(ctx).Rows(func(scan func(...any) error) error {
		var o Ownership
		var modified int64
		err := scan(&o.Partition, &o.Owner, &o.ETag, &modified)
		o.Modified = at(modified)
		out = append(out, o)
		return err
	}, "SELECT partition, owner, etag, modified FROM eh_ownerships WHERE namespace = ? AND hub = ? AND grp = ? ORDER BY partition", p.Namespace, p.Hub, p.Group)
	return out, err
}

// Claim writes who owns a partition: over the record that has the etag ifMatch, or, when that is empty, where there is no record yet.
// Precondition when somebody was quicker.
func (tx *Tx) Claim(p Place, o Ownership, ifMatch string) (err error) {
	var n int64
	if ifMatch == "" {
		n, err = tx.sql.Exec("INSERT INTO eh_ownerships (namespace, hub, grp, partition, owner, etag, modified) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (namespace, hub, grp, partition) DO NOTHING",
			p.Namespace, p.Hub, p.Group, o.Partition, o.Owner, o.ETag, ms(o.Modified))
	} else {
		n, err = tx.sql.Exec("UPDATE eh_ownerships SET owner = ?, etag = ?, modified = ? WHERE namespace = ? AND hub = ? AND grp = ? AND partition = ? AND etag = ?",
			o.Owner, o.ETag, ms(o.Modified), p.Namespace, p.Hub, p.Group, o.Partition, ifMatch)
	}
	if err == nil && n == 0 {
		err = fault.Newf("eventhubstore.Claim", fault.Precondition, "somebody else has claimed partition %d meanwhile", o.Partition).
			Advise("list the ownerships again and decide anew")
	}
	return err
}
