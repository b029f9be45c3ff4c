package hubstore

import "context"

// Setting reads what an administrator set under a name, as JSON; nil when nothing was.
func (s *Store) Setting(ctx context.Context, hub, name string) ([]byte, error) {
	var value string
	ok, err := s.db.Reading(ctx).Row([]any{&value}, "SELECT value FROM settings WHERE hub = ? AND name = ?", hub, name)
	if err != nil || !ok {
		return nil, err
	}
	return []byte(value), nil
}

// SetSetting writes a setting, and takes it away when value is nil.
func (tx *Tx) SetSetting(hub, name string, value []byte) error {
	if value == nil {
		_, err := tx.sql.Exec("DELETE FROM settings WHERE hub = ? AND name = ?", hub, name)
		return err
	}
	_, err := tx.sql.Exec("INSERT INTO settings (hub, name, value) VALUES (?, ?, ?) ON CONFLICT (hub, name) DO UPDATE SET value = excluded.value", hub, name, string(value))
	return err
}
