package bridge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/bridge/checkpoint"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// run is one stretch in which a bridge runs by one plan: from opening its ends to the end of its last lane.
type run struct {
	c        *carrier
	clk      clock.Clock
	plan     plan.Bridge
	ways     *ways
	troubles *troubles
	began    time.Time
	fail     context.CancelCauseFunc

	maxEvents, maxBytes int
	window              int    // index of the step that is one; -1: none is
	windowStep          string // its name

	letters     Letters
	account     *account
	contract    Contract
	source      Source
	destination Destination
	rows        *rows
	parts       []*partition
	lanes       []*lane
	delivers    []*deliver
	again       *again // made by the first replay; guarded by replays
	ctx         context.Context

	limits   sync.Mutex // one at a time asks the contract
	replays  sync.Mutex // one replay at a time
	running  atomic.Bool
	writings sync.WaitGroup // the account's writer
}

func newRun(c *carrier, p plan.Bridge, w *ways, fail context.CancelCauseFunc) *run {
	r := &run{c: c, clk: c.b.clk, plan: p, ways: w, troubles: c.troubles, began: c.b.clk.Now(), fail: fail, window: -1}
	r.maxEvents, r.maxBytes = p.Spec.Batch.Events, p.Spec.Batch.Bytes
	if r.maxEvents <= 0 {
		r.maxEvents = resource.DefaultBatchEvents
	}
	if r.maxBytes <= 0 {
		r.maxBytes = resource.DefaultBatchBytes
	}
	for i := range p.Spec.Steps {
		if p.Spec.Steps[i].Window != nil {
			r.window, r.windowStep = i, p.Spec.Steps[i].Name
		}
	}
	return r
}

// age is how long the run is, by a clock that does not jump.
func (r *run) age() time.Duration { return max(1, r.clk.Now().Sub(r.began)) }

