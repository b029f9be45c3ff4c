package hubstore

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/database"
)

// Job is something to be done with many identities.
type Job struct {
	Hub       string
	ID        string
	Type      string // scheduleUpdateTwin, scheduleDeviceMethod, import or export
	Status    string // queued, scheduled, running, completed, failed or cancelled
	Condition string // which identities
	Payload   string // JSON: what to do with each
	Created   time.Time
	Starts    time.Time
	Started   time.Time
	Ended     time.Time
	Seconds   int64 // it may take
	Progress  int   // per cent
	Failure   string
	Message   string
}

const jobColumns = "id, type, status, condition, payload, created, starts, started, ended, seconds, progress, failure, message"

func scanJob(hub string, scan func(...any) error) (Job, error) {
	j := Job{Hub: hub}
	var created, starts, started, ended int64
	err := scan(&j.ID, &j.Type, &j.Status, &j.Condition, &j.Payload, &created, &starts, &started, &ended, &j.Seconds, &j.Progress, &j.Failure, &j.Message)
	j.Created, j.Starts, j.Started, j.Ended = at(created), at(starts), at(started), at(ended)
	return j, err
}

// InsertJob adds a job. Conflict when the hub has one of this id.
func (tx *Tx) InsertJob(j Job) error {
	n, err := tx.sql.Exec("INSERT INTO jobs (hub, "+jobColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (hub, id) DO NOTHING",
		j.Hub, j.ID, j.Type, j.Status, j.Condition, j.Payload, ms(j.Created), ms(j.Starts), ms(j.Started), ms(j.Ended), j.Seconds, j.Progress, j.Failure, j.Message)
	if err == nil && n == 0 {
		return fault.Newf("hubstore.InsertJob", fault.Conflict, "job %q exists already", j.ID)
	}
	return err
}

// SetJob writes what changes while a job is carried out. NotFound when there is none.
func (tx *Tx) SetJob(j Job) error {
	n, err := tx.sql.Exec("UPDATE jobs SET status = ?, started = ?, ended = ?, progress = ?, failure = ?, message = ? WHERE hub = ? AND id = ?",
		j.Status, ms(j.Started), ms(j.Ended), j.Progress, j.Failure, j.Message, j.Hub, j.ID)
	if err == nil && n == 0 {
		return missingJob(j.ID)
	}
	return err
}

// Job reads a job as the transaction sees it. NotFound when there is none.
func (tx *Tx) Job(hub, id string) (Job, error) { return job(tx.sql, hub, id) }

// DeleteJobsEnded removes jobs that ended before a time, at most limit of them.
func (tx *Tx) DeleteJobsEnded(hub string, before time.Time, limit int) error {
	_, err := tx.sql.Exec("DELETE FROM jobs WHERE hub = ? AND id IN (SELECT id FROM jobs WHERE hub = ? AND ended > 0 AND ended < ? ORDER BY ended LIMIT ?)",
		hub, hub, ms(before), limit)
	return err
}

func missingJob(id string) error {
	return fault.Newf("hubstore.Job", fault.NotFound, "the hub has no job %q", id)
}

func job(sql *database.Session, hub, id string) (Job, error) {
	list, err := jobs(sql, hub, "id = ?", id)
	if err == nil && len(list) == 0 {
		return Job{}, missingJob(id)
	}
	if err != nil {
		return Job{}, err
	}
	return list[0], nil
}

func jobs(sql *database.Session, hub, where string, args ...any) ([]Job, error) {
	var out []Job
	err := sql.Rows(func(scan func(...any) error) error {
		j, err := scanJob(hub, scan)
		out = append(out, j)
		return err
	}, "SELECT "+jobColumns+" FROM jobs WHERE hub = ? AND "+where, append([]any{hub}, args...)...)
	return out, err
}

// Job reads a job. NotFound when there is none.
func (s *Store) Job(ctx context.Context, hub, id string) (Job, error) {
	return job(s.db.Reading(ctx), hub, id)
}

