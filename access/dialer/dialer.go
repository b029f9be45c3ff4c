package dialer

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/transport"
)

// Config is what a dialer needs. Pass alone must be given; every other field left at zero means the default named beside it.
type Config struct {
	// Pass asks the control plane for a fresh pass, with a key of its own. It is never called twice at once.
	Pass func(ctx context.Context) (Pass, error)
	// File keeps the pass for other processes of the same person, mode 0600; empty: it is not kept. Holder says whose it is: a pass
	// that was kept for another is not used.
	File, Holder string

	Patience       time.Duration // to find a way to a target that cannot be reached at once, 10 s
	Settle         time.Duration // for a plan with a new grant to arrive where it counts, 2 s
	AcceptTimeout  time.Duration // for the target to answer, 15 s
	MaxConnections int           // of one listener at one time, 1024
	Transport      transport.Config
}

func (c Config) withDefaults() Config {
	span := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	span(&c.Patience, 10*time.Second)
	span(&c.Settle, 2*time.Second)
	span(&c.AcceptTimeout, 15*time.Second)
	if c.MaxConnections <= 0 {
		c.MaxConnections = 1024
	}
	t := &c.Transport
	t.Direct = "" // nobody dials a person
	if t.ProxyURL == "" {
		t.ProxyFromEnv = true
	}
	// An address that only holds inside the plant must not delay everybody who is elsewhere.
	span(&t.DirectTimeout, 400*time.Millisecond)
	span(&t.FailureMemory, 200*time.Millisecond)
	return c
}

// Dialer is a person's way to targets. Make it with New, start it with Run. Its methods may be called at once.
type Dialer struct {
	cfg Config
	log *slog.Logger
	clk clock.Clock

	up   chan struct{} // closed once there is a transport
	over chan struct{} // closed when Run has ended

	mu       sync.Mutex // guards the fields below
	pass     *Pass      // never changed once it is here; nil: none
	asking   chan struct{}
	asked    error // what came of the last request for a pass
	renewed  chan struct{}
	creds    *identity.Credentials
	way      *transport.Transport
	started  bool
	ended    error
	sessions map[*carried]struct{}
}

// New returns a dialer that has not started. It reads the pass that was kept, if there is one that is good, and asks nobody.
func New(cfg Config, log *slog.Logger, clk clock.Clock) (*Dialer, error) {
	if cfg.Pass == nil {
		return nil, fault.New("dialer.New", fault.Internal, "nobody to ask for a pass")
	}
	d := &Dialer{
		cfg: cfg.withDefaults(), log: log, clk: clk, up: make(chan struct{}), over: make(chan struct{}), renewed: make(chan struct{}),
		sessions: map[*carried]struct{}{},
	}
	if p, ok := d.load(); ok && p.Good(clk.Now()) {
		if _, err := credentials(&p); err == nil {
			d.pass = &p
		}
	}
	return d, nil
}

func credentials(p *Pass) (*identity.Credentials, error) {
	return identity.NewCredentials([]byte(p.Certificate), []byte(p.Key), []byte(p.Roots))
}

// Run keeps the pass fresh and carries the tunnels until ctx ends, and returns when everything it started has ended. It fails when there is
// no pass and none can be had. It may be called once.
func (d *Dialer) Run(ctx context.Context) (err error) {
	const op = "dialer.Run"
	d.mu.Lock()
	again := d.started
	d.started = true
	d.mu.Unlock()
	if again {
		return fault.New(op, fault.Internal, "the dialer was started before")
	}
	defer func() {
		d.mu.Lock()
		d.ended = err
		d.mu.Unlock()
		close(d.over)
	}()
	p, err := d.Pass(ctx)
	if err != nil {
		return err
	}
	creds, err := credentials(&p)
	if err != nil {
		return err
	}
	way := transport.New(d.cfg.Transport, creds, d.log, d.clk, nil)
	d.mu.Lock()
	d.creds, d.way = creds, way
	d.adoptLocked(d.pass)
	d.mu.Unlock()
	close(d.up)
	var renewal sync.WaitGroup
	renewing, stop := context.WithCancel(ctx)
	renewal.Go(func() { d.keepFresh(renewing) })
	err = way.Run(ctx)
	stop()
	renewal.Wait()
	return err
}

