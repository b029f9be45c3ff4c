package hubstore

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// ConsumerGroup is a name under which readers of an endpoint keep how far they have come.
type ConsumerGroup struct {
	Endpoint string
	Name     string
	Created  time.Time
}

// Cursor is how far a consumer has come in one partition of an endpoint's events.
type Cursor struct {
	Endpoint  string
	Consumer  string
	Partition int
	Next      int64  // the sequence number it wants next
	Owner     string // who wrote it, for people; may be empty
	Updated   time.Time
}

// ConsumerGroups lists the consumer groups somebody made for an endpoint, by name.
func (s *Store) ConsumerGroups(ctx context.Context, hub, endpoint string) ([]ConsumerGroup, error) {
	out := []ConsumerGroup{}
	err := s.db.Reading(ctx).Rows(func(scan func(...any) error) error {
		g := ConsumerGroup{Endpoint: endpoint}
		var created int64
		err := scan(&g.Name, &created)
		g.Created = at(created)
		out = append(out, g)
		return err
	}, "SELECT name, created FROM consumer_groups WHERE hub = ? AND endpoint = ? ORDER BY name", hub, endpoint)
	return out, err
}

// CreateConsumerGroup adds a consumer group. Conflict when the endpoint has it.
func (tx *Tx) CreateConsumerGroup(hub string, g ConsumerGroup) error {
	n, err := tx.sql.Exec("INSERT INTO consumer_groups (hub, endpoint, name, created) VALUES (?, ?, ?, ?) ON CONFLICT (hub, endpoint, name) DO NOTHING",
		hub, g.Endpoint, g.Name, ms(g.Created))
	if err == nil && n == 0 {
		return fault.Newf("hubstore.CreateConsumerGroup", fault.Conflict, "the consumer group %q exists already", g.Name)
	}
	return err
}

// DeleteConsumerGroup removes a consumer group and its cursors. NotFound when the endpoint has none of this name.
func (tx *Tx) DeleteConsumerGroup(hub, endpoint, name string) error {
	if _, err := tx.sql.Exec("DELETE FROM cursors WHERE hub = ? AND endpoint = ? AND consumer = ?", hub, endpoint, name); err != nil {
		return err
	}
	n, err := tx.sql.Exec("DELETE FROM consumer_groups WHERE hub = ? AND endpoint = ? AND name = ?", hub, endpoint, name)
	if err == nil && n == 0 {
		return fault.Newf("hubstore.DeleteConsumerGroup", fault.NotFound, "there is no consumer group %q", name)
	}
	return err
}

// Cursors returns how far a consumer has come, by partition; partitions it never came to are not there.
func (s *Store) Cursors(ctx context.Context, hub, endpoint, consumer string) ([]Cursor, error) {
	out := []Cursor{}
	err := s.db.Reading(ctx).Rows(func(scan func(...any) error) error {
		c := Cursor{Endpoint: endpoint, Consumer: consumer}
		var updated int64
		err := scan(&c.Partition, &c.Next, &c.Owner, &updated)
		c.Updated = at(updated)
		out = append(out, c)
		return err
	}, "SELECT partition, next, owner, updated FROM cursors WHERE hub = ? AND endpoint = ? AND consumer = ? ORDER BY partition", hub, endpoint, consumer)
	return out, err
}

// SetCursor writes how far a consumer has come.
func (tx *Tx) SetCursor(hub string, c Cursor) error {
	_, err := tx.sql.Exec("INSERT INTO cursors (hub, endpoint, consumer, partition, next, owner, updated) VALUES (?, ?, ?, ?, ?, ?, ?) "+
		"ON CONFLICT (hub, endpoint, consumer, partition) DO UPDATE SET next = excluded.next, owner = excluded.owner, updated = excluded.updated",
		hub, c.Endpoint, c.Consumer, c.Partition, c.Next, c.Owner, ms(c.Updated))
	return err
}
