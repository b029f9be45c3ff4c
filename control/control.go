package control

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/signin"
	"github.com/isthmus-io/isthmus/store"
	"github.com/isthmus-io/isthmus/throttle"
)

// Denied decisions of one principal that are recorded: at once, and one more each.
const (
	deniedBurst = 20
	deniedEvery = time.Minute
)

// Config is how a control plane behaves. The zero value works for a deployment nobody joins.
type Config struct {
	// TrustDomain is the authority's own when empty, and must be the same otherwise.
	TrustDomain string
	// Addresses are the host:port at which joiners reach the control plane (a relay's, if it passes them on); they stand in join
	// tokens.
	Addresses []string
	// CertificateTTL is the life of an agent's certificate, 7 days when 0; ServingTTL that of a hub's, 90 days when 0.
	CertificateTTL, ServingTTL time.Duration
	// ClockTolerance is how far a joiner's clock may be off, 2 minutes when 0.
	ClockTolerance time.Duration
	// Keep is how often reports and uses of tokens are written down, 15 s when 0.
	Keep time.Duration
	// CheckpointEvery is how often audit chains that moved get a signed checkpoint, 10 minutes when 0.
	CheckpointEvery time.Duration

	// Recordings is the directory in which recordings of sessions are kept; empty: none are taken.
	Recordings string
	// MaxRecording bounds one recording in bytes, 1 GiB when 0; MaxRecordings all of them together, 100 GiB when 0.
	MaxRecording, MaxRecordings int64
	// KeepRecordings is how long a recording is kept, and KeepSessions how long a session is listed, after its end; a year each when 0, for
	// good when negative. The audit log keeps what a session was for good.
	KeepRecordings, KeepSessions time.Duration
	// SignInPrivate lets identity providers be at private, loopback and link-local addresses, and behind the proxy that the environment
	// names. Owners of tenants choose providers as they choose receivers of webhooks.
	SignInPrivate bool
	// WebhookPrivate lets webhooks go to private and link-local addresses. Without it owners of tenants cannot use them to look around in
	// the control plane's own network.
	WebhookPrivate bool
	// WebhookRoots are the authorities that receivers of webhooks are verified by; those of this machine when nil.
	WebhookRoots *x509.CertPool
}

// Control decides. Make it with New; its methods are safe for concurrent use, and those that change something work without Run.
type Control struct {
	cfg       Config
	store     *store.Store
	authority *identity.Authority
	compiler  compiler
	log       *slog.Logger
	clock     clock.Clock
	metrics   *metrics
	presence  presence
	carried   carried
	uses      tokenUses
	verifier  *signin.Verifier
	denied    *throttle.Throttle[string] // decisions that were denied, by who tried
	requests  *throttle.Throttle[string] // for access, by person
	passes    *throttle.Throttle[string] // and certificates, by person
	refusals  *throttle.Throttle[string] // of sessions, by the process that told of them
	told      *throttle.Throttle[string] // records of sessions, by the same
	certified *throttle.Throttle[string] // keys, by the process that asked
	stirs     stirs
	receiving receiving
	granted   chan struct{} // holds a signal when grants have changed
	posted    chan struct{} // holds a signal when webhooks have something to send
	receivers *http.Client  // of webhooks

	sweeping sync.Mutex // guards absences
	absences map[identity.ID]absence

	writing sync.Mutex // held by a change from its transaction until the world shows it

	mu       sync.RWMutex // guards the fields below
	world    *world
	watchers map[placeKey]map[*watcher]struct{}
}

