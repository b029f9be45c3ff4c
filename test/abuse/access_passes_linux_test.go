package abuse

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/dialer"
	sessions "github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// signalling is a person's connection to the relay, by hand.
type signalling struct {
	*tls.Conn
	in *bufio.Reader
}

// signals connects to the relay with a pass, without what a program of ours would look at before.
func (p *shop) signals(pass dialer.Pass) (*signalling, error) {
	creds, err := identity.NewCredentials([]byte(pass.Certificate), []byte(pass.Key), []byte(pass.Roots))
	if err != nil {
		return nil, err
	}
	raw, err := net.DialTimeout("tcp", p.relayAt, 5*time.Second)
	if err != nil {
		return nil, err
	}
	p.t.Cleanup(func() { _ = raw.Close() })
	_ = raw.SetDeadline(time.Now().Add(patient))
	s := &signalling{Conn: tls.Client(raw, creds.ClientTLS(identity.Only(identity.ID(pass.Relays[0].ID)), tunnel.ALPNRelay))}
	s.in = bufio.NewReader(s.Conn)
	// What a server thinks of a client's certificate is known after the first byte that it sends (RFC 8446 4.4.2.4, E.1).
	if err := s.say(tunnel.Ping{Token: 7}); err != nil {
		return nil, err
	}
	if _, err := tunnel.ReadSignal(s.in); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *signalling) say(f tunnel.Signal) error {
	b, err := tunnel.AppendSignal(nil, f)
	if err == nil {
		_, err = s.Write(b)
	}
	return err
}

// ticket asks for one to the process of a provider.
func (s *signalling) ticket(t testing.TB, provider string) tunnel.Ticket {
	t.Helper()
	must(t, s.say(tunnel.Ask{Request: 1, Target: provider}))
	f, err := tunnel.ReadSignal(s.in)
	must(t, err)
	issued, ok := f.(tunnel.Issued)
	if !ok {
		t.Fatalf("the relay answered %+v", f)
	}
	return issued.Ticket
}

// shows makes a data connection with a ticket and returns what the relay says of it.
func (p *shop) shows(ticket tunnel.Ticket) (net.Conn, error) {
	p.t.Helper()
	c, err := net.DialTimeout("tcp", p.relayAt, 5*time.Second)
	must(p.t, err)
	p.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patient))
	preface := tunnel.Preface{Kind: tunnel.Pair, Ticket: ticket}.Encode()
	_, err = c.Write(preface[:])
	must(p.t, err)
	return c, tunnel.ReadStatus(c)
}

// tunnel makes one to the machine, by hand, and keeps it whatever its pass says.
func (p *shop) tunnel(pass dialer.Pass) *mux.Session {
	p.t.Helper()
	s, err := p.signals(pass)
	must(p.t, err)
	machine := pass.Grants[0].Providers[0].ID
	c, err := p.shows(s.ticket(p.t, machine))
	must(p.t, err)
	creds, err := identity.NewCredentials([]byte(pass.Certificate), []byte(pass.Key), []byte(pass.Roots))
	must(p.t, err)
	conn := tls.Client(mux.NewCarrier(c), creds.ClientTLS(identity.Only(identity.ID(machine)), tunnel.ALPNTunnel))
	must(p.t, conn.HandshakeContext(p.t.Context()))
	_ = c.SetDeadline(time.Time{})
	m := mux.Client(conn, mux.Config{Clock: clock.System{}})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	p.t.Cleanup(func() { cancel(); <-ended })
	return m
}

// opens makes a session through a tunnel.
func opens(ctx context.Context, m *mux.Session, grant string) (*mux.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	s, err := m.Open(ctx, tunnel.Flow{Endpoint: grant, Port: 1})
	if err == nil {
		err = s.WaitAccepted(ctx)
	}
	if err == nil {
		err = echoed(s, 200)
	}
	return s, err
}

// A ticket of the relay is good once: who overheard it, and shows it again, is told nothing but that nobody knows it.
func TestTicketsAreGoodOnce(t *testing.T) {
	p := startShop(t)
	alice, bob := p.person("alice", resource.RoleOperator), p.person("bob", resource.RoleApprover)
	alice.arrives(alice.letIn(bob, client.GrantRequest{}))
	pass := alice.mustPass()
	s, err := p.signals(pass)
	must(t, err)
	ticket := s.ticket(t, pass.Grants[0].Providers[0].ID)
	if _, err := p.shows(ticket); err != nil {
		t.Fatalf("the ticket of somebody who is let in: %v", err)
	}
	for range 3 {
		if _, err := p.shows(ticket); !errors.Is(err, tunnel.StatusUnknown) {
			t.Errorf("the ticket again: %v", err)
		}
	}
	forged := ticket
	forged[len(forged)-1] ^= 1
	if _, err := p.shows(forged); !errors.Is(err, tunnel.StatusUnknown) {
		t.Errorf("a forged ticket: %v", err)
	}
	must(t, goesIn(t.Context(), alice.visits(), pass.Grants[0].ID))
}

