package hubstore

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/database"
)

// Status says whether a device may connect.
type Status string

const (
	Enabled  Status = "enabled"
	Disabled Status = "disabled"
)

// Device is an identity in a hub's registry.
type Device struct {
	Hub                 string // uid of the hub
	ID                  string // 1 to 128 bytes, case-sensitive
	Generation          string // tells a device from a later one of the same id
	ETag                string // changes with every change a person makes
	Status              Status
	StatusReason        string
	StatusChanged       time.Time
	AuthType            string // sas, selfSigned, certificateAuthority or none
	PrimaryKey          string // base64, as it was given
	SecondaryKey        string
	PrimaryThumbprint   string // hex
	SecondaryThumbprint string
	Edge                bool
	Created             time.Time
	ConnectionChanged   time.Time // last seen to connect or to go; zero for never
	LastActivity        time.Time
}

const deviceColumns = "hub, id, generation, etag, status, status_reason, status_changed, auth_type, primary_key, secondary_key, " +
	"primary_thumbprint, secondary_thumbprint, edge, created, connection_changed, last_activity"

func scanDevice(scan func(...any) error) (Device, error) {
	var d Device
	var edge int
	var changed, created, connection, activity int64
	err := scan(&d.Hub, &d.ID, &d.Generation, &d.ETag, &d.Status, &d.StatusReason, &changed, &d.AuthType, &d.PrimaryKey, &d.SecondaryKey,
		&d.PrimaryThumbprint, &d.SecondaryThumbprint, &edge, &created, &connection, &activity)
	d.Edge, d.StatusChanged, d.Created, d.ConnectionChanged, d.LastActivity = edge != 0, at(changed), at(created), at(connection), at(activity)
	return d, err
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Tx is what a function given to Write works with.
type Tx struct{ sql *database.Session }

// Insert adds a device. Conflict when the hub has one of this id.
func (tx *Tx) Insert(d Device) error {
	edge := 0
	if d.Edge {
		edge = 1
	}
	n, err := tx.sql.Exec("INSERT INTO devices ("+deviceColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (hub, id) DO NOTHING",
		d.Hub, d.ID, d.Generation, d.ETag, string(d.Status), d.StatusReason, ms(d.StatusChanged), d.AuthType, d.PrimaryKey, d.SecondaryKey,
		d.PrimaryThumbprint, d.SecondaryThumbprint, edge, ms(d.Created), ms(d.ConnectionChanged), ms(d.LastActivity))
	if err == nil && n == 0 {
		return fault.Newf("hubstore.Insert", fault.Conflict, "device %q exists already", d.ID)
	}
	return err
}

// Replace writes everything a person may change of a device; times of connection and activity stay. NotFound when there is none.
func (tx *Tx) Replace(d Device) error {
	edge := 0
	if d.Edge {
		edge = 1
	}
	n, err := tx.sql.Exec("UPDATE devices SET etag = ?, status = ?, status_reason = ?, status_changed = ?, auth_type = ?, primary_key = ?, secondary_key = ?, "+
		"primary_thumbprint = ?, secondary_thumbprint = ?, edge = ? WHERE hub = ? AND id = ?",
		d.ETag, string(d.Status), d.StatusReason, ms(d.StatusChanged), d.AuthType, d.PrimaryKey, d.SecondaryKey, d.PrimaryThumbprint, d.SecondaryThumbprint, edge, d.Hub, d.ID)
	if err == nil && n == 0 {
		return missing(d.ID)
	}
	return err
}

// Device reads a device as the transaction sees it.
func (tx *Tx) Device(hub, id string) (Device, error) { return device(tx.sql, hub, id) }

// Delete removes a device. NotFound when there is none.
func (tx *Tx) Delete(hub, id string) error {
	n, err := tx.sql.Exec("DELETE FROM devices WHERE hub = ? AND id = ?", hub, id)
	if err == nil && n == 0 {
		return missing(id)
	}
	return err
}

// Seen records when a device last connected, went or was heard of; a time never goes back. A device that is gone is passed over.
func (tx *Tx) Seen(hub, id string, connectionChanged, lastActivity time.Time) error {
	_, err := tx.sql.Exec("UPDATE devices SET connection_changed = CASE WHEN connection_changed < ? THEN ? ELSE connection_changed END, "+
		"last_activity = CASE WHEN last_activity < ? THEN ? ELSE last_activity END WHERE hub = ? AND id = ?",
		ms(connectionChanged), ms(connectionChanged), ms(lastActivity), ms(lastActivity), hub, id)
	return err
}

func missing(id string) error {
	return fault.Newf("hubstore.Device", fault.NotFound, "the hub has no device %q", id)
}

func device(sql *database.Session, hub, id string) (d Device, err error) {
	found := false
	err = sql.Rows(func(scan func(...any) error) (err error) {
		found = true
		d, err = scanDevice(scan)
		return err
	}, "SELECT "+deviceColumns+" FROM devices WHERE hub = ? AND id = ?", hub, id)
	if err == nil && !found {
		err = missing(id)
	}
	return d, err
}

// Device reads a device. NotFound when the hub has none of this id.
func (s *Store) Device(ctx context.Context, hub, id string) (Device, error) {
	return device(s.db.Reading(ctx), hub, id)
}

// Devices lists a hub's devices by id, at most limit of them, those after an id.
func (s *Store) Devices(ctx context.Context, hub, after string, limit int) ([]Device, error) {
	out := []Device{}
	err := s.db.Reading(ctx).Rows(func(scan func(...any) error) error {
		d, err := scanDevice(scan)
		out = append(out, d)
		return err
	}, "SELECT "+deviceColumns+" FROM devices WHERE hub = ? AND id > ? ORDER BY id LIMIT ?", hub, after, limit)
	return out, err
}

// Count returns how many devices a hub has, and how many of them may not connect.
func (s *Store) Count(ctx context.Context, hub string) (total, disabled int, err error) {
	_, err = s.db.Reading(ctx).Row([]any{&total, &disabled},
		"SELECT COUNT(*), COALESCE(SUM(CASE WHEN status = 'disabled' THEN 1 ELSE 0 END), 0) FROM devices WHERE hub = ?", hub)
	return total, disabled, err
}
