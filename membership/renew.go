package membership

import (
	"context"
	"crypto/x509"
	"math/rand/v2"
	"time"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
)

type renewRequest struct {
	CSR   string   `json:"csr"`
	Hosts []string `json:"hosts,omitempty"`
}

type certificateReply struct {
	Certificate string `json:"certificate"`
	Roots       string `json:"roots"`
}

// renewal is one certificate to be kept fresh. Only the renewals goroutine touches it.
type renewal struct {
	what string
	due  time.Time
	wait backoff.Backoff
	do   func(context.Context) (*x509.Certificate, error)
}

// lookAgain bounds a wait: timers stand still while a machine sleeps, and clocks are set.
const lookAgain = 10 * time.Minute

// renewPause is the longest pause between attempts to renew one certificate.
const renewPause = 5 * time.Minute

// renewals renews the identity and the serving certificates, each after a third of its life.
func (m *Member) renewals(ctx context.Context) error {
	all := []*renewal{{what: "certificate", due: renewAt(m.creds.Leaf()), wait: backoff.Backoff{Max: renewPause}, do: m.renewIdentity}}
	known := map[*serving]bool{}
	for {
		for _, s := range m.servings() {
			if !known[s] {
				known[s] = true
				all = append(all, &renewal{what: s.what(), due: renewAt(s.leaf()), wait: backoff.Backoff{Max: renewPause},
					do: func(ctx context.Context) (*x509.Certificate, error) { return m.renewServing(ctx, s) }})
			}
		}
		now, next := m.clock.Now(), lookAgain
		for _, r := range all {
			if !now.Before(r.due) {
				m.renew(ctx, r)
			}
			next = min(next, max(r.due.Sub(m.clock.Now()), 0))
		}
		look, stop := m.clock.After(next)
		select {
		case <-look:
		case <-m.more:
		case <-ctx.Done():
			stop()
			return ctx.Err()
		}
		stop()
	}
}

func (m *Member) renew(ctx context.Context, r *renewal) {
	leaf, err := r.do(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		r.due = m.clock.Now().Add(r.wait.Next())
		m.log.Warn("a "+r.what+" could not be renewed", "error", err, "again", r.due, "next", fault.Next(err))
		return
	}
	r.wait.Reset()
	// Never at once again, however short a certificate's life is.
	r.due = later(renewAt(leaf), m.clock.Now().Add(time.Second))
	m.log.Info("renewed", "what", r.what, "until", leaf.NotAfter, "again", r.due)
}

// renewAt is a third into a certificate's life, give or take a tenth of that. The life begins when it was issued, which is after its
// NotBefore by the allowance for clocks behind ours.
func renewAt(leaf *x509.Certificate) time.Time {
	from := leaf.NotBefore.Add(identity.ClockAllowance)
	if !from.Before(leaf.NotAfter) {
		from = leaf.NotBefore
	}
	third := leaf.NotAfter.Sub(from) / 3
	return from.Add(third - third/10 + rand.N(max(third/5, 1))) //nolint:gosec // spreading renewals needs no secrecy
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// renewIdentity makes a new key and has it certified. It is used from the next connection on, even when the disk refuses it: the old
// one there is good for two thirds of its life.
func (m *Member) renewIdentity(ctx context.Context) (*x509.Certificate, error) {
	key, keyPEM, err := identity.NewKey()
	if err != nil {
		return nil, err
	}
	csr, err := identity.NewRequest(key, m.creds.ID())
	if err != nil {
		return nil, err
	}
	var reply certificateReply
	if err := m.caller.call(ctx, "/member/v1/renew", renewRequest{CSR: string(csr)}, &reply); err != nil {
		if left := m.creds.Leaf().NotAfter.Sub(m.clock.Now()); left < m.creds.Leaf().NotAfter.Sub(m.creds.Leaf().NotBefore)/3 {
			m.trouble("renewal", "the certificate ends "+stamp(m.creds.Leaf().NotAfter)+" and cannot be renewed", err)
		}
		return nil, err
	}
	fresh, err := identity.NewCredentials([]byte(reply.Certificate), keyPEM, []byte(reply.Roots))
	if err != nil {
		return nil, err
	}
	if fresh.ID() != m.creds.ID() {
		return nil, fault.Newf("membership.renew", fault.Invalid, "the control plane answered with a certificate of %s", fresh.ID())
	}
	m.mu.Lock()
	err = m.creds.Replace([]byte(reply.Certificate), keyPEM, []byte(reply.Roots))
	if err == nil {
		m.kept.Certificate, m.kept.Key, m.kept.Roots, m.unkept = reply.Certificate, string(keyPEM), reply.Roots, true
	}
	m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	m.trouble("renewal", "", nil)
	m.saveWhatIsNew()
	m.caller.redial()
	signal(m.renewed)
	return m.creds.Leaf(), nil
}
