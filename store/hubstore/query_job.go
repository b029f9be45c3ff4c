package hubstore

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/hub/query"
)

// FoundJob is what a job did, or is to do, with one identity.
type FoundJob struct {
	Job, Type, Status                string
	Name                             Name
	Outcome, Error                   string // JSON, empty for none
	Created, Started, Ended, Updated time.Time
}

const jobRowColumns = "j.job, j.type, j.status, j.device, j.module, j.outcome, j.error, j.created, j.started, j.ended, j.updated"

// QueryJobs is QueryTwins for FROM devices.jobs.
func (s *Store) QueryJobs(ctx context.Context, hub string, q *query.Query, after Place, limit int) ([]FoundJob, Place, error) {
	done, err := s.turns.take(ctx, false)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	sql := s.db.Reading(ctx)
	x, err := s.search(sql, hub, q.From, q.Where, false)
	if err != nil {
		return nil, nil, err
	}
	stmt, err := x.page(s.dialect(), raw(jobRowColumns), after, limit+1)
	if err != nil {
		return nil, nil, err
	}
	var out []FoundJob
	more := false
	err = sql.Rows(func(scan func(...any) error) error {
		if more = len(out) == limit; more {
			return errEnough
		}
		var f FoundJob
		var created, started, ended, updated int64
		err := scan(&f.Job, &f.Type, &f.Status, &f.Name.Device, &f.Name.Module, &f.Outcome, &f.Error, &created, &started, &ended, &updated)
		f.Created, f.Started, f.Ended, f.Updated = at(created), at(started), at(ended), at(updated)
		out = append(out, f)
		return err
	}, stmt.text, stmt.args...)
	if err != nil && !more {
		return nil, nil, err
	}
	if !more {
		return out, nil, nil
	}
	last := out[len(out)-1]
	return out, Place{last.Job, last.Name.Device, last.Name.Module}, nil
}
