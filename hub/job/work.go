package job

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

var (
	errCancelled = errors.New("the job was cancelled")
	errOver      = errors.New("the job's time is over")
)

// page is how many identities are looked at together.
const page = 500

// carryOut runs one job from where it is to its end, or until ctx ends.
func (s *Scheduler) carryOut(ctx context.Context, h *hub.Hub, r hubstore.Job) {
	j, err := fromRecord(r)
	if err == nil {
		err = s.start(ctx, h, &r)
	}
	if err == nil {
		over, stop := s.until(ctx, r.Started.Add(j.Limit))
		err = s.do(over, h, j, r)
		stop()
	}
	switch {
	case errors.Is(err, errOver):
		err = s.close(h, r, Failed, "the job's time was over before all was done")
	case errors.Is(err, errCancelled):
		err = nil // Cancel wrote it down
	case ctx.Err() != nil:
		return // the process ends, and the job goes on afterwards
	case err != nil:
		s.log.Warn("hub: job failed", "hub", h.Name(), "job", r.ID, "err", err)
		err = s.close(h, r, Failed, fault.Message(err))
	default:
		err = s.close(h, r, Completed, "")
	}
	if err != nil {
		s.log.Warn("hub: the end of a job is not written down; it will be tried again", "hub", h.Name(), "job", r.ID, "err", err)
	}
}

