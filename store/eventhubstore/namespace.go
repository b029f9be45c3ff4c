package eventhubstore

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/database"
)

// Namespace is all of a namespace that is held in memory while it is served.
type Namespace struct {
	ID       string // uid of the service
	Created  time.Time
	Hubs     []EventHub // by key
	Policies []Policy   // by hub and key
	Groups   []Group    // by hub and key, without $Default
}

// EventHub is one event hub of a namespace.
type EventHub struct {
	Key        string // name in lower case
	Name       string
	Partitions int
	Age        time.Duration // how long events are kept, whole milliseconds; 0: for ever
	Bytes      int64         // how much of them in one partition; 0: any
	Disabled   bool
	Declared   bool // by the namespace's resource
	Created    time.Time
	Updated    time.Time
}

// Policy is a named pair of keys with what their holder may do.
type Policy struct {
	Hub          string // key of the event hub; empty for one of the namespace
	Key          string // name in lower case
	Name         string
	Rights       uint32 // bits, see eventhub.Right
	PrimaryKey   string // base64
	SecondaryKey string
	Declared     bool
}

// Group is a consumer group.
type Group struct {
	Hub      string // key of the event hub
	Key      string // name in lower case
	Name     string
	Declared bool
	Created  time.Time
}

// Ensure returns the namespace of this id, which it makes with the values given when there is none, and with it those of its policies
// which it does not have yet. The wanted event hubs and groups are not looked at.
func (s *Store) Ensure(ctx context.Context, wanted Namespace) (Namespace, error) {
	got := Namespace{ID: wanted.ID}
	err := s.db.Write(ctx, func(sql *database.Session) error {
		if _, err := sql.Exec("INSERT INTO eh_namespaces (id, created) VALUES (?, ?) ON CONFLICT (id) DO NOTHING", wanted.ID, ms(wanted.Created)); err != nil {
			return err
		}
		var created int64
		if _, err := sql.Row([]any{&created}, "SELECT created FROM eh_namespaces WHERE id = ?", wanted.ID); err != nil {
			return err
		}
		got.Created = at(created)
		for _, p := range wanted.Policies {
			if _, err := sql.Exec("INSERT INTO eh_policies ("+policyColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (namespace, hub, policy) DO NOTHING", p.row(wanted.ID)...); err != nil {
				return err
			}
		}
		return got.load(sql)
	})
	return got, err
}

func (n *Namespace) load(sql *database.Session) error {
	err := sql.Rows(func(scan func(...any) error) error {
		var h EventHub
		var age, created, updated int64
		var disabled, declared int
		err := scan(&h.Key, &h.Name, &h.Partitions, &age, &h.Bytes, &disabled, &declared, &created, &updated)
		h.Age, h.Disabled, h.Declared = time.Duration(age)*time.Millisecond, disabled != 0, declared != 0
		h.Created, h.Updated = at(created), at(updated)
		n.Hubs = append(n.Hubs, h)
		return err
	}, "SELECT hub, name, partitions, age, bytes, disabled, declared, created, updated FROM eh_hubs WHERE namespace = ? ORDER BY hub", n.ID)
	if err != nil {
		return err
	}
	err = sql.Rows(func(scan func(...any) error) error {
		var p Policy
		var rights int64
		var declared int
		err := scan(&p.Hub, &p.Key, &p.Name, &rights, &p.PrimaryKey, &p.SecondaryKey, &declared)
		p.Rights, p.Declared = uint32(rights), declared != 0
		n.Policies = append(n.Policies, p)
		return err
	}, "SELECT hub, policy, name, rights, primary_key, secondary_key, declared FROM eh_policies WHERE namespace = ? ORDER BY hub, policy", n.ID)
	if err != nil {
		return err
	}
	return sql.Rows(func(scan func(...any) error) error {
		var g Group
		var declared int
		var created int64
		err := scan(&g.Hub, &g.Key, &g.Name, &declared, &created)
		g.Declared, g.Created = declared != 0, at(created)
		n.Groups = append(n.Groups, g)
		return err
	}, "SELECT hub, grp, name, declared, created FROM eh_groups WHERE namespace = ? ORDER BY hub, grp", n.ID)
}

