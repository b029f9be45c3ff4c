package job

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// Config bounds a scheduler. The zero value works.
type Config struct {
	Running int           // jobs of one hub at once; 5 (IoT Hub: concurrent jobs)
	Open    int           // jobs of one hub that did not end; 100
	AtOnce  int           // identities of one job at once; 32
	Keep    time.Duration // ended jobs; 30 days (IoT Hub: job history)
	Look    time.Duration // how often to look for jobs whose time has come; 1 s
	// Containers opens what imports and exports name; without it they are refused.
	Containers Containers
}

func (c Config) withDefaults() Config {
	c.Running, c.Open, c.AtOnce = or(c.Running, 5), or(c.Open, 100), or(c.AtOnce, 32)
	c.Keep, c.Look = or(c.Keep, 30*24*time.Hour), or(c.Look, time.Second)
	return c
}

func or[T int | time.Duration](v, fallback T) T {
	if v <= 0 {
		return fallback
	}
	return v
}

// Scheduler carries out the jobs of all hubs of a server.
type Scheduler struct {
	cfg    Config
	server *hub.Server
	log    *slog.Logger
	clock  clock.Clock
	wake   chan struct{} // a job was made; capacity 1

	mu      sync.Mutex // guards the fields below
	running map[key]context.CancelCauseFunc
	changed chan struct{} // closed, and made anew, when a job changes
}

type key struct{ hub, job string }

// New returns a scheduler; jobs are accepted at once and carried out while Run runs.
func New(cfg Config, server *hub.Server, log *slog.Logger, clk clock.Clock) *Scheduler {
	return &Scheduler{cfg: cfg.withDefaults(), server: server, log: log, clock: clk, wake: make(chan struct{}, 1), running: map[key]context.CancelCauseFunc{}, changed: make(chan struct{})}
}

// Changed returns a channel that is closed when a job changes next.
func (s *Scheduler) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// write changes what is kept of jobs, and lets it be known.
func (s *Scheduler) write(ctx context.Context, fn func(tx *hubstore.Tx) error) error {
	return s.server.Store().Together(ctx, fn, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		close(s.changed)
		s.changed = make(chan struct{})
	})
}

// Create accepts a job. Faults: Invalid, Conflict (409104), Exhausted (403003) when too many are open.
func (s *Scheduler) Create(ctx context.Context, h *hub.Hub, j Job) (Job, error) {
	op := "job.Create"
	now := s.clock.Now()
	if err := j.check(now); err != nil {
		return Job{}, err
	}
	if err := s.checkWork(ctx, h, j); err != nil {
		return Job{}, err
	}
	open, err := s.server.Store().JobsOpen(ctx, h.ID())
	if err != nil {
		return Job{}, err
	}
	if len(open) >= s.cfg.Open {
		return Job{}, code.With(fault.Newf(op, fault.Exhausted, "the hub has %d jobs that did not end, which is its limit", s.cfg.Open).
			Advise("wait for some to end, or cancel them"), code.JobQuotaExceeded)
	}
	j.Status, j.Created = Queued, now
	if j.Starts.After(now) {
		j.Status = Scheduled
	}
	r, err := j.record(h.ID())
	if err != nil {
		return Job{}, err
	}
	err = s.write(ctx, func(tx *hubstore.Tx) error { return tx.InsertJob(r) })
	if fault.KindOf(err) == fault.Conflict {
		err = code.With(err, code.JobAlreadyExists)
	}
	if err != nil {
		return Job{}, err
	}
	s.knock()
	return j, nil
}

// checkWork finds out before a job is accepted what would fail for every identity.
func (s *Scheduler) checkWork(ctx context.Context, h *hub.Hub, j Job) error {
	if j.Type == Import || j.Type == Export {
		if s.cfg.Containers == nil {
			return fault.New("job.Create", fault.Invalid, "this hub has no access to blob containers").Advise("use isthmus hub import and isthmus hub export")
		}
		for _, address := range []string{j.Transfer.From, j.Transfer.To} {
			if address == "" {
				continue
			}
			if err := s.cfg.Containers.Check(h, address); err != nil {
				return err
			}
		}
		return nil
	}
	stop := fault.New("job.Create", fault.Internal, "")
	err := h.QueryNames(ctx, j.Condition, false, func(hub.Name) error { return stop }) // the first one is enough
	if errors.Is(err, stop) {
		return nil
	}
	return err
}

