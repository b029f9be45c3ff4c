package store

import (
	"strings"
	"time"
)

// Recording is where the recording of a session is kept.
type Recording struct {
	Session  string
	Tenant   string // the target's
	Size     int64  // bytes
	SHA256   string // in hexadecimal
	Received time.Time
	File     string // name in the directory of recordings
}

const recordingColumns = "session, tenant, size, sha256, received, file"

// AddRecording keeps a new recording. Conflict when the session has one.
func (tx *Tx) AddRecording(r Recording) error {
	_, err := tx.sql.Exec("INSERT INTO recordings ("+recordingColumns+") VALUES (?, ?, ?, ?, ?, ?)", r.Session, r.Tenant, r.Size, r.SHA256, nanos(r.Received), r.File)
	return err
}

// Recording returns a session's recording; ok is false when there is none.
func (tx *Tx) Recording(session string) (r Recording, ok bool, err error) {
	list, err := tx.recordings("session = ?", session)
	if err != nil || len(list) == 0 {
		return Recording{}, false, err
	}
	return list[0], true, nil
}

// OldRecordings returns recordings received before a moment, the oldest first.
func (tx *Tx) OldRecordings(before time.Time, limit int) ([]Recording, error) {
	return tx.recordings("received < ? ORDER BY received LIMIT ?", nanos(before), limit)
}

// RemoveRecording forgets a recording.
func (tx *Tx) RemoveRecording(session string) error {
	_, err := tx.sql.Exec("DELETE FROM recordings WHERE session = ?", session)
	return err
}

// RecordingBytes returns how much all recordings take.
func (tx *Tx) RecordingBytes() (total int64, err error) {
	_, err = tx.sql.Row([]any{&total}, "SELECT COALESCE(SUM(size), 0) FROM recordings")
	return total, err
}

// HaveRecordings tells which of the sessions have a recording.
func (tx *Tx) HaveRecordings(sessions []Session) (map[string]bool, error) {
	out := map[string]bool{}
	const page = 200
	for len(sessions) > 0 {
		some := sessions[:min(len(sessions), page)]
		sessions = sessions[len(some):]
		var ids []any
		for _, s := range some {
			ids = append(ids, s.Session)
		}
		list, err := tx.recordings("session IN (?"+strings.Repeat(", ?", len(ids)-1)+")", ids...)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			out[r.Session] = true
		}
	}
	return out, nil
}

func (tx *Tx) recordings(where string, args ...any) ([]Recording, error) {
	var out []Recording
	err := tx.sql.Rows(func(scan func(...any) error) error {
		var r Recording
		var received int64
		err := scan(&r.Session, &r.Tenant, &r.Size, &r.SHA256, &received, &r.File)
		r.Received = moment(received)
		out = append(out, r)
		return err
	}, "SELECT "+recordingColumns+" FROM recordings WHERE "+where, args...)
	return out, err
}