// Jobs lists a hub's jobs by id, at most limit of them, those after an id, of a type and a status when these are not empty.
func (s *Store) Jobs(ctx context.Context, hub, kind, status, after string, limit int) ([]Job, error) {
	return jobs(s.db.Reading(ctx), hub, "(? = '' OR type = ?) AND (? = '' OR status = ?) AND id > ? ORDER BY id LIMIT ?", kind, kind, status, status, after, limit)
}

// JobsOpen lists a hub's jobs that did not end, oldest first.
func (s *Store) JobsOpen(ctx context.Context, hub string) ([]Job, error) {
	return jobs(s.db.Reading(ctx), hub, "ended = 0 ORDER BY created, id")
}

// JobDevice is a job's work with one identity.
type JobDevice struct {
	Name
	Status  string // pending, running, completed, failed or canceled
	Outcome string // JSON, '' when there is none
	Error   string // JSON, '' when there is none
	Started time.Time
	Ended   time.Time
}

// InsertJobDevice notes that a job is to be done with an identity; twice is as good as once.
func (tx *Tx) InsertJobDevice(j Job, n Name, now time.Time) error {
	_, err := tx.sql.Exec("INSERT INTO job_devices (hub, job, device, module, type, status, outcome, error, created, started, ended, updated) "+
		"VALUES (?, ?, ?, ?, ?, 'pending', '', '', ?, 0, 0, ?) ON CONFLICT (hub, job, device, module) DO NOTHING",
		j.Hub, j.ID, n.Device, n.Module, j.Type, ms(now), ms(now))
	return err
}

// SetJobDevice writes how far the work with one identity is.
func (tx *Tx) SetJobDevice(hub, job string, d JobDevice, now time.Time) error {
	_, err := tx.sql.Exec("UPDATE job_devices SET status = ?, outcome = ?, error = ?, started = ?, ended = ?, updated = ? WHERE hub = ? AND job = ? AND device = ? AND module = ?",
		d.Status, d.Outcome, d.Error, ms(d.Started), ms(d.Ended), ms(now), hub, job, d.Device, d.Module)
	return err
}

// CancelJobDevices gives all work of a job that has one status another one, with an error, and tells how much that was.
func (tx *Tx) CancelJobDevices(hub, job, from, to, failure string, now time.Time) (int64, error) {
	return tx.sql.Exec("UPDATE job_devices SET status = ?, error = ?, ended = ?, updated = ? WHERE hub = ? AND job = ? AND status = ?",
		to, failure, ms(now), ms(now), hub, job, from)
}

// JobDevices lists a job's work of one status by name, at most limit, after a name.
func (s *Store) JobDevices(ctx context.Context, hub, job, status string, after Name, limit int) ([]JobDevice, error) {
	var out []JobDevice
	err := s.db.Reading(ctx).Rows(func(scan func(...any) error) error {
		var d JobDevice
		var started, ended int64
		err := scan(&d.Device, &d.Module, &d.Status, &d.Outcome, &d.Error, &started, &ended)
		d.Started, d.Ended = at(started), at(ended)
		out = append(out, d)
		return err
	}, "SELECT device, module, status, outcome, error, started, ended FROM job_devices WHERE hub = ? AND job = ? AND status = ? "+
		"AND (device > ? OR device = ? AND module > ?) ORDER BY device, module LIMIT ?", hub, job, status, after.Device, after.Device, after.Module, limit)
	return out, err
}

// CountJobDevices counts a job's work by status.
func (s *Store) CountJobDevices(ctx context.Context, hub, job string) (map[string]int, error) {
	out := map[string]int{}
	err := s.db.Reading(ctx).Rows(func(scan func(...any) error) error {
		var status string
		var n int
		err := scan(&status, &n)
		out[status] = n
		return err
	}, "SELECT status, COUNT(*) FROM job_devices WHERE hub = ? AND job = ? GROUP BY status", hub, job)
	return out, err
}
