package bridge

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/isthmus-io/isthmus/bridge/checkpoint"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// replayLane is the lane of dead letters that are sent again.
const replayLane = "replay"

// again is the parts of a run that dead letters go through once more.
type again struct {
	before *Chain // steps up to the window; nil without one
	behind *Chain // those behind it, or all, and the contract
	out    *deliver
}

// send takes dead letters through everything. It ends early when ctx or the run does: nothing is known of them then.
func (r *run) send(ctx context.Context, letters []*event.Event) error {
	r.replays.Lock()
	defer r.replays.Unlock()
	if !r.running.Load() {
		return fault.New("bridge.Replay", fault.Unavailable, "the bridge has stopped")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	defer r.troubles.forget("/" + replayLane)
	if r.again == nil {
		a, err := r.newAgain(ctx)
		if err != nil {
			return err
		}
		r.again = a
	}
	for len(letters) > 0 {
		n := min(len(letters), r.maxEvents)
		if err := r.sendSome(ctx, copies(letters[:n])); err != nil {
			if ctx.Err() != nil {
				return fault.New("bridge.Replay", fault.Unavailable, "the replay was ended before all was sent").Advise("replay them again: what was sent is marked").Because(err)
			}
			return err
		}
		letters = letters[n:]
	}
	return nil
}

func (r *run) newAgain(ctx context.Context) (a *again, err error) {
	a = &again{out: newDeliver(r, replayLane, nil)}
	steps := r.plan.Spec.Steps
	if r.window >= 0 {
		if a.before, err = r.newChain(ctx, replayLane, steps[:r.window], nil); err != nil {
			return nil, err
		}
		steps = steps[r.window+1:]
	}
	a.behind, err = r.newChain(ctx, replayLane, steps, r.contract)
	return a, err
}

// sendSome sends letters of a batch's size. Those that were read go into the window, rows go behind it.
func (r *run) sendSome(ctx context.Context, letters []*event.Event) error {
	var read, made []*event.Event
	for _, e := range letters {
		e.Repeat = true
		if r.rows != nil && e.Origin.Name == "" {
			read = append(read, e)
		} else {
			made = append(made, e)
		}
	}
	count := func(count func(*checkpoint.State)) { r.account.change(count) }
	byPartition := map[string][]*event.Event{}
	for _, e := range read {
		byPartition[e.Origin.Partition] = append(byPartition[e.Origin.Partition], e)
	}
	for name, list := range byPartition {
		b, err := r.through(ctx, r.again.before, list)
		if err != nil {
			return err
		}
		b.land = count
		if err := r.rows.put(ctx, name, b); err != nil {
			return err
		}
	}
	if len(made) > 0 {
		b, err := r.through(ctx, r.again.behind, made)
		if err != nil {
			return err
		}
		for _, e := range b.out {
			if o := &e.Origin; o.Name == "" {
				o.Name = fmt.Sprintf("replay/%s/%d/%d", o.Partition, o.Sequence, o.Index)
			}
		}
		b.land = count
		if err := r.again.out.put(ctx, b); err != nil {
			return err
		}
		if err := r.again.out.flush(ctx); err != nil {
			return err
		}
	}
	return r.account.save(ctx)
}

// through takes letters through a chain.
func (r *run) through(ctx context.Context, c *Chain, list []*event.Event) (*batch, error) {
	b := &batch{in: list, out: copies(list), began: r.clk.Now()}
	l := &lane{run: r, name: replayLane, chain: c}
	for _, step := range c.links {
		if err := l.process(ctx, step, b); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// newChain makes steps ready.
func (r *run) newChain(ctx context.Context, lane string, steps []resource.BridgeStep, contract Contract) (*Chain, error) {
	cfg := &r.c.b.cfg
	return NewChain(ctx, ChainArgs{
		Bridge: r.plan.ID, Name: r.plan.Name, Lane: lane, Steps: steps, Contract: contract, Step: cfg.Step, End: r.ways.end,
		Modules: filepath.Join(cfg.Dir, "modules"), Log: r.c.log, Clock: r.clk,
	})
}
