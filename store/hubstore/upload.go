package hubstore

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// Upload is a file that a device may send now.
type Upload struct {
	Hub         string
	Correlation string // unique in the hub
	Device      string
	Blob        string // its name, the device's id in front
	Started     time.Time
	Expires     time.Time
}

// FileNotification is news of a file for services, of which one has it at a time.
type FileNotification struct {
	Hub        string
	Sequence   int64
	Device     string
	BlobURI    string
	BlobName   string
	Updated    time.Time // the blob
	Size       int64     // bytes of the blob
	Enqueued   time.Time
	Expires    time.Time
	Deliveries int    // this one counted
	Lock       string // who has it; empty when nobody does
}

// InsertUpload adds an upload.
func (tx *Tx) InsertUpload(u Upload) error {
	_, err := tx.sql.Exec("INSERT INTO uploads (hub, correlation, device, blob, started, expires) VALUES (?, ?, ?, ?, ?, ?)",
		u.Hub, u.Correlation, u.Device, u.Blob, ms(u.Started), ms(u.Expires))
	return err
}

// CountUploads tells how many uploads of a device are open at a time.
func (tx *Tx) CountUploads(hub, device string, now time.Time) (n int, err error) {
	_, err = tx.sql.Row([]any{&n}, "SELECT COUNT(*) FROM uploads WHERE hub = ? AND device = ? AND expires > ?", hub, device, ms(now))
	return n, err
}

// DeleteUpload removes an upload. NotFound when there is none.
func (tx *Tx) DeleteUpload(hub, correlation string) error {
	n, err := tx.sql.Exec("DELETE FROM uploads WHERE hub = ? AND correlation = ?", hub, correlation)
	if err == nil && n == 0 {
		return noUpload()
	}
	return err
}

// DeleteUploadsOf removes every upload of a device.
func (tx *Tx) DeleteUploadsOf(hub, device string) error {
	_, err := tx.sql.Exec("DELETE FROM uploads WHERE hub = ? AND device = ?", hub, device)
	return err
}

// ExpireUploads removes the uploads of all hubs whose time is over, and tells how many they were.
func (tx *Tx) ExpireUploads(now time.Time) (int64, error) {
	return tx.sql.Exec("DELETE FROM uploads WHERE expires <= ?", ms(now))
}

func noUpload() error {
	return fault.New("hubstore.Upload", fault.NotFound, "no such upload is open")
}

// Upload reads an upload, whether its time is over or not. NotFound when there is none.
func (s *Store) Upload(ctx context.Context, hub, correlation string) (Upload, error) {
	u := Upload{Hub: hub, Correlation: correlation}
	var started, expires int64
	ok, err := s.db.Reading(ctx).Row([]any{&u.Device, &u.Blob, &started, &expires},
		"SELECT device, blob, started, expires FROM uploads WHERE hub = ? AND correlation = ?", hub, correlation)
	if err == nil && !ok {
		err = noUpload()
	}
	u.Started, u.Expires = at(started), at(expires)
	return u, err
}

// InsertFileNotification queues a notification behind the others of its hub; Sequence, Deliveries and Lock are the store's to give.
func (tx *Tx) InsertFileNotification(n FileNotification) error {
	_, err := tx.sql.Exec("INSERT INTO file_notifications (hub, sequence, device, blob_uri, blob_name, updated, size, enqueued, expires, deliveries, lock_token, locked_until) "+
		"SELECT ?, COALESCE(MAX(sequence), 0) + 1, ?, ?, ?, ?, ?, ?, ?, 0, '', 0 FROM file_notifications WHERE hub = ?",
		n.Hub, n.Device, n.BlobURI, n.BlobName, ms(n.Updated), n.Size, ms(n.Enqueued), ms(n.Expires), n.Hub)
	return err
}

