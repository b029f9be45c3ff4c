package hubstore

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/database"
)

// Configuration is what many identities shall have in their desired properties.
type Configuration struct {
	Hub      string
	ID       string
	ETag     string
	Labels   string // JSON
	Content  string // JSON
	Target   string // condition
	Priority int64
	Metrics  string // JSON: name to query
	Results  string // JSON: the last counts of system metrics and of the others
	Created  time.Time
	Updated  time.Time
}

const configurationColumns = "id, etag, labels, content, target, priority, metrics, results, created, updated"

// InsertConfiguration adds a configuration. Conflict when the hub has one of this id.
func (tx *Tx) InsertConfiguration(c Configuration) error {
	n, err := tx.sql.Exec("INSERT INTO configurations (hub, "+configurationColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (hub, id) DO NOTHING",
		c.Hub, c.ID, c.ETag, c.Labels, c.Content, c.Target, c.Priority, c.Metrics, c.Results, ms(c.Created), ms(c.Updated))
	if err == nil && n == 0 {
		return fault.Newf("hubstore.InsertConfiguration", fault.Conflict, "configuration %q exists already", c.ID)
	}
	return err
}

// SetConfiguration writes what may change of a configuration; its content stays. NotFound when there is none.
func (tx *Tx) SetConfiguration(c Configuration) error {
	n, err := tx.sql.Exec("UPDATE configurations SET etag = ?, labels = ?, target = ?, priority = ?, metrics = ?, updated = ? WHERE hub = ? AND id = ?",
		c.ETag, c.Labels, c.Target, c.Priority, c.Metrics, ms(c.Updated), c.Hub, c.ID)
	if err == nil && n == 0 {
		return missingConfiguration(c.ID)
	}
	return err
}

// SetConfigurationResults writes the last counts. A configuration that is gone is passed over.
func (tx *Tx) SetConfigurationResults(hub, id, results string) error {
	_, err := tx.sql.Exec("UPDATE configurations SET results = ? WHERE hub = ? AND id = ?", results, hub, id)
	return err
}

// DeleteConfiguration removes a configuration; who had it keeps what it wrote.
func (tx *Tx) DeleteConfiguration(hub, id string) error {
	n, err := tx.sql.Exec("DELETE FROM configurations WHERE hub = ? AND id = ?", hub, id)
	if err == nil && n == 0 {
		return missingConfiguration(id)
	}
	if err == nil {
		_, err = tx.sql.Exec("DELETE FROM configuration_targets WHERE hub = ? AND configuration = ?", hub, id)
	}
	return err
}

// Configuration reads a configuration as the transaction sees it. NotFound when there is none.
func (tx *Tx) Configuration(hub, id string) (Configuration, error) {
	return readConfiguration(tx.sql, hub, id)
}

func missingConfiguration(id string) error {
	return fault.Newf("hubstore.Configuration", fault.NotFound, "the hub has no configuration %q", id)
}

func readConfiguration(sql *database.Session, hub, id string) (Configuration, error) {
	list, err := configurations(sql, hub, "id = ?", id)
	if err == nil && len(list) == 0 {
		return Configuration{}, missingConfiguration(id)
	}
	if err != nil {
		return Configuration{}, err
	}
	return list[0], nil
}

func configurations(sql *database.Session, hub, where string, args ...any) ([]Configuration, error) {
	var out []Configuration
	err := sql.Rows(func(scan func(...any) error) error {
		c := Configuration{Hub: hub}
		var created, updated int64
		err := scan(&c.ID, &c.ETag, &c.Labels, &c.Content, &c.Target, &c.Priority, &c.Metrics, &c.Results, &created, &updated)
		c.Created, c.Updated = at(created), at(updated)
		out = append(out, c)
		return err
	}, "SELECT "+configurationColumns+" FROM configurations WHERE hub = ? AND "+where, append([]any{hub}, args...)...)
	return out, err
}

// Configuration reads a configuration. NotFound when there is none.
func (s *Store) Configuration(ctx context.Context, hub, id string) (Configuration, error) {
	return readConfiguration(s.db.Reading(ctx), hub, id)
}

// Configurations lists a hub's configurations by id, at most limit of them, those after an id.
func (s *Store) Configurations(ctx context.Context, hub, after string, limit int) ([]Configuration, error) {
	return configurations(s.db.Reading(ctx), hub, "id > ? ORDER BY id LIMIT ?", after, limit)
}

// Target is that a configuration is for an identity.
type Target struct {
	Configuration string
	Name
	Applied string // what was written into the twin because of it, as a hash; '' while nothing was
}

// SetTarget notes that a configuration is for an identity, and what was applied. One that is gone is passed over.
func (tx *Tx) SetTarget(hub string, t Target) error {
	status := "Targeted"
	if t.Applied != "" {
		status = "Applied"
	}
	_, err := tx.sql.Exec("INSERT INTO configuration_targets (hub, configuration, device, module, status, applied_etag) "+
		"SELECT hub, ?, device, module, ?, ? FROM identities WHERE hub = ? AND device = ? AND module = ? "+
		"ON CONFLICT (hub, configuration, device, module) DO UPDATE SET status = excluded.status, applied_etag = excluded.applied_etag",
		t.Configuration, status, t.Applied, hub, t.Device, t.Module)
	return err
}

// DeleteTarget notes that a configuration is not for an identity any more.
func (tx *Tx) DeleteTarget(hub string, t Target) error {
	_, err := tx.sql.Exec("DELETE FROM configuration_targets WHERE hub = ? AND configuration = ? AND device = ? AND module = ?", hub, t.Configuration, t.Device, t.Module)
	return err
}

// Targets calls each for every target of a hub.
func (s *Store) Targets(ctx context.Context, hub string, each func(Target)) error {
	return s.db.Reading(ctx).Rows(func(scan func(...any) error) error {
		var t Target
		err := scan(&t.Configuration, &t.Device, &t.Module, &t.Applied)
		each(t)
		return err
	}, "SELECT configuration, device, module, applied_etag FROM configuration_targets WHERE hub = ?", hub)
}

// CountApplied counts by configuration the identities that have it applied.
func (s *Store) CountApplied(ctx context.Context, hub string) (map[string]int, error) {
	out := map[string]int{}
	err := s.db.Reading(ctx).Rows(func(scan func(...any) error) error {
		var id string
		var n int
		err := scan(&id, &n)
		out[id] = n
		return err
	}, "SELECT configuration, COUNT(*) FROM configuration_targets WHERE hub = ? AND status = 'Applied' GROUP BY configuration", hub)
	return out, err
}
