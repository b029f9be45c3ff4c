package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// carrier is one bridge for as long as the process has it, through all plans and runs.
type carrier struct {
	b        *Bridges
	id, dir  string
	log      *slog.Logger
	before   *carrier // of the same id, which has to end first; may be nil
	ended    chan struct{}
	troubles *troubles
	account  atomic.Pointer[account] // of the run that is, or was last
	rates    rates
	duration atomic.Pointer[prometheus.Observer]

	mu      sync.Mutex // guards the fields below
	plan    plan.Bridge
	gone    bool
	current *run
	last    *run                    // that had lanes and has ended: what the source had then
	stop    context.CancelCauseFunc // of current
	letters Letters
	limits  resource.DeadLetters // of letters
	news    chan struct{}        // of capacity 1: plan or gone changed
}

func newCarrier(b *Bridges, id string, before *carrier) *carrier {
	return &carrier{
		b: b, id: id, dir: filepath.Join(b.cfg.Dir, "bridges", filepath.Base(id)), log: b.log.With("bridge", id), before: before,
		ended: make(chan struct{}), troubles: newTroubles(b.clk), news: make(chan struct{}, 1),
	}
}

func (c *carrier) name() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.plan.Name
}

// errReplaced ends a run whose plan does not hold any more.
var errReplaced = fmt.Errorf("the plan has changed: %w", context.Canceled)

// set takes a plan over. A run that it does not allow, or that goes by another one, has no connections when it returns.
func (c *carrier) set(p plan.Bridge) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.plan
	c.plan = p
	if c.current != nil && (obstacle(&p) != nil || !same(&old, &p)) {
		c.cut()
	}
	c.troubles.stir()
	poke(c.news)
}

// leave ends the carrier.
func (c *carrier) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	c.cut()
	poke(c.news)
}

// cut ends the current run. Called with mu.
func (c *carrier) cut() {
	if c.current != nil {
		c.stop(errReplaced)
		c.current.running.Store(false)
		c.current.ways.close()
	}
}

// obstacle says why a bridge may not run, nil when it may.
func obstacle(p *plan.Bridge) *waiting {
	switch {
	case p.Spec.Paused:
		return &waiting{}
	case p.Problem != "":
		return &waiting{step: p.Step, words: p.Problem}
	}
	for _, name := range p.Spec.Endpoints() {
		step := stepOf(p, name)
		if e, ok := p.Ends[name]; step != "" && (!ok || !e.Open) {
			return &waiting{step: step, words: "the connection of the endpoint " + name + " is not approved: whoever owns the service has to approve it"}
		}
	}
	return nil
}

// stepOf is where an endpoint is needed first; empty for reference tables, which a window waits for itself if it has to.
func stepOf(p *plan.Bridge, endpoint string) string {
	switch endpoint {
	case p.Spec.Source.Endpoint:
		return AtSource
	case p.Spec.Destination.Endpoint:
		return AtDestination
	}
	for _, s := range p.Spec.Steps {
		if s.HTTP != nil && s.HTTP.Endpoint == endpoint {
			return s.Name
		}
	}
	return ""
}

// same tells whether a run by one plan is a run by the other: who provides an end, and where the bridge was when it last reported, change
// all the time.
func same(a, b *plan.Bridge) bool {
	return bytes.Equal(essence(a), essence(b))
}

func essence(p *plan.Bridge) []byte {
	e := *p
	e.Known, e.Spec.Tests, e.Spec.Agent = nil, nil, ""
	e.Ends = make(map[string]plan.BridgeEnd, len(p.Ends))
	for name, end := range p.Ends {
		end.Providers = nil
		e.Ends[name] = end
	}
	b, err := json.Marshal(&e)
	if err != nil {
		panic("bridge: a plan must marshal: " + err.Error())
	}
	return b
}

// end gives what the newest plan says of a private endpoint.
func (c *carrier) end(name string) (plan.BridgeEnd, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.plan.Ends[name]
	return e, ok
}