// LockFileNotification gives the oldest notification that nobody has and whose time is not over to the holder of a lock until a moment, and
// counts the delivery. ok is false when none waits.
func (tx *Tx) LockFileNotification(hub, lock string, now, until time.Time) (n FileNotification, ok bool, err error) {
	n = FileNotification{Hub: hub, Lock: lock}
	var updated, enqueued, expires int64
	ok, err = tx.sql.Row([]any{&n.Sequence, &n.Device, &n.BlobURI, &n.BlobName, &updated, &n.Size, &enqueued, &expires, &n.Deliveries},
		"SELECT sequence, device, blob_uri, blob_name, updated, size, enqueued, expires, deliveries FROM file_notifications "+
			"WHERE hub = ? AND expires > ? AND locked_until <= ? ORDER BY sequence LIMIT 1", hub, ms(now), ms(now))
	if err != nil || !ok {
		return n, false, err
	}
	n.Updated, n.Enqueued, n.Expires = at(updated), at(enqueued), at(expires)
	n.Deliveries++
	_, err = tx.sql.Exec("UPDATE file_notifications SET deliveries = ?, lock_token = ?, locked_until = ? WHERE hub = ? AND sequence = ?", n.Deliveries, lock, ms(until), hub, n.Sequence)
	return n, err == nil, err
}

// CompleteFileNotification removes the notification that the lock holds. NotFound when it holds none any more.
func (tx *Tx) CompleteFileNotification(hub, lock string, now time.Time) error {
	n, err := tx.sql.Exec("DELETE FROM file_notifications WHERE hub = ? AND lock_token = ? AND locked_until > ?", hub, lock, ms(now))
	if err == nil && n == 0 {
		return noLock()
	}
	return err
}

// AbandonFileNotification gives back the notification that the lock holds. NotFound when it holds none any more.
func (tx *Tx) AbandonFileNotification(hub, lock string, now time.Time) error {
	n, err := tx.sql.Exec("UPDATE file_notifications SET lock_token = '', locked_until = 0 WHERE hub = ? AND lock_token = ? AND locked_until > ?", hub, lock, ms(now))
	if err == nil && n == 0 {
		return noLock()
	}
	return err
}

// DropFileNotification removes a notification, whoever has it.
func (tx *Tx) DropFileNotification(hub string, sequence int64) error {
	_, err := tx.sql.Exec("DELETE FROM file_notifications WHERE hub = ? AND sequence = ?", hub, sequence)
	return err
}

func noLock() error {
	return fault.New("hubstore.FileNotification", fault.NotFound, "the lock holds no file notification any more")
}

// ExpireFileNotifications removes the notifications of all hubs whose time is over, and tells how many they were.
func (tx *Tx) ExpireFileNotifications(now time.Time) (int64, error) {
	return tx.sql.Exec("DELETE FROM file_notifications WHERE expires <= ?", ms(now))
}

// TrimFileNotifications removes a hub's oldest notifications until it has at most keep, and tells how many they were.
func (tx *Tx) TrimFileNotifications(hub string, keep int) (int64, error) {
	return tx.sql.Exec("DELETE FROM file_notifications WHERE hub = ? AND sequence <= "+
		"(SELECT COALESCE(MAX(sequence), 0) FROM file_notifications WHERE hub = ?) - ?", hub, hub, keep)
}

// CountFileNotifications tells how many notifications a hub has, those that somebody has received and not completed among them.
func (s *Store) CountFileNotifications(ctx context.Context, hub string) (n int, err error) {
	_, err = s.db.Reading(ctx).Row([]any{&n}, "SELECT COUNT(*) FROM file_notifications WHERE hub = ?", hub)
	return n, err
}

// EnsureSetting writes a setting unless there is one, and returns the one there is.
func (s *Store) EnsureSetting(ctx context.Context, hub, name string, value []byte) ([]byte, error) {
	if have, err := s.Setting(ctx, hub, name); err != nil || have != nil {
		return have, err
	}
	if err := s.Write(ctx, func(tx *Tx) error {
		_, err := tx.sql.Exec("INSERT INTO settings (hub, name, value) VALUES (?, ?, ?) ON CONFLICT (hub, name) DO NOTHING", hub, name, string(value))
		return err
	}); err != nil {
		return nil, err
	}
	return s.Setting(ctx, hub, name)
}