// PutEventHub adds an event hub or replaces what is known of it; its number of partitions and when it was made stay.
func (tx *Tx) PutEventHub(namespace string, h EventHub) error {
	_, err := tx.sql.Exec("INSERT INTO eh_hubs (namespace, hub, name, partitions, age, bytes, disabled, declared, created, updated) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "+
		"ON CONFLICT (namespace, hub) DO UPDATE SET name = excluded.name, age = excluded.age, bytes = excluded.bytes, disabled = excluded.disabled, declared = excluded.declared, updated = excluded.updated",
		namespace, h.Key, h.Name, h.Partitions, h.Age.Milliseconds(), h.Bytes, bit(h.Disabled), bit(h.Declared), ms(h.Created), ms(h.Updated))
	return err
}

// DeleteEventHub removes an event hub with its policies, groups, checkpoints and ownerships. NotFound when there is none.
func (tx *Tx) DeleteEventHub(namespace, key string) error {
	if err := tx.Forget(Place{namespace, key, ""}); err != nil {
		return err
	}
	for _, table := range []string{"eh_groups", "eh_policies"} {
		if _, err := tx.sql.Exec("DELETE FROM "+table+" WHERE namespace = ? AND hub = ?", namespace, key); err != nil {
			return err
		}
	}
	return tx.removed("DeleteEventHub", "event hub", key, "DELETE FROM eh_hubs WHERE namespace = ? AND hub = ?", namespace, key)
}

// removed carries out a DELETE of one row.
func (tx *Tx) removed(op, noun, name, statement string, args ...any) error {
	n, err := tx.sql.Exec(statement, args...)
	if err == nil && n == 0 {
		err = fault.Newf("eventhubstore."+op, fault.NotFound, "there is no %s %q", noun, name)
	}
	return err
}

const policyColumns = "namespace, hub, policy, name, rights, primary_key, secondary_key, declared"

func (p Policy) row(namespace string) []any {
	return []any{namespace, p.Hub, p.Key, p.Name, int64(p.Rights), p.PrimaryKey, p.SecondaryKey, bit(p.Declared)}
}

// PutPolicy adds a policy or replaces it.
func (tx *Tx) PutPolicy(namespace string, p Policy) error {
	_, err := tx.sql.Exec("INSERT INTO eh_policies ("+policyColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?) "+
		"ON CONFLICT (namespace, hub, policy) DO UPDATE SET name = excluded.name, rights = excluded.rights, primary_key = excluded.primary_key, secondary_key = excluded.secondary_key, declared = excluded.declared",
		p.row(namespace)...)
	return err
}

// DeletePolicy removes a policy. NotFound when there is none.
func (tx *Tx) DeletePolicy(namespace, hub, key string) error {
	return tx.removed("DeletePolicy", "policy", key, "DELETE FROM eh_policies WHERE namespace = ? AND hub = ? AND policy = ?", namespace, hub, key)
}

// PutGroup adds a consumer group or replaces what is known of it; when it was made stays.
func (tx *Tx) PutGroup(namespace string, g Group) error {
	_, err := tx.sql.Exec("INSERT INTO eh_groups (namespace, hub, grp, name, declared, created) VALUES (?, ?, ?, ?, ?, ?) "+
		"ON CONFLICT (namespace, hub, grp) DO UPDATE SET name = excluded.name, declared = excluded.declared", namespace, g.Hub, g.Key, g.Name, bit(g.Declared), ms(g.Created))
	return err
}

// DeleteGroup removes a consumer group with its checkpoints and ownerships. NotFound when there is none.
func (tx *Tx) DeleteGroup(namespace, hub, key string) error {
	if err := tx.Forget(Place{namespace, hub, key}); err != nil {
		return err
	}
	return tx.removed("DeleteGroup", "consumer group", key, "DELETE FROM eh_groups WHERE namespace = ? AND hub = ? AND grp = ?", namespace, hub, key)
}