// New reads what the store holds. The registerer may be nil.
func New(cfg Config, st *store.Store, authority *identity.Authority, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) (*Control, error) {
	op := "control.New"
	if cfg.TrustDomain == "" {
		cfg.TrustDomain = authority.TrustDomain
	}
	if cfg.TrustDomain != authority.TrustDomain {
		return nil, fault.Newf(op, fault.Invalid, "the trust domain is %q in the configuration and %q in the authority's certificate", cfg.TrustDomain, authority.TrustDomain).
			Advise("a deployment keeps its trust domain: take it out of the configuration, or start with an empty data directory")
	}
	cfg.CertificateTTL = orDuration(cfg.CertificateTTL, 7*24*time.Hour)
	cfg.ServingTTL = orDuration(cfg.ServingTTL, 90*24*time.Hour)
	cfg.ClockTolerance = orDuration(cfg.ClockTolerance, 2*time.Minute)
	cfg.Keep = orDuration(cfg.Keep, 15*time.Second)
	cfg.MaxRecording, cfg.MaxRecordings = cmp.Or(cfg.MaxRecording, 1<<30), cmp.Or(cfg.MaxRecordings, 100<<30)
	cfg.KeepRecordings, cfg.KeepSessions = cmp.Or(cfg.KeepRecordings, keptFor), cmp.Or(cfg.KeepSessions, keptFor)
	cfg.CheckpointEvery = orDuration(cfg.CheckpointEvery, defaultCheckpointEvery)
	m, err := newMetrics(reg)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "")
	}
	c := &Control{
		cfg: cfg, store: st, authority: authority, log: log, clock: clk, metrics: m,
		compiler: compiler{trustDomain: cfg.TrustDomain, roots: string(authority.CertificatePEM()), now: clk.Now},
		carried:  carried{heard: map[string]*hearing{}},
		presence: presence{seen: map[identity.ID]*sighting{}},
		uses:     tokenUses{at: map[string]time.Time{}},
		verifier: signin.NewVerifier(signin.Config{Private: cfg.SignInPrivate}, clk),
		watchers: map[placeKey]map[*watcher]struct{}{},
		denied:   throttle.New[string](throttle.Config{Burst: deniedBurst, Every: deniedEvery}, clk),
		absences: map[identity.ID]absence{},
		requests: throttle.New[string](throttle.Config{Burst: requestBurst, Every: requestEvery}, clk),
		passes:   throttle.New[string](throttle.Config{Burst: passBurst, Every: passEvery}, clk),
		refusals: throttle.New[string](throttle.Config{Burst: refusedBurst, Every: refusedEvery}, clk),
		told:     throttle.New[string](throttle.Config{Burst: toldBurst, Every: toldEvery}, clk),

		certified: throttle.New[string](throttle.Config{Burst: certifiedBurst, Every: certifiedEvery}, clk),
		stirs:     stirs{waiting: map[string]map[chan struct{}]struct{}{}},
		granted:   make(chan struct{}, 1),
		posted:    make(chan struct{}, 1),
	}
	c.receivers = c.newReceivers()
	if err := c.reload(context.Background()); err != nil {
		return nil, err
	}
	return c, nil
}

func orDuration(d, instead time.Duration) time.Duration {
	if d <= 0 {
		return instead
	}
	return d
}

// Run keeps what agents report and when tokens were used, forgets what has lapsed, and follows what other servers on the same
// database changed, until the context ends. Then it writes down what is left and returns nil.
func (c *Control) Run(ctx context.Context) error {
	step := c.cfg.Keep
	if c.store.Shared() {
		step = min(step, time.Second)
	}
	var others sync.WaitGroup
	defer others.Wait()
	others.Go(func() { c.ageGrants(ctx) })
	others.Go(func() { c.deliverWebhooks(ctx) })
	others.Go(func() { c.checkpointChains(ctx) })
	others.Go(func() { c.keepCarried(ctx) })
	last := c.clock.Now()
	for {
		fired, stop := c.clock.After(step)
		select {
		case <-ctx.Done():
			stop()
			// The end of the caller's context is no reason to lose the last reports.
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			c.keep(late)
			return nil
		case <-fired:
		}
		if c.store.Shared() {
			c.follow(ctx)
		}
		if now := c.clock.Now(); now.Sub(last) >= c.cfg.Keep {
			last = now
			c.keep(ctx)
		}
	}
}

// keep writes what is only in memory. A failure is logged and tried again next time: none of it decides anything.
func (c *Control) keep(ctx context.Context) {
	if err := errors.Join(c.keepPresence(ctx), c.keepUses(ctx), c.forget(ctx), c.sweep(ctx), c.loseSessions(ctx), c.forgetRecordings(ctx)); err != nil {
		c.log.Warn("control: reports could not be written down", "error", err)
	}
}

// forget drops revocations and join tokens which time has made void. Used tokens are kept for 30 days after they expired, so that a
// second use can be told from a wrong token.
func (c *Control) forget(ctx context.Context) error {
	now := c.clock.Now()
	return c.store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.ForgetRevoked(now); err != nil {
			return err
		}
		if err := tx.ForgetAPITokens(now.Add(-keepEndedTokens)); err != nil {
			return err
		}
		if _, err := tx.ForgetJoinTokens(now.Add(-maxJoinTTL)); err != nil {
			return err
		}
		if err := tx.ForgetLeaders(now.Add(-longestLate)); err != nil || c.cfg.KeepSessions < 0 {
			return err
		}
		return tx.ForgetSessions(now.Add(-c.cfg.KeepSessions), forgottenAtOnce)
	})
}

// reload reads the world anew and wakes everybody.
func (c *Control) reload(ctx context.Context) error {
	var w *world
	if err := c.store.View(ctx, func(tx *store.Tx) (err error) {
		w, err = c.loadWorld(tx)
		return err
	}); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.world = w
	c.wake(dirty{all: true})
	return nil
}

// follow reloads when another server has written since.
func (c *Control) follow(ctx context.Context) {
	c.writing.Lock()
	defer c.writing.Unlock()
	var now int64
	err := c.store.View(ctx, func(tx *store.Tx) (err error) {
		now, err = tx.Revision()
		return err
	})
	c.mu.RLock()
	same := now == c.world.revision
	c.mu.RUnlock()
	if err == nil && !same {
		err = c.reload(ctx)
	}
	if err != nil {
		c.log.Warn("control: changes of other servers could not be read", "error", err)
	}
}
