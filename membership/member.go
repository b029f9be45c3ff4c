package membership

import (
	"context"
	"crypto/tls"
	"log/slog"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
)

// Member is a process that joined. Make it with Open; start it with Run, once.
type Member struct {
	cfg     Config
	log     *slog.Logger
	clock   clock.Clock
	files   files
	caller  *caller
	creds   *identity.Credentials
	updates chan plan.Plan // holds at most the newest plan not yet taken

	poke    chan struct{} // a report is due
	renewed chan struct{} // the certificate changed: follow the plan over a new connection
	more    chan struct{} // there is one more serving certificate to renew

	mu         sync.Mutex // guards the fields below
	kept       kept
	unkept     bool // kept is newer than its file
	plan       plan.Plan
	havePlan   bool
	planUnkept bool // plan is newer than its file
	connected  bool
	report     func() Report
	serving    map[string]*serving
	problems   map[string]string // by what is troubled
}

// Open reads what Join wrote. NotFound when nobody joined there. A certificate that has lapsed is no failure: Run renews it.
func Open(cfg Config, log *slog.Logger, clk clock.Clock) (*Member, error) {
	op := "membership.Open"
	f, err := newFiles(cfg)
	if err != nil {
		return nil, err
	}
	var k kept
	if err := f.load(identityFile, &k); err != nil {
		switch fault.KindOf(err) {
		case fault.NotFound:
			return nil, fault.Newf(op, fault.NotFound, "this machine has not joined: there is no identity in %s", cfg.Dir).Because(err).
				Advise("make a join token where you are logged in (isthmus token join --help), and join with it on this machine")
		case fault.Invalid:
			return nil, fault.New(op, fault.Invalid, fault.Message(err)).Because(err).
				Advise("restore it from a backup, or join again with a new token and --force")
		default:
			return nil, err
		}
	}
	creds, err := identity.NewCredentials([]byte(k.Certificate), []byte(k.Key), []byte(k.Roots))
	if err != nil {
		return nil, fault.New(op, fault.Invalid, f.path(identityFile)+" is damaged").Because(err).
			Advise("restore it from a backup, or join again with a new token and --force")
	}
	if len(cfg.Servers) > 0 {
		k.Servers = cfg.Servers
	}
	m := &Member{
		cfg: cfg, log: log.With("member", string(k.ID)), clock: clk, files: f, creds: creds, kept: k,
		updates: make(chan plan.Plan, 1), poke: make(chan struct{}, 1), renewed: make(chan struct{}, 1), more: make(chan struct{}, 1),
		serving: map[string]*serving{}, problems: map[string]string{},
	}
	conf := creds.ClientTLS(identity.Only(identity.ControlID(k.TrustDomain)), "h2")
	conf.NextProtos = []string{"h2", "http/1.1"}
	conf.VerifyConnection = func(cs tls.ConnectionState) error {
		return verifyServer(cs, creds.Roots(), k.TrustDomain, clk.Now())
	}
	if m.caller, err = newCaller(cfg, k.Servers, conf, clk); err != nil {
		return nil, err
	}
	if err := m.loadPlan(); err != nil {
		return nil, err
	}
	return m, nil
}

// loadPlan takes the plan from the disk. A damaged one is as good as none: the control plane has it too.
func (m *Member) loadPlan() error {
	p, err := m.files.loadPlan()
	switch {
	case err == nil && p.Revision != "" && p.Self.ID == string(m.kept.ID):
		m.plan, m.havePlan = p, true
	case fault.KindOf(err) == fault.Denied:
		return err
	case err != nil && fault.KindOf(err) != fault.NotFound:
		m.log.Error("the plan on disk cannot be read; doing nothing until the control plane sends it again", "error", err)
	}
	return nil
}

// Credentials returns who this member is to others. They change in place when the certificate is renewed.
func (m *Member) Credentials() *identity.Credentials { return m.creds }

// Plan returns the newest plan; ok is false when there was none yet.
func (m *Member) Plan() (p plan.Plan, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.plan, m.havePlan
}

// Updates announces plans, first the one from the disk. A plan not taken before the next one comes is skipped: the newest counts.
// The channel is never closed.
func (m *Member) Updates() <-chan plan.Plan { return m.updates }

// Report sets what the member says of itself. fn is called from Run's goroutine every few seconds and must be quick.
func (m *Member) Report(fn func() Report) {
	m.mu.Lock()
	m.report = fn
	m.mu.Unlock()
	m.ReportSoon()
}

// ReportSoon lets the next report go out without waiting to be due, as after carrying out a plan.
func (m *Member) ReportSoon() { signal(m.poke) }

// Connected tells whether the plan is being followed right now.
func (m *Member) Connected() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.connected
}

// Run announces the plan on disk, follows the plan, renews certificates and reports, until the context ends (nil) or the control plane
// says that the member was removed (Denied, after announcing an empty plan).
func (m *Member) Run(ctx context.Context) error {
	defer m.caller.close()
	if p, ok := m.Plan(); ok {
		m.announce(p)
	}
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() error { return m.follow(inner) })
	g.Go(func() error { return m.renewals(inner) })
	g.Go(func() error { return m.reports(inner) })
	if err := g.Wait(); ctx.Err() == nil {
		return err
	}
	return nil
}

// adopt makes a plan the current one, writes it, and announces it.
func (m *Member) adopt(p plan.Plan) {
	m.mu.Lock()
	if m.havePlan && m.plan.Revision == p.Revision {
		m.mu.Unlock()
		return
	}
	m.plan, m.havePlan, m.planUnkept = p, true, true
	if p.Roots != "" && p.Roots != m.kept.Roots {
		if err := m.creds.SetRoots([]byte(p.Roots)); err != nil {
			m.log.Error("the plan's authorities cannot be read; keeping those from before", "error", err)
		} else {
			m.kept.Roots, m.unkept = p.Roots, true
		}
	}
	m.mu.Unlock()
	m.saveWhatIsNew()
	m.announce(p)
	m.ReportSoon()
}

// saveWhatIsNew brings the disk up to date. When the disk refuses, it is tried again with the next look at the report.
func (m *Member) saveWhatIsNew() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.planUnkept {
		err := m.files.savePlan(m.plan)
		m.planUnkept = err != nil
		m.troubleLocked("plan", "the newest plan is not on disk, and a restart would begin with an older one", err)
	}
	if m.unkept {
		err := m.files.save(identityFile, m.kept)
		m.unkept = err != nil
		m.troubleLocked("identity", "the renewed certificate is not on disk", err)
	}
}

// announce replaces a plan nobody took yet. Only follow and the start of Run send, so the second send finds room.
func (m *Member) announce(p plan.Plan) {
	for {
		select {
		case m.updates <- p:
			return
		default:
		}
		select {
		case <-m.updates:
		default:
		}
	}
}

// trouble remembers what is wrong for the report, and logs when that begins, changes or ends.
func (m *Member) trouble(what, words string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.troubleLocked(what, words, err)
}

func (m *Member) troubleLocked(what, words string, err error) {
	before, was := m.problems[what]
	switch {
	case err == nil && was:
		delete(m.problems, what)
		m.log.Info("over: " + before)
	case err != nil:
		now := words + ": " + fault.Message(err)
		if now != before {
			m.log.Warn(words, "error", err, "next", fault.Next(err))
		}
		m.problems[what] = now
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// emptied is what a removed member carries out: nothing.
func emptied(p plan.Plan) plan.Plan { return plan.Plan{Self: p.Self, Roots: p.Roots}.Seal() }