const steadyAfter = 5 * time.Minute // a run that lasted so long did not fail at once

// work carries the bridge through its runs until ctx ends or it is taken away.
func (c *carrier) work(ctx context.Context) {
	defer close(c.ended)
	defer c.b.left(c)
	if c.before != nil {
		<-c.before.ended // it ends by itself: it was told to
		c.before = nil
	}
	back := backoff.Backoff{Base: 500 * time.Millisecond, Max: time.Minute}
	for {
		began := c.b.clk.Now()
		r, runCtx, why := c.begin(ctx)
		if r == nil {
			if why == nil {
				break
			}
			c.troubles.clear()
			select {
			case <-c.news:
			case <-ctx.Done():
			}
			continue
		}
		err := safely("the bridge", func() error { return r.carry(runCtx) })
		ended := errors.Is(context.Cause(runCtx), context.Canceled)
		c.finish(r)
		c.troubles.clear()
		if err == nil || ended {
			back.Reset()
			continue
		}
		w := waiting{words: words(err), failed: fault.KindOf(err) == fault.Invalid}
		if s, ok := errors.AsType[*stepError](err); ok {
			w.step = s.step
		}
		if c.b.clk.Now().Sub(began) > steadyAfter {
			back.Reset()
		}
		c.log.Warn("the bridge waits", "step", w.step, "error", err)
		c.troubles.note(w.step, w.words)
		c.troubles.begin("open", w)
		c.troubles.pause(ctx, back.Next()) // what it waits for stands in the status until all is open
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.letters != nil {
		if err := c.letters.Close(); err != nil {
			c.log.Warn("dead letters do not close", "error", err)
		}
		c.letters = nil
	}
}

// begin makes a run if there may be one now. Without one why is not nil, or the carrier has to end.
func (c *carrier) begin(ctx context.Context) (r *run, runCtx context.Context, why *waiting) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone || ctx.Err() != nil {
		return nil, nil, nil
	}
	if why := obstacle(&c.plan); why != nil {
		return nil, nil, why
	}
	runCtx, stop := context.WithCancelCause(ctx)
	w := &ways{dial: c.b.out.Dial, tls: c.b.out.TLS, token: c.b.out.Token, secrets: filepath.Join(c.b.cfg.Dir, "secrets"), identity: c.plan.Identity, latest: c.end}
	c.current, c.stop = newRun(c, c.plan, w, stop), stop
	return c.current, runCtx, nil
}

// finish takes the run away.
func (c *carrier) finish(r *run) {
	r.fail(nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = nil
	if len(r.parts) > 0 {
		c.last = r
	}
}

// began is told when all of a run is open.
func (c *carrier) began() {
	c.troubles.end("open")
	c.log.Info("the bridge runs")
}

// saved is told how writing the checkpoint went.
func (c *carrier) saved(err error) {
	if err == nil {
		c.troubles.end("save")
		return
	}
	c.troubles.note(AtCheckpoint, words(err))
	c.troubles.begin("save", waiting{step: AtCheckpoint, words: words(err)})
}

// openLetters opens the store of dead letters, or keeps the one that is open.
func (c *carrier) openLetters(limits resource.DeadLetters) (Letters, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.letters != nil && c.limits == limits {
		return c.letters, nil
	}
	if c.b.cfg.Letters == nil {
		return nil, fault.New("bridge.open", fault.Invalid, "this process keeps no dead letters").Advise("use the full program, isthmus bridge run")
	}
	if c.letters != nil {
		old := c.letters
		c.letters = nil
		if err := old.Close(); err != nil {
			return nil, err
		}
	}
	l, err := c.b.cfg.Letters(LettersArgs{Bridge: c.id, Limits: limits, Dir: filepath.Join(c.dir, "dead-letters"), Log: c.log, Clock: c.b.clk})
	if err != nil {
		return nil, err
	}
	c.letters, c.limits = l, limits
	return l, nil
}