// keepFresh renews the pass whenever half of its life is over, until ctx ends.
func (d *Dialer) keepFresh(ctx context.Context) {
	pause := backoff.Backoff{Base: 5 * time.Second, Max: 2 * time.Minute}
	for failed := false; ctx.Err() == nil; {
		d.mu.Lock()
		p, renewed := d.pass, d.renewed
		d.mu.Unlock()
		wait := max(p.half().Sub(d.clk.Now()), time.Second)
		if failed {
			wait = pause.Next()
		}
		due, stop := d.clk.After(wait)
		select {
		case <-due:
		case <-renewed: // somebody else did
			stop()
			failed = false
			pause.Reset()
			continue
		case <-ctx.Done():
			stop()
			return
		}
		_, err := d.renew(ctx, false)
		if failed = err != nil; !failed {
			pause.Reset()
		} else if ctx.Err() == nil {
			d.log.Warn("the pass cannot be renewed", "good until", p.Expires, "err", err)
		}
	}
}

// Pass returns the pass of the moment. One that has lapsed, or is missing, is asked for; the fault then says why none was given. It works
// before Run.
func (d *Dialer) Pass(ctx context.Context) (Pass, error) {
	d.mu.Lock()
	p := d.pass
	d.mu.Unlock()
	if p != nil && p.Good(d.clk.Now()) {
		return *p, nil
	}
	return d.renew(ctx, false)
}

// Renew asks for a fresh pass, which knows of grants made meanwhile. On a fault the pass there was stays in use while it is good.
func (d *Dialer) Renew(ctx context.Context) (Pass, error) { return d.renew(ctx, true) }

// renew asks, or waits for an answer that is on its way. A pass which another process of the person has fetched is as good, unless
// asked says that the control plane has to be.
func (d *Dialer) renew(ctx context.Context, asked bool) (Pass, error) {
	const op = "dialer.Renew"
	d.mu.Lock()
	if under := d.asking; under != nil {
		d.mu.Unlock()
		select {
		case <-under:
		case <-ctx.Done():
			return Pass{}, fault.Wrap(op, fault.Timeout, context.Cause(ctx), "no pass in the time given")
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.asked != nil {
			return Pass{}, d.asked
		}
		return *d.pass, nil
	}
	if now := d.clk.Now(); !asked && d.pass != nil && d.pass.Good(now) && now.Before(d.pass.half()) { // since we looked
		defer d.mu.Unlock()
		return *d.pass, nil
	}
	done := make(chan struct{})
	d.asking = done
	before := d.pass
	d.mu.Unlock()

	p, err := d.fetch(ctx, before, asked)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.asking, d.asked = nil, err; err == nil {
		d.adoptLocked(&p)
	} else if before != nil && fault.KindOf(err) == fault.Denied { // by somebody who knows: no grant is left
		none := *before
		none.Grants = nil
		d.adoptLocked(&none)
	}
	close(done)
	return p, err
}

// fetch gets a pass that can be used.
func (d *Dialer) fetch(ctx context.Context, before *Pass, asked bool) (Pass, error) {
	const op = "dialer.Renew"
	now := d.clk.Now()
	if p, ok := d.load(); !asked && ok && !p.is(before) && p.Good(now) && now.Before(p.half()) {
		if _, err := credentials(&p); err == nil {
			return p, nil
		}
	}
	p, err := d.cfg.Pass(ctx)
	if err != nil {
		return Pass{}, err
	}
	now = d.clk.Now()
	if p.Issued.IsZero() {
		p.Issued = now
	}
	if _, err := credentials(&p); err != nil {
		return Pass{}, err
	}
	if !p.Good(now) {
		return Pass{}, fault.Newf(op, fault.Invalid, "the control plane gave a pass until %s, when by this machine's clock it is %s", moment(p.Expires), moment(now)).
			Advise("set the clock of this machine (NTP)")
	}
	d.save(&p)
	return p, nil
}

// adoptLocked makes a pass the one in use. The caller holds mu.
func (d *Dialer) adoptLocked(p *Pass) {
	if d.pass != p {
		d.pass = p
		close(d.renewed)
		d.renewed = make(chan struct{})
	}
	if d.way == nil {
		return
	}
	if err := d.creds.Replace([]byte(p.Certificate), []byte(p.Key), []byte(p.Roots)); err != nil { // it was read before
		d.log.Error("a pass cannot be used", "err", err)
		return
	}
	d.way.SetRelays(p.Relays)
}

// transport waits until there is one.
func (d *Dialer) transport(ctx context.Context) (*transport.Transport, error) {
	const op = "dialer.Dial"
	select {
	case <-d.up:
		return d.way, nil
	case <-d.over:
	case <-ctx.Done():
		return nil, fault.Wrap(op, fault.Timeout, context.Cause(ctx), "the dialer has not started in the time given")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended != nil {
		return nil, d.ended
	}
	return nil, fault.New(op, fault.Unavailable, "this program is stopping")
}

// moment writes a time for people, in their own zone.
func moment(t time.Time) string { return t.Local().Format("15:04:05 on 2 January (MST)") }
