package hubstore

import (
	"context"
	"time"
)

// FeedbackLapse returns when the next lock on feedback that nobody settles ends; zero when nobody has any.
func (s *Store) FeedbackLapse(ctx context.Context, hub string, now time.Time) (time.Time, error) {
	return s.lapse(ctx, "SELECT COALESCE(MIN(locked_until), 0) FROM feedback WHERE hub = ? AND lock_token <> '' AND locked_until > ?", hub, now)
}

// FileNotificationFree tells whether a notification waits that nobody has, and when the next lock on one of the others ends; zero when nobody
// has any.
func (s *Store) FileNotificationFree(ctx context.Context, hub string, now time.Time) (free bool, lapse time.Time, err error) {
	var one int
	free, err = s.db.Reading(ctx).Row([]any{&one}, "SELECT 1 FROM file_notifications WHERE hub = ? AND expires > ? AND locked_until <= ? LIMIT 1", hub, ms(now), ms(now))
	if err != nil || free {
		return free, time.Time{}, err
	}
	lapse, err = s.lapse(ctx, "SELECT COALESCE(MIN(locked_until), 0) FROM file_notifications WHERE hub = ? AND locked_until > ?", hub, now)
	return false, lapse, err
}

func (s *Store) lapse(ctx context.Context, query, hub string, now time.Time) (time.Time, error) {
	var until int64
	if _, err := s.db.Reading(ctx).Row([]any{&until}, query, hub, ms(now)); err != nil || until == 0 {
		return time.Time{}, err
	}
	return at(until), nil
}
