package accessnode

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/isthmus-io/isthmus/access/gate"
	"github.com/isthmus-io/isthmus/access/journal"
	"github.com/isthmus-io/isthmus/access/sshproxy"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/membership"
)

// Access is what stands behind a gate.
type Access struct {
	member  *membership.Member
	journal *journal.Journal
	ssh     *sshproxy.Proxy
}

// Open opens the journal below dir, the member's data directory, where the proxy keeps its host key too. What it returns has to be closed.
func Open(dir string, m *membership.Member, log *slog.Logger, clk clock.Clock) (*Access, error) {
	j, err := journal.Open(journal.Config{Dir: filepath.Join(dir, "access")}, log, clk)
	if err != nil {
		return nil, err
	}
	c := certifier{m}
	ssh := sshproxy.New(sshproxy.Config{Certify: c.session, HostCertify: c.host, Journal: j, Dir: filepath.Join(dir, "access", "ssh")}, log, clk)
	return &Access{member: m, journal: j, ssh: ssh}, nil
}

// Close lets go of the journal, after Run.
func (a *Access) Close() error { return a.journal.Close() }

// Journal is where sessions are told.
func (a *Access) Journal() *journal.Journal { return a.journal }

// Gate fills in what a gate needs and nobody gave.
func (a *Access) Gate(c gate.Config) gate.Config {
	if c.Journal == nil {
		c.Journal = a.journal
	}
	if c.SSH == nil {
		c.SSH = a.ssh
	}
	return c
}

// Run runs carry, which lets people in, and the journal until carry has ended and what it noted is on disk. set is told how far the
// control plane's clock is from ours, now and again.
func (a *Access) Run(ctx context.Context, set func(offset time.Duration), carry func(context.Context) error) error {
	a.member.OnOffset(func(d time.Duration) {
		a.journal.SetOffset(d)
		set(d)
	})
	later, end := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- a.journal.Run(later, sender{a.member}) }()
	err := carry(ctx)
	end()
	if late := <-ended; err == nil {
		err = late
	}
	return err
}

// Problems says in words what does not work now.
func (a *Access) Problems() []string { return a.journal.Problems() }
