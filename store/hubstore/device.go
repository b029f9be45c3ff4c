package hubstore

import (
	"context"
	"fmt"
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

// Device is an identity in a hub's registry: a device, or one of its modules when Module is not empty.
type Device struct {
	Hub                 string // uid of the hub
	ID                  string // of the device; 1 to 128 bytes, case-sensitive
	Module              string // of the module; empty for the device itself
	Generation          string // tells an identity from a later one of the same name
	ETag                string // changes with every change a person makes
	Status              Status // of a device; its modules may connect when it may
	StatusReason        string
	StatusChanged       time.Time
	AuthType            string // sas, selfSigned, certificateAuthority or none
	PrimaryKey          string // base64, as it was given
	SecondaryKey        string
	PrimaryThumbprint   string // hex
	SecondaryThumbprint string
	Edge                bool
	Scope               string // ms-azure-iot-edge://..: an edge device's own, or that of the edge device it is behind
	ParentScopes        string // of an edge device: JSON, the scopes above it; may be empty
	ManagedBy           string // of a module; may be empty
	Created             time.Time
	Connected           bool      // as far as it was written down
	ConnectionChanged   time.Time // last seen to connect or to go; zero for never
	LastActivity        time.Time
}

// Name returns which identity it is.
func (d Device) Name() Name { return Name{d.ID, d.Module} }

const deviceColumns = "hub, device, module, generation, etag, status, status_reason, status_changed, auth_type, primary_key, secondary_key, " +
	"primary_thumbprint, secondary_thumbprint, edge, scope, parent_scopes, managed_by, created, connected, connection_changed, last_activity"

func scanDevice(scan func(...any) error) (Device, error) {
	var d Device
	var edge, connected int
	var changed, created, connection, activity int64
	err := scan(&d.Hub, &d.ID, &d.Module, &d.Generation, &d.ETag, &d.Status, &d.StatusReason, &changed, &d.AuthType, &d.PrimaryKey, &d.SecondaryKey,
		&d.PrimaryThumbprint, &d.SecondaryThumbprint, &edge, &d.Scope, &d.ParentScopes, &d.ManagedBy, &created, &connected, &connection, &activity)
	d.Edge, d.Connected = edge != 0, connected != 0
	d.StatusChanged, d.Created, d.ConnectionChanged, d.LastActivity = at(changed), at(created), at(connection), at(activity)
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
type Tx struct {
	sql     *database.Session
	indexes *indexes
}

// Insert adds an identity with an empty twin. Conflict when the hub has one of this name, NotFound for a module of a device it has not.
func (tx *Tx) Insert(d Device) error {
	if d.Module != "" {
		if _, err := tx.Device(d.Hub, Name{Device: d.ID}); err != nil {
			return err
		}
	}
	n, err := tx.sql.Exec("INSERT INTO identities ("+deviceColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (hub, device, module) DO NOTHING",
		d.Hub, d.ID, d.Module, d.Generation, d.ETag, string(d.Status), d.StatusReason, ms(d.StatusChanged), d.AuthType, d.PrimaryKey, d.SecondaryKey,
		d.PrimaryThumbprint, d.SecondaryThumbprint, bit(d.Edge), d.Scope, d.ParentScopes, d.ManagedBy, ms(d.Created), bit(d.Connected), ms(d.ConnectionChanged), ms(d.LastActivity))
	if err != nil {
		return err
	}
	if n == 0 {
		return fault.Newf("hubstore.Insert", fault.Conflict, "%s exists already", d.Name().Words())
	}
	_, err = tx.sql.Exec("INSERT INTO twins (hub, device, module, version, model, tags, desired, desired_version, desired_meta, reported, reported_version, reported_meta, changed) "+
		"VALUES (?, ?, ?, 2, '', '{}', '{}', 1, '{}', '{}', 1, '{}', ?)", d.Hub, d.ID, d.Module, ms(d.Created))
	return err
}

// Replace writes everything a person may change of an identity; times of connection and activity stay. NotFound when there is none.
func (tx *Tx) Replace(d Device) error {
	n, err := tx.sql.Exec("UPDATE identities SET etag = ?, status = ?, status_reason = ?, status_changed = ?, auth_type = ?, primary_key = ?, secondary_key = ?, "+
		"primary_thumbprint = ?, secondary_thumbprint = ?, edge = ?, scope = ?, parent_scopes = ?, managed_by = ? WHERE hub = ? AND device = ? AND module = ?",
		d.ETag, string(d.Status), d.StatusReason, ms(d.StatusChanged), d.AuthType, d.PrimaryKey, d.SecondaryKey, d.PrimaryThumbprint, d.SecondaryThumbprint,
		bit(d.Edge), d.Scope, d.ParentScopes, d.ManagedBy, d.Hub, d.ID, d.Module)
	if err == nil && n == 0 {
		return missing(d.Name())
	}
	return err
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Device reads an identity as the transaction sees it.
func (tx *Tx) Device(hub string, n Name) (Device, error) { return device(tx.sql, hub, n) }

// Delete removes an identity, a device with its modules, and all that is kept for them. NotFound when there is none.
func (tx *Tx) Delete(hub string, n Name) error {
	gone, err := tx.sql.Exec("DELETE FROM identities WHERE hub = ? AND device = ? AND module = ?", hub, n.Device, n.Module)
	if err == nil && gone == 0 {
		return missing(n)
	}
	if err == nil && !n.IsModule() {
		if _, err = tx.sql.Exec("DELETE FROM identities WHERE hub = ? AND device = ?", hub, n.Device); err == nil {
			err = tx.DeleteUploadsOf(hub, n.Device) // or a URL that was given to it would be good for the next of its name
		}
	}
	return err
}

// Seen is what is to be written down of an identity's comings and goings.
type Seen struct {
	Connected  bool
	Connection time.Time // when that changed last
	Activity   time.Time
}

// Seen records what was seen of an identity; a time never goes back. One that is gone is passed over.
func (tx *Tx) Seen(hub string, n Name, s Seen) error {
	_, err := tx.sql.Exec("UPDATE identities SET connected = ?, connection_changed = CASE WHEN connection_changed < ? THEN ? ELSE connection_changed END, "+
		"last_activity = CASE WHEN last_activity < ? THEN ? ELSE last_activity END WHERE hub = ? AND device = ? AND module = ?",
		bit(s.Connected), ms(s.Connection), ms(s.Connection), ms(s.Activity), ms(s.Activity), hub, n.Device, n.Module)
	return err
}

// NobodyConnected forgets who was connected when the process before this one ended.
func (tx *Tx) NobodyConnected(hub string) error {
	_, err := tx.sql.Exec("UPDATE identities SET connected = 0 WHERE hub = ? AND connected = 1", hub)
	return err
}

// Words names the identity for people.
func (n Name) Words() string {
	if n.IsModule() {
		return fmt.Sprintf("module %q of device %q", n.Module, n.Device)
	}
	return fmt.Sprintf("device %q", n.Device)
}

func missing(n Name) error {
	return fault.Newf("hubstore.Device", fault.NotFound, "the hub has no %s", n.Words())
}

func device(sql *database.Session, hub string, n Name) (d Device, err error) {
	found := false
	err = sql.Rows(func(scan func(...any) error) (err error) {
		found = true
		d, err = scanDevice(scan)
		return err
	}, "SELECT "+deviceColumns+" FROM identities WHERE hub = ? AND device = ? AND module = ?", hub, n.Device, n.Module)
	if err == nil && !found {
		err = missing(n)
	}
	return d, err
}

// Device reads an identity. NotFound when the hub has none of this name.
func (s *Store) Device(ctx context.Context, hub string, n Name) (Device, error) {
	return device(s.db.Reading(ctx), hub, n)
}

// Devices lists a hub's devices by id, at most limit of them, those after an id.
func (s *Store) Devices(ctx context.Context, hub, after string, limit int) ([]Device, error) {
	return devices(s.db.Reading(ctx), "hub = ? AND device > ? AND module = '' ORDER BY device LIMIT ?", hub, after, limit)
}

// Modules lists a device's modules by id.
func (s *Store) Modules(ctx context.Context, hub, id string) ([]Device, error) {
	return devices(s.db.Reading(ctx), "hub = ? AND device = ? AND module > '' ORDER BY module", hub, id)
}

// Modules lists a device's modules as the transaction sees them.
func (tx *Tx) Modules(hub, id string) ([]Device, error) {
	return devices(tx.sql, "hub = ? AND device = ? AND module > '' ORDER BY module", hub, id)
}

func devices(sql *database.Session, where string, args ...any) ([]Device, error) {
	out := []Device{}
	err := sql.Rows(func(scan func(...any) error) error {
		d, err := scanDevice(scan)
		out = append(out, d)
		return err
	}, "SELECT "+deviceColumns+" FROM identities WHERE "+where, args...)
	return out, err
}

// Count returns how many devices a hub has, and how many of them may not connect.
func (s *Store) Count(ctx context.Context, hub string) (total, disabled int, err error) {
	_, err = s.db.Reading(ctx).Row([]any{&total, &disabled},
		"SELECT COUNT(*), COALESCE(SUM(CASE WHEN status = 'disabled' THEN 1 ELSE 0 END), 0) FROM identities WHERE hub = ? AND module = ''", hub)
	return total, disabled, err
}
