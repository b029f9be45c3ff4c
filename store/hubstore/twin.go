package hubstore

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/twin"
	"github.com/isthmus-io/isthmus/store/database"
)

// Twin is the documents of an identity. It comes and goes with the identity.
type Twin struct {
	Hub     string // uid
	Name    Name
	Model   string    // DTMI of the device's model, as it said when it connected; empty when it said none
	Changed time.Time // when anything of the documents changed last
	twin.Document
}

const twinColumns = "twins.hub, twins.device, twins.module, twins.version, twins.model, twins.tags, twins.desired, twins.desired_version, twins.desired_meta, " +
	"twins.reported, twins.reported_version, twins.reported_meta, twins.changed"

// into returns where a row of twinColumns is scanned to; changed is set by whoever scans.
func (t *Twin) into(changed *int64) []any {
	return []any{
		&t.Hub, &t.Name.Device, &t.Name.Module, &t.Version, &t.Model, &t.Tags, &t.Desired.Text, &t.Desired.Version, &t.Desired.Meta,
		&t.Reported.Text, &t.Reported.Version, &t.Reported.Meta, changed,
	}
}

func readTwin(sql *database.Session, hub string, n Name) (Twin, error) {
	var t Twin
	var changed int64
	found, err := sql.Row(t.into(&changed), "SELECT "+twinColumns+" FROM twins WHERE hub = ? AND device = ? AND module = ?", hub, n.Device, n.Module)
	if err == nil && !found {
		err = missing(n)
	}
	t.Changed = at(changed)
	return t, err
}

// Twin reads a twin. NotFound when the hub has no identity of this name.
func (s *Store) Twin(ctx context.Context, hub string, n Name) (Twin, error) {
	return readTwin(s.db.Reading(ctx), hub, n)
}

// Twin reads a twin as the transaction sees it.
func (tx *Tx) Twin(hub string, n Name) (Twin, error) { return readTwin(tx.sql, hub, n) }

// SetTwin writes the documents of a twin in place of those of the version before. Conflict when the twin has another version by now, or is
// gone.
func (tx *Tx) SetTwin(before, after Twin) error {
	args := make([]any, 0, 14)
	set := "UPDATE twins SET version = ?, changed = ?"
	args = append(args, after.Version, ms(after.Changed))
	if after.Tags != before.Tags {
		set, args = set+", tags = ?", append(args, after.Tags)
	}
	if after.Desired != before.Desired {
		set, args = set+", desired = ?, desired_version = ?, desired_meta = ?", append(args, after.Desired.Text, after.Desired.Version, after.Desired.Meta)
	}
	if after.Reported != before.Reported {
		set, args = set+", reported = ?, reported_version = ?, reported_meta = ?", append(args, after.Reported.Text, after.Reported.Version, after.Reported.Meta)
	}
	n, err := tx.sql.Exec(set+" WHERE hub = ? AND device = ? AND module = ? AND version = ?",
		append(args, before.Hub, before.Name.Device, before.Name.Module, before.Version)...)
	if err != nil {
		return err
	}
	if n == 0 {
		return fault.Newf("hubstore.SetTwin", fault.Conflict, "the twin of %s was changed meanwhile", before.Name.Words())
	}
	return tx.indexTwin(before, after)
}

// SetModel writes down which model a device says it is of. One that is gone is passed over.
func (tx *Tx) SetModel(hub string, n Name, model string) error {
	_, err := tx.sql.Exec("UPDATE twins SET model = ? WHERE hub = ? AND device = ? AND module = ? AND model <> ?", model, hub, n.Device, n.Module, model)
	return err
}
