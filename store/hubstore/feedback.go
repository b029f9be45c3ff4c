package hubstore

import (
	"context"
	"time"
)

// Feedback tells the sender of a command what became of it.
type Feedback struct {
	Hub         string
	MessageID   string // of the command
	Device      string
	Generation  string // of the device
	Status      string // Success, Expired, DeliveryCountExceeded, Rejected or Purged
	Description string
	Happened    time.Time
	Expires     time.Time
	Deliveries  int // how often it was given and came back
}

// InsertFeedback adds a record and fills in the generation of its device; without the device nothing is added.
func (tx *Tx) InsertFeedback(f Feedback) error {
	_, err := tx.sql.Exec("INSERT INTO feedback (hub, sequence, message_id, device, generation, status, description, happened, expires, deliveries, lock_token, locked_until) "+
		"SELECT hub, (SELECT COALESCE(MAX(sequence), 0) + 1 FROM feedback WHERE hub = ?), CAST(? AS TEXT), device, generation, CAST(? AS TEXT), CAST(? AS TEXT), "+
		"CAST(? AS BIGINT), CAST(? AS BIGINT), 0, '', 0 FROM identities WHERE hub = ? AND device = ? AND module = ''",
		f.Hub, f.MessageID, f.Status, f.Description, ms(f.Happened), ms(f.Expires), f.Hub, f.Device)
	return err
}

// freeFeedback is what nobody has, or no longer, and is not expired; both arguments are the time now.
const freeFeedback = "(lock_token = '' OR locked_until <= ?) AND expires > ?"

// FeedbackFree returns how many records somebody could be given now, counting no further than limit, and when the oldest of them happened.
func (s *Store) FeedbackFree(ctx context.Context, hub string, now time.Time, limit int) (n int, oldest time.Time, err error) {
	err = s.db.Reading(ctx).Rows(func(scan func(...any) error) error {
		var happened int64
		err := scan(&happened)
		if t := at(happened); n == 0 || t.Before(oldest) {
			oldest = t
		}
		n++
		return err
	}, "SELECT happened FROM feedback WHERE hub = ? AND "+freeFeedback+" ORDER BY sequence LIMIT ?", hub, ms(now), ms(now), limit)
	return n, oldest, err
}

// LockFeedback gives the oldest free records, at most limit of them, to who has the lock until a time.
func (tx *Tx) LockFeedback(hub, lock string, now, until time.Time, limit int) ([]Feedback, error) {
	if _, err := tx.sql.Exec("UPDATE feedback SET deliveries = deliveries + CASE WHEN lock_token = '' THEN 0 ELSE 1 END, lock_token = ?, locked_until = ? "+
		"WHERE hub = ? AND sequence IN (SELECT sequence FROM feedback WHERE hub = ? AND "+freeFeedback+" ORDER BY sequence LIMIT ?)",
		lock, ms(until), hub, hub, ms(now), ms(now), limit); err != nil {
		return nil, err
	}
	var out []Feedback
	err := tx.sql.Rows(func(scan func(...any) error) error {
		f := Feedback{Hub: hub}
		var happened, expires int64
		err := scan(&f.MessageID, &f.Device, &f.Generation, &f.Status, &f.Description, &happened, &expires, &f.Deliveries)
		f.Happened, f.Expires = at(happened), at(expires)
		out = append(out, f)
		return err
	}, "SELECT message_id, device, generation, status, description, happened, expires, deliveries FROM feedback "+
		"WHERE hub = ? AND lock_token <> '' AND lock_token = ? ORDER BY sequence", hub, lock)
	return out, err
}

// DeleteFeedback removes what a lock that has not lapsed holds, and tells how many records that were.
func (tx *Tx) DeleteFeedback(hub, lock string, now time.Time) (int64, error) {
	return tx.sql.Exec("DELETE FROM feedback WHERE hub = ? AND lock_token <> '' AND lock_token = ? AND locked_until > ?", hub, lock, ms(now))
}

// FreeFeedback makes free what a lock that has not lapsed holds, unless it came back as often as deliveries allows: such records are
// dropped. It tells how many records the lock held.
func (tx *Tx) FreeFeedback(hub, lock string, now time.Time, deliveries int) (int64, error) {
	dropped, err := tx.sql.Exec("DELETE FROM feedback WHERE hub = ? AND lock_token <> '' AND lock_token = ? AND locked_until > ? AND deliveries + 1 >= ?",
		hub, lock, ms(now), deliveries)
	if err != nil {
		return 0, err
	}
	freed, err := tx.sql.Exec("UPDATE feedback SET deliveries = deliveries + 1, lock_token = '', locked_until = 0 "+
		"WHERE hub = ? AND lock_token <> '' AND lock_token = ? AND locked_until > ?", hub, lock, ms(now))
	return dropped + freed, err
}

// DropFeedback removes records nobody will be given any more, at most limit of each kind: those that are expired, that came back
// deliveries times, and the oldest when there are more than keep. It tells how many of the last kind there were.
func (tx *Tx) DropFeedback(hub string, now time.Time, deliveries int, keep int64, limit int) (int64, error) {
	if _, err := tx.sql.Exec("DELETE FROM feedback WHERE hub = ? AND sequence IN (SELECT sequence FROM feedback WHERE hub = ? AND expires <= ? LIMIT ?)",
		hub, hub, ms(now), limit); err != nil {
		return 0, err
	}
	if _, err := tx.sql.Exec("DELETE FROM feedback WHERE hub = ? AND lock_token <> '' AND locked_until <= ? AND deliveries + 1 >= ?", hub, ms(now), deliveries); err != nil {
		return 0, err
	}
	return tx.sql.Exec("DELETE FROM feedback WHERE hub = ? AND sequence IN (SELECT sequence FROM feedback WHERE hub = ? AND "+
		"sequence <= (SELECT MAX(sequence) FROM feedback WHERE hub = ?) - ? ORDER BY sequence LIMIT ?)", hub, hub, hub, keep, limit)
}

// FeedbackDue tells whether a hub has records that DropFeedback would remove.
func (s *Store) FeedbackDue(ctx context.Context, hub string, now time.Time, deliveries int, keep int64) (due bool, err error) {
	for _, q := range []struct {
		where string
		args  []any
	}{
		{"expires <= ?", []any{ms(now)}},
		{"lock_token <> '' AND locked_until <= ? AND deliveries + 1 >= ?", []any{ms(now), deliveries}},
		{"sequence <= (SELECT MAX(sequence) FROM feedback WHERE hub = ?) - ?", []any{hub, keep}},
	} {
		var one int
		due, err = s.db.Reading(ctx).Row([]any{&one}, "SELECT 1 FROM feedback WHERE hub = ? AND "+q.where+" LIMIT 1", append([]any{hub}, q.args...)...)
		if due || err != nil {
			return due, err
		}
	}
	return false, nil
}