// until returns a context that ends at a time, with errOver as its cause.
func (s *Scheduler) until(ctx context.Context, end time.Time) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	tick, stop := s.clock.After(end.Sub(s.clock.Now()))
	var done sync.WaitGroup
	done.Go(func() {
		select {
		case <-tick:
			cancel(errOver)
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cancel(nil)
		stop()
		done.Wait()
	}
}

// start writes down that the job runs and, the first time, with whom. What was under way in a process that died is settled.
func (s *Scheduler) start(ctx context.Context, h *hub.Hub, r *hubstore.Job) error {
	now := s.clock.Now()
	again := r.Status == string(Running)
	if again {
		to, failure := devicePending, ""
		if Type(r.Type) == CallMethod {
			to, failure = deviceFailed, errorJSON(now, fault.New("job.start", fault.Unavailable, "the hub stopped while the method was called: nobody knows whether the device ran it"))
		}
		return s.write(ctx, func(tx *hubstore.Tx) error {
			_, err := tx.CancelJobDevices(r.Hub, r.ID, deviceRunning, to, failure, now)
			return err
		})
	}
	if t := Type(r.Type); t == UpdateTwin || t == CallMethod {
		if err := s.enlist(ctx, h, *r); err != nil {
			return err
		}
	}
	r.Status, r.Started = string(Running), now
	return s.write(ctx, func(tx *hubstore.Tx) error { return s.setOpen(tx, *r) })
}

// setOpen writes a job unless it ended meanwhile.
func (s *Scheduler) setOpen(tx *hubstore.Tx, r hubstore.Job) error {
	now, err := tx.Job(r.Hub, r.ID)
	if err != nil {
		return err
	}
	if !now.Ended.IsZero() {
		return errCancelled
	}
	return tx.SetJob(r)
}

// enlist writes down the identities that the condition finds now.
func (s *Scheduler) enlist(ctx context.Context, h *hub.Hub, r hubstore.Job) error {
	var batch []hub.Name
	flush := func() error {
		defer func() { batch = batch[:0] }()
		return s.server.Store().Together(ctx, func(tx *hubstore.Tx) error {
			for _, n := range batch {
				if err := tx.InsertJobDevice(r, n, s.clock.Now()); err != nil {
					return err
				}
			}
			return nil
		}, nil)
	}
	err := h.QueryNames(ctx, r.Condition, false, func(n hub.Name) error {
		if batch = append(batch, n); len(batch) == page {
			return flush()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// do does what is pending, at most Config.AtOnce at once.
func (s *Scheduler) do(ctx context.Context, h *hub.Hub, j Job, r hubstore.Job) error {
	if j.Type == Import || j.Type == Export {
		return s.transfer(ctx, h, j)
	}
	var all sync.WaitGroup
	defer all.Wait()
	room := make(chan struct{}, s.cfg.AtOnce)
	var after hub.Name
	for {
		list, err := s.server.Store().JobDevices(ctx, r.Hub, r.ID, devicePending, after, page)
		if err != nil {
			return orCause(ctx, err)
		}
		if len(list) == 0 {
			all.Wait()
			return context.Cause(ctx) // what was under way may have been given up
		}
		for _, d := range list {
			after = d.Name
			select {
			case room <- struct{}{}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			all.Go(func() {
				defer func() { <-room }()
				s.one(ctx, h, j, r, d)
			})
		}
	}
}

func orCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// one does the job with one identity and writes the outcome down.
func (s *Scheduler) one(ctx context.Context, h *hub.Hub, j Job, r hubstore.Job, d hubstore.JobDevice) {
	d.Started = s.clock.Now()
	if j.Type == CallMethod { // before the device can run it, so that it is not asked again
		d.Status = deviceRunning
		if err := s.record(ctx, r, d); err != nil {
			return
		}
	}
	outcome, err := s.work(ctx, h, j, d.Name)
	if cause := context.Cause(ctx); cause != nil && err != nil && !errors.Is(cause, errOver) && !errors.Is(cause, errCancelled) {
		return // the process ends
	}
	d.Ended = s.clock.Now()
	d.Status, d.Outcome = deviceCompleted, outcome
	if err != nil {
		d.Status, d.Error = deviceFailed, errorJSON(d.Ended, err)
	}
	if err := s.record(context.WithoutCancel(ctx), r, d); err != nil {
		s.log.Warn("hub: the outcome of a job is not written down", "hub", h.Name(), "job", r.ID, "device", d.Name.String(), "err", err)
	}
}

func (s *Scheduler) record(ctx context.Context, r hubstore.Job, d hubstore.JobDevice) error {
	return s.write(ctx, func(tx *hubstore.Tx) error { return tx.SetJobDevice(r.Hub, r.ID, d, s.clock.Now()) })
}

// work returns the outcome as JSON, as IoT Hub writes it for a device job.
func (s *Scheduler) work(ctx context.Context, h *hub.Hub, j Job, n hub.Name) (string, error) {
	if j.Type == UpdateTwin {
		_, err := h.PatchTwin(ctx, n, j.Twin, "")
		return "", err
	}
	answer, err := h.InvokeMethod(ctx, n, j.Method.request())
	if err != nil {
		return "", err
	}
	payload := answer.Payload
	if len(payload) == 0 {
		payload = json.RawMessage("null")
	}
	b, err := json.Marshal(map[string]any{"deviceMethodResponse": map[string]any{"status": answer.Status, "payload": payload}})
	return string(b), fault.Wrap("job.work", fault.Invalid, err, "the device's answer is not JSON")
}

func errorJSON(now time.Time, err error) string {
	b, _ := json.Marshal(map[string]any{ // texts and a time always marshal
		"code": code.Of(err).Number, "description": fault.Message(err), "dateTime": now.UTC().Format(time.RFC3339),
	})
	return string(b)
}

// close writes a job's end down, also when the context of its work is over.
func (s *Scheduler) close(h *hub.Hub, r hubstore.Job, status Status, failure string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	now := s.clock.Now()
	r.Status, r.Ended, r.Failure, r.Progress = string(status), now, failure, 100
	err := s.write(ctx, func(tx *hubstore.Tx) error {
		if status == Failed {
			words := errorJSON(now, fault.New("job.close", fault.Timeout, failure))
			if _, err := tx.CancelJobDevices(r.Hub, r.ID, devicePending, deviceFailed, words, now); err != nil {
				return err
			}
		}
		return s.setOpen(tx, r)
	})
	if errors.Is(err, errCancelled) {
		err = nil
	}
	if err == nil {
		s.log.Info("hub: job ended", "hub", h.Name(), "job", r.ID, "status", string(status), "failure", failure)
	}
	return err
}