// A pass that was taken, key and all, opens what its person may open at that moment, and is told of as what it is.
func TestStolenPasses(t *testing.T) {
	p := startShop(t)
	ctx := t.Context()
	alice, bob, mallory := p.person("alice", resource.RoleOperator), p.person("bob", resource.RoleApprover).login(), p.person("mallory", resource.RoleOperator).login()
	first, second := alice.letIn(bob, client.GrantRequest{}), alice.letIn(bob, client.GrantRequest{})
	hers := mallory.letIn(bob, client.GrantRequest{})
	alice.arrives(second)
	mallory.arrives(hers)
	stolen := alice.mustPass()
	// A pass lapses with the last of its grants. Who has a tunnel keeps it open beyond that.
	short := alice.letIn(bob, client.GrantRequest{For: 6 * time.Second})
	lapsing := alice.mustPass(short.ID)
	kept := p.tunnel(lapsing)
	held, err := opens(ctx, kept, second.ID)
	must(t, err)

	t.Run("another person's grant", func(t *testing.T) {
		pass := mallory.mustPass()
		pass.Grants = append(pass.Grants, stolen.Grants...)
		thief := p.with(pass)
		must(t, goesIn(ctx, thief, hers.ID))
		for range 40 {
			if err := goesIn(ctx, thief, first.ID); fault.KindOf(err) != fault.Denied || !strings.Contains(fault.Message(err), "no grant of yours") {
				t.Fatalf("a grant of alice for mallory: %v", err)
			}
		}
		bob.session("the refusal", client.SessionFilter{}, func(s client.Session) bool {
			return s.Phase == sessions.Refused && s.End == sessions.NotYours && s.Person == "mallory of ot"
		})
		if n := p.refusals(bob, sessions.NotYours); n > 11 {
			t.Errorf("%d records of 40 refusals", n)
		}
		mallory.explains("refused", "ot/plant-7/echo")
		if out, err := mallory.isthmus("access", "why", "--grant", first.ID); err == nil || strings.Contains(out, "alice") {
			t.Errorf("mallory is told of alice's grant: %v: %s", err, out)
		}
	})

	t.Run("lapsed", func(t *testing.T) {
		await(t, "the pass's end", func() error {
			if time.Now().Before(lapsing.Expires.Add(time.Second)) {
				return errors.New("it is good until " + lapsing.Expires.String())
			}
			return nil
		})
		if s, err := p.signals(lapsing); err == nil {
			t.Errorf("the relay takes a pass that has lapsed: %v", s.ConnectionState().Version)
		} else if !strings.Contains(err.Error(), "certificate") {
			t.Errorf("a pass that has lapsed: %v", err)
		}
		// Nor does the program that holds it take it for good, and it says so in words.
		if err := goesIn(ctx, p.with(lapsing), short.ID); err == nil || !strings.Contains(errorText(err), "pass") {
			t.Errorf("a pass that has lapsed: %v", err)
		}
		// The tunnel takes no more sessions, within the interval in which tunnels are looked after. The one there is goes on: its grant has not ended.
		await(t, "the tunnel's end", func() error {
			if s, err := opens(ctx, kept, second.ID); err == nil {
				_ = s.Close()
				return errors.New("a tunnel opens what it likes after its pass has lapsed")
			}
			return nil
		})
		must(t, echoed(held, 200))
		bob.explains("Expired", "--grant", short.ID)
	})

	t.Run("revoked", func(t *testing.T) {
		thief := p.with(stolen)
		must(t, goesIn(ctx, thief, first.ID)) // at that moment it is as good as alice
		_, err := bob.DecideGrant(ctx, first.ID, "revoke", "her laptop is gone", 0)
		must(t, err)
		await(t, "the revocation", func() error {
			if err := goesIn(ctx, thief, first.ID); fault.KindOf(err) != fault.Denied {
				return errors.New("a revoked grant lets in, or says something else: " + errorText(err))
			}
			return nil
		})
		bob.session("the refusal", client.SessionFilter{}, func(s client.Session) bool {
			return s.Phase == sessions.Refused && s.End == sessions.NoGrant && s.Person == "alice of ot"
		})
		bob.explains("her laptop is gone", "--grant", first.ID)
	})

	t.Run("disabled", func(t *testing.T) {
		thief := p.with(stolen)
		c, err := thief.Dial(ctx, second.ID)
		must(t, err)
		defer c.Close()
		_, err = p.admin.DisablePerson(ctx, alice.uid, "her laptop is gone")
		must(t, err)
		began := time.Now()
		_ = c.SetReadDeadline(began.Add(patient))
		if _, err := c.Read(make([]byte, 1)); err == nil || time.Since(began) > 5*time.Second {
			t.Errorf("the session of a disabled person ended after %v with %v", time.Since(began), err)
		}
		for range 5 {
			if err := goesIn(ctx, thief, second.ID); fault.KindOf(err) != fault.Denied {
				t.Errorf("the pass of a disabled person: %v", err)
			}
		}
		if _, err := alice.Grants(ctx, client.GrantFilter{}); fault.KindOf(err) != fault.Unauthenticated && fault.KindOf(err) != fault.Denied {
			t.Errorf("the token of a disabled person: %v", err)
		}
		bob.session("the session that was cut", client.SessionFilter{Grant: second.ID}, func(s client.Session) bool {
			return s.Phase == sessions.Ended && s.End == sessions.EndRevoked
		})
		bob.explains("disabled", "ot/plant-7/echo", "--person", "alice")
	})
	p.bounded(t, "session-refused", 30)
}

// refusals counts those of one sort that were told of.
func (p *shop) refusals(by *somebody, why sessions.End) (n int) {
	p.t.Helper()
	list, err := by.Sessions(p.t.Context(), client.SessionFilter{Refused: true, Limit: 1000})
	must(p.t, err)
	for _, s := range list {
		if s.Phase == sessions.Refused && s.End == why {
			n++
		}
	}
	return n
}

// bounded checks that the log has some records of an operation, and not more than most.
func (p *shop) bounded(t *testing.T, operation string, most int) {
	t.Helper()
	n := 0
	for _, r := range p.audited() {
		if r.Operation == operation {
			n++
		}
	}
	if n == 0 || n > most {
		t.Errorf("the audit log has %d records of %s, and should have 1 to %d", n, operation, most)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
