package hubstore

import "context"

// Listening returns what an identity listens to also when it comes back, in its door's words; empty for nothing.
func (s *Store) Listening(ctx context.Context, hub string, n Name) (topic string, err error) {
	_, err = s.db.Reading(ctx).Row([]any{&topic}, "SELECT topic FROM listening WHERE hub = ? AND device = ? AND module = ?", hub, n.Device, n.Module)
	return topic, err
}

// SetListening writes it, and takes it away when topic is empty. It goes with the identity.
func (tx *Tx) SetListening(hub string, n Name, topic string) error {
	if topic == "" {
		_, err := tx.sql.Exec("DELETE FROM listening WHERE hub = ? AND device = ? AND module = ?", hub, n.Device, n.Module)
		return err
	}
	_, err := tx.sql.Exec("INSERT INTO listening (hub, device, module, topic) VALUES (?, ?, ?, ?) ON CONFLICT (hub, device, module) DO UPDATE SET topic = excluded.topic",
		hub, n.Device, n.Module, topic)
	return err
}