// carry opens everything and moves events until ctx ends. An error says why it could not begin, and where.
func (r *run) carry(ctx context.Context) (err error) {
	saving, stopSaving := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSaving()
	if err := r.open(ctx, saving); err != nil {
		r.close(ctx, stopSaving)
		return err
	}
	var lanes sync.WaitGroup
	for _, l := range r.lanes {
		lanes.Go(func() {
			err := r.c.b.engine.carry(ctx, l)
			if err == nil {
				err = fault.New("bridge.carry", fault.Unavailable, "a stream ended by itself")
			}
			r.fail(&stepError{AtSource, err}) // which changes nothing when the run has ended
		})
	}
	for _, d := range r.delivers {
		if d.buffer != nil {
			lanes.Go(func() {
				_ = r.guard(AtDestination, func() error { d.keepFlushing(ctx); return nil }) // nil, or the end of the run
			})
		}
	}
	lanes.Go(func() {
		_ = r.guard(AtDestination, func() error { r.watch(ctx); return nil }) // as above
	})
	r.ctx = ctx
	r.c.began()
	r.running.Store(ctx.Err() == nil)
	<-ctx.Done()
	r.running.Store(false)
	lanes.Wait()
	r.replays.Lock() // one that is under way ends with ctx
	defer r.replays.Unlock()
	r.close(ctx, stopSaving)
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// guard does something of which a panic ends the run, to begin anew from the checkpoint.
func (r *run) guard(step string, do func() error) error {
	broke := true
	err := safely("the bridge", func() error {
		err := do()
		broke = false
		return err
	})
	if broke {
		r.fail(&stepError{step, err})
	}
	return err
}

// sleep waits and tells whether ctx still lives.
func (r *run) sleep(ctx context.Context, d time.Duration) bool {
	fired, stop := r.clk.After(d)
	defer stop()
	select {
	case <-fired:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// watch looks after writes that hang.
func (r *run) watch(ctx context.Context) {
	for {
		fired, stop := r.clk.After(time.Second)
		select {
		case <-fired:
		case <-ctx.Done():
			stop()
			return
		}
		age := r.age()
		for _, d := range r.delivers {
			d.watch(age)
		}
	}
}

func (r *run) close(ctx context.Context, stopSaving func()) {
	ctx = context.WithoutCancel(ctx)
	note := func(step string, err error) {
		if err != nil {
			r.c.log.Debug("closing", "step", step, "error", err)
		}
	}
	for _, d := range r.delivers {
		d.drop()
	}
	chains := []*Chain{}
	for _, l := range r.lanes {
		chains = append(chains, l.chain)
	}
	if r.again != nil {
		r.again.out.drop()
		chains = append(chains, r.again.before, r.again.behind)
	}
	for _, c := range chains {
		if c != nil {
			note("steps", c.Close(ctx))
		}
	}
	if r.destination != nil {
		note(AtDestination, r.destination.Close())
	}
	if r.source != nil {
		note(AtSource, r.source.Close())
	}
	if r.account != nil {
		for _, p := range r.parts {
			p.settle()
		}
		stopSaving()
		r.writings.Wait()
	}
	if r.rows != nil {
		note(r.windowStep, r.rows.window.Close())
	}
	r.ways.close()
}

// open makes everything ready. What it opened is closed by close.
func (r *run) open(ctx, saving context.Context) error {
	cfg := &r.c.b.cfg
	missing := func(what string) error {
		return fault.Newf("bridge.open", fault.Invalid, "this process has no %s", what).Advise("use the full program, isthmus bridge run")
	}
	at := func(step string, err error) error { return &stepError{step, err} }
	var err error
	if r.letters, err = r.c.openLetters(r.plan.Spec.DeadLetters); err != nil {
		return at(AtDeadLetters, err)
	}
	state, takenOver, err := r.restore()
	if err != nil {
		return at(AtCheckpoint, err)
	}
	if r.plan.Contract != nil {
		if cfg.Contract == nil {
			return at(AtContract, missing("contracts"))
		}
		if r.contract, err = cfg.Contract(r.plan.Contract); err != nil {
			return at(AtContract, err)
		}
	}
	e, err := r.ways.end(r.plan.Spec.Source.Endpoint, r.plan.Spec.Source.Secret)
	if err != nil {
		return at(AtSource, err)
	}
	if cfg.Source == nil {
		return at(AtSource, missing("sources"))
	}
	if r.source, err = cfg.Source(e, r.plan.Spec.Source, r.c.log, r.clk); err != nil {
		return at(AtSource, err)
	}
	names, err := r.source.Partitions(ctx)
	if err == nil && len(names) == 0 {
		err = fault.New("bridge.open", fault.Unavailable, "the source has no partitions")
	}
	if err != nil {
		return at(AtSource, err)
	}
	if takenOver {
		for _, name := range names {
			p, ok := state.Partitions[name]
			if !ok {
				p.Next = -1
			}
			p.Foreign = true
			state.Partitions[name] = p
		}
	}
	if err := r.openDestination(ctx, cfg); err != nil {
		return at(AtDestination, err)
	}
	if err := r.openWindow(ctx, cfg, state, names); err != nil {
		return at(r.windowStep, err)
	}
	r.account = newAccount(checkpoint.Open(r.file()), state, r.clk, r.c.saved)
	r.account.window = r.rows
	r.c.account.Store(r.account)
	r.writings.Go(func() { r.account.run(saving) })
	return r.openLanes(ctx, names)
}

func (r *run) file() string { return filepath.Join(r.c.dir, "checkpoint") }

// restore reads where the bridge stands. takenOver: another process may have carried it on from there.
func (r *run) restore() (state *checkpoint.State, takenOver bool, err error) {
	if state, err = checkpoint.Open(r.file()).Read(); err != nil {
		return nil, false, err
	}
	takenOver = state == nil && (len(r.plan.Known) > 0 || r.plan.Assignment > 1) || state != nil && state.Assignment != r.plan.Assignment
	if state == nil {
		state = &checkpoint.State{Partitions: map[string]checkpoint.Partition{}}
	}
	for _, k := range r.plan.Known {
		at, ok := state.Partitions[k.Partition]
		if !ok {
			at.Next = -1
		}
		if k.Next > at.Next {
			at.Next, at.Reserved = k.Next, max(at.Reserved, k.Reserved, k.Next)
			state.Partitions[k.Partition] = at
		}
	}
	if takenOver && r.window >= 0 {
		if state.Window != nil || len(r.plan.Known) > 0 {
			r.troubles.note(r.windowStep, "another process carried the bridge: windows that were open there are incomplete here")
		}
		state.Window = nil
	}
	state.Assignment = r.plan.Assignment
	return state, takenOver, nil
}

func (r *run) openDestination(ctx context.Context, cfg *Config) error {
	if cfg.Destination == nil {
		return fault.New("bridge.open", fault.Invalid, "this process has no destinations").Advise("use the full program, isthmus bridge run")
	}
	d := &r.plan.Spec.Destination
	args := DestinationArgs{
		Bridge: r.plan.ID, Name: r.plan.Name, Destination: *d, Folders: cfg.Folders, Dir: filepath.Join(r.c.dir, "destination"), Log: r.c.log, Clock: r.clk,
	}
	if r.window >= 0 && cfg.Columns != nil {
		args.Columns = cfg.Columns(r.plan.Spec.Steps[r.window].Window)
	}
	if d.Endpoint != "" {
		e, err := r.ways.end(d.Endpoint, d.Secret)
		if err != nil {
			return err
		}
		args.End = e
	}
	var err error
	r.destination, err = cfg.Destination(ctx, args)
	return err
}

// openWindow goes on with the window's state if it is of the same steps.
func (r *run) openWindow(ctx context.Context, cfg *Config, state *checkpoint.State, names []string) error {
	if r.window < 0 {
		state.Window, state.Steps = nil, ""
		return nil
	}
	if cfg.Window == nil {
		return fault.New("bridge.open", fault.Invalid, "this process has no windows").Advise("use the full program, isthmus bridge run")
	}
	text, err := json.Marshal(r.plan.Spec.Steps[:r.window+1])
	if err != nil {
		return fault.Wrap("bridge.open", fault.Internal, err, "")
	}
	sum := sha256.Sum256(text)
	steps := hex.EncodeToString(sum[:])
	if state.Window != nil && state.Steps != steps {
		r.troubles.note(r.windowStep, "the steps up to the window were changed: windows that were open begin anew")
		state.Window = nil
	}
	state.Steps = steps
	w, err := cfg.Window(ctx, WindowArgs{
		Bridge: r.plan.ID, Name: r.plan.Name, Step: r.plan.Spec.Steps[r.window], References: r.plan.Spec.References, End: r.ways.end,
		Folder: filepath.Join(cfg.Dir, "references"), Lanes: names, State: state.Window, Log: r.c.log, Clock: r.clk, Changed: r.troubles.stir,
	})
	if err != nil {
		return err
	}
	state.Window = nil // what it was is in w now
	r.rows = newRows(r, w, r.maxEvents)
	return nil
}

func (r *run) openLanes(ctx context.Context, names []string) error {
	steps, behind := r.plan.Spec.Steps, []resource.BridgeStep(nil)
	if r.window >= 0 {
		steps, behind = steps[:r.window], steps[r.window+1:]
	}
	deliverTo := func(lane string, p *partition) *deliver {
		d := newDeliver(r, lane, p)
		r.delivers = append(r.delivers, d)
		return d
	}
	add := func(l *lane, steps []resource.BridgeStep, contract Contract) (err error) {
		l.run = r
		l.chain, err = r.newChain(ctx, l.name, steps, contract)
		return err
	}
	for _, name := range names {
		p := newPartition(r, name)
		r.parts = append(r.parts, p)
		l := &lane{name: name, in: p}
		r.lanes = append(r.lanes, l)
		contract := r.contract
		if r.rows != nil {
			contract = nil
			l.out = &fill{r.rows, name}
		} else {
			l.out = deliverTo(name, p)
		}
		if err := add(l, steps, contract); err != nil {
			return err
		}
	}
	if r.rows != nil {
		r.rows.ins, r.rows.out = r.parts, deliverTo(rowsLane, nil)
		l := &lane{name: rowsLane, in: r.rows, out: r.rows.out}
		r.lanes = append(r.lanes, l)
		if err := add(l, behind, r.contract); err != nil {
			return err
		}
	}
	return nil
}

// took measures a batch that is done with.
func (r *run) took(b *batch) {
	if !b.began.IsZero() {
		r.c.b.metrics.took(r.c, r.clk.Now().Sub(b.began))
	}
}