func (s *Scheduler) knock() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Get reads a job with its statistics. NotFound (404002) when there is none.
func (s *Scheduler) Get(ctx context.Context, h *hub.Hub, id string) (Job, error) {
	r, err := s.server.Store().Job(ctx, h.ID(), id)
	if err != nil {
		return Job{}, code.With(err, code.JobNotFound)
	}
	return s.view(ctx, r)
}

// List lists jobs by id, at most limit of them after an id; of a type and a status when these are not empty.
func (s *Scheduler) List(ctx context.Context, h *hub.Hub, t Type, status Status, after string, limit int) ([]Job, error) {
	list, err := s.server.Store().Jobs(ctx, h.ID(), string(t), string(status), after, limit)
	if err != nil {
		return nil, err
	}
	out := make([]Job, len(list))
	for i, r := range list {
		if out[i], err = s.view(ctx, r); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *Scheduler) view(ctx context.Context, r hubstore.Job) (Job, error) {
	j, err := fromRecord(r)
	if err != nil {
		return j, err
	}
	counts, err := s.server.Store().CountJobDevices(ctx, r.Hub, r.ID)
	if err != nil {
		return j, err
	}
	st := Statistics{Failed: counts[deviceFailed] + counts[deviceCanceled], Succeeded: counts[deviceCompleted], Running: counts[deviceRunning], Pending: counts[devicePending]}
	st.Devices = st.Failed + st.Succeeded + st.Running + st.Pending
	j.Statistics = st
	return j, nil
}

// Cancel ends a job: what was not begun is not done. A job that ended stays as it is.
func (s *Scheduler) Cancel(ctx context.Context, h *hub.Hub, id string) (Job, error) {
	now := s.clock.Now()
	err := s.write(ctx, func(tx *hubstore.Tx) error {
		r, err := tx.Job(h.ID(), id)
		if err != nil || !r.Ended.IsZero() {
			return err
		}
		r.Status, r.Ended = string(Cancelled), now
		if _, err := tx.CancelJobDevices(h.ID(), id, devicePending, deviceCanceled, "", now); err != nil {
			return err
		}
		return tx.SetJob(r)
	})
	if err != nil {
		return Job{}, code.With(err, code.JobNotFound)
	}
	s.mu.Lock()
	stop := s.running[key{h.ID(), id}]
	s.mu.Unlock()
	if stop != nil {
		stop(errCancelled)
	}
	return s.Get(ctx, h, id)
}

// Run carries out jobs until ctx ends; those that are under way go on when it runs again.
func (s *Scheduler) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		for _, h := range s.server.Hubs() {
			if err := s.look(ctx, h, &all); err != nil && ctx.Err() == nil {
				s.log.Warn("hub: jobs are not looked at; they will be", "hub", h.Name(), "err", err)
			}
		}
		tick, stop := s.clock.After(s.cfg.Look)
		select {
		case <-tick:
		case <-s.wake:
		case <-ctx.Done():
		}
		stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// look starts the jobs whose time has come, as far as there is room, and forgets old ones.
func (s *Scheduler) look(ctx context.Context, h *hub.Hub, all *sync.WaitGroup) error {
	now := s.clock.Now()
	list, err := s.server.Store().JobsOpen(ctx, h.ID())
	if err != nil {
		return err
	}
	for _, r := range list {
		if r.Starts.After(now) {
			continue
		}
		jobCtx, ok := s.begin(ctx, key{r.Hub, r.ID})
		if !ok {
			continue
		}
		all.Go(func() {
			defer s.end(key{r.Hub, r.ID})
			s.carryOut(jobCtx, h, r)
		})
	}
	return s.server.Store().Together(ctx, func(tx *hubstore.Tx) error { return tx.DeleteJobsEnded(h.ID(), now.Add(-s.cfg.Keep), 100) }, nil)
}

// begin tells whether a job may run now; it may not when it does, or when its hub has enough to do.
func (s *Scheduler) begin(ctx context.Context, k key) (context.Context, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for other := range s.running {
		if other == k {
			return nil, false
		}
		if other.hub == k.hub {
			n++
		}
	}
	if n >= s.cfg.Running {
		return nil, false
	}
	jobCtx, stop := context.WithCancelCause(ctx)
	s.running[k] = stop
	return jobCtx, true
}

func (s *Scheduler) end(k key) {
	s.mu.Lock()
	stop := s.running[k]
	delete(s.running, k)
	s.mu.Unlock()
	stop(nil)
	s.knock() // there is room for another one
}
