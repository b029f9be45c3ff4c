package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/gate"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/link/relay"
	"github.com/isthmus-io/isthmus/link/transport"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// notes keeps what a gate tells.
type notes struct {
	mu   sync.Mutex
	list []session.Record
}

func (n *notes) Note(r session.Record) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, r)
}

func (n *notes) phases() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []string
	for _, r := range n.list {
		all = append(all, string(r.Phase)+" "+string(r.End))
	}
	return strings.Join(all, ", ")
}

// plant is an agent behind a relay, with machines at two addresses.
type plant struct {
	t         *testing.T
	authority *identity.Authority
	relays    []plan.Relay
	agent     *Agent
	id        identity.ID
	notes     *notes
	stop      func()
}

func newPlant(t *testing.T, cfg Config) *plant {
	authority, _, err := identity.NewAuthority(trust, time.Now())
	must(t, err)
	p := &plant{t: t, authority: authority, id: identity.AgentID(trust, "ot", "plant-7", "press-4"), notes: &notes{}}
	relayID := identity.RelayID(trust, "r1")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	r := relay.New(relay.Config{}, credentials(t, authority, relayID), quiet(), clock.System{}, nil)
	run(t, func(ctx context.Context) error { return r.Serve(ctx, l) })
	p.relays = []plan.Relay{{Address: l.Addr().String(), ID: string(relayID)}}
	cfg.Access.Journal = p.notes
	p.agent, err = New(cfg, credentials(t, authority, p.id), quiet(), clock.System{}, nil)
	must(t, err)
	p.stop = run(t, p.agent.Run)
	return p
}

func (p *plant) set(targets ...plan.Target) {
	p.t.Helper()
	p.agent.SetPlan(plan.Plan{Self: plan.Self{ID: string(p.id)}, Relays: p.relays, Targets: targets}.Seal())
	await(p.t, "the relay", func() bool {
		s := p.agent.Status().Transport.Relays
		return len(s) == 1 && s[0].Connected
	})
}

func target(t *testing.T, name string, port uint16, persons ...string) plan.Target {
	tg := plan.Target{ID: name + "-uid", Name: "ot/plant-7/" + name, Protocol: resource.ProtocolTCP, Address: net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)))}
	for _, person := range persons {
		tg.Grants = append(tg.Grants, plan.Grant{
			ID: "grant-" + name + "-" + person, Person: identity.PersonPrefix(trust, "ot", person), Name: person + " of ot",
			From: time.Now().Add(-time.Minute), Until: time.Now().Add(time.Hour),
		})
	}
	return tg
}

// someone is a program that dials with an identity.
func (p *plant) someone(id identity.ID) *transport.Transport {
	tr := transport.New(transport.Config{OpenTimeout: patient}, credentials(p.t, p.authority, id), quiet(), clock.System{}, nil)
	tr.SetRelays(p.relays)
	run(p.t, tr.Run)
	await(p.t, "the relay", func() bool { s := tr.Status().Relays; return len(s) == 1 && s[0].Connected })
	return tr
}

func (p *plant) person(name string) *transport.Transport {
	return p.someone(identity.PersonID(trust, "ot", name, "pass-1"))
}

func (p *plant) open(tr *transport.Transport, grant string) (*mux.Stream, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), patient)
	defer cancel()
	s, err := tr.Open(ctx, []plan.Peer{{ID: string(p.id)}}, tunnel.Flow{Endpoint: grant, Port: 1})
	if err == nil {
		p.t.Cleanup(func() { _ = s.Close() })
		_ = s.SetDeadline(time.Now().Add(patient))
	}
	return s, err
}

// hello says something and wants it back.
func hello(s *mux.Stream) error {
	if _, err := s.Write([]byte("hello")); err != nil {
		return err
	}
	_, err := io.ReadFull(s, make([]byte, 5))
	return err
}

// refusedWith returns the words with which a stream was reset.
func refusedWith(err error) (code tunnel.ResetCode, words string) {
	if r, ok := errors.AsType[*mux.ResetError](err); ok {
		return r.Code, r.Message
	}
	return 0, ""
}

func TestPeopleComeInThroughTheGate(t *testing.T) {
	p := newPlant(t, Config{})
	ssh, plc := target(t, "ssh", echo(t), "alice"), target(t, "plc", echo(t), "alice", "bob")
	p.set(ssh, plc)
	alice := p.person("alice")
	first, err := p.open(alice, "grant-ssh-alice")
	must(t, err)
	must(t, hello(first))
	second, err := p.open(alice, "grant-plc-alice")
	must(t, err)
	must(t, hello(second))

	s := p.agent.Status()
	if len(s.Targets) != 2 || len(s.Problems) != 0 {
		t.Fatalf("%+v", s)
	}
	if got := s.Targets[0]; got.ID != ssh.ID || got.Name != ssh.Name || !slices.Equal(got.Grants, []string{"alice of ot"}) || len(got.Sessions) != 1 || got.Sessions[0].Person != "alice of ot" {
		t.Errorf("%+v", got)
	}
	if got := s.Targets[1]; len(got.Grants) != 2 || len(got.Sessions) != 1 {
		t.Errorf("%+v", got)
	}

	bob := p.person("bob")
	other, err := p.open(bob, "grant-ssh-alice")
	must(t, err) // bob has a grant here, so a tunnel; the gate decides about the stream
	if code, words := refusedWith(hello(other)); code != tunnel.ResetRefused || words == "" {
		t.Errorf("another's grant: %v, %q", code, words)
	}
	if _, err := p.open(p.person("mallory"), "grant-ssh-alice"); err == nil {
		t.Error("somebody without a grant has a tunnel")
	}
	if _, err := p.open(p.someone(identity.AgentID(trust, "ot", "plant-7", "alice")), "grant-ssh-alice"); err == nil {
		t.Error("an agent without a link has a tunnel")
	}

	p.set(plc) // one target goes, and the other is not harmed
	if code, words := refusedWith(hello(first)); code != tunnel.ResetRevoked || words == "" {
		t.Errorf("a session of a target that is gone: %v, %q", code, words)
	}
	must(t, hello(second))
	third, err := p.open(alice, "grant-ssh-alice")
	must(t, err)
	if err := hello(third); err == nil {
		t.Error("a target that is gone lets people in")
	}
	p.stop()
	if got := p.notes.phases(); !strings.HasSuffix(got, "ended stopping") || strings.Count(got, "opened") != 2 || strings.Count(got, "ended revoked") != 1 {
		t.Errorf("told: %s", got)
	}
}

// A person's stream never reaches a service, and an agent's never a target, whatever they name.
func TestPeopleAndAgentsDoNotMix(t *testing.T) {
	p := newPlant(t, Config{})
	tg := target(t, "ssh", echo(t), "alice")
	consumer := identity.AgentID(trust, "ot", "plant-7", "gw-1")
	p.agent.SetPlan(plan.Plan{
		Self: plan.Self{ID: string(p.id)}, Relays: p.relays, Targets: []plan.Target{tg},
		Services: []plan.Service{{
			ID: "svc", Name: "ot/plant-7/hub", Target: "127.0.0.1", Ports: []resource.ServicePort{{Port: 1, TargetPort: echo(t)}},
			Links: []plan.Link{{Endpoint: "ep", Name: "ot/plant-7/hub", LinkID: 7, Consumer: identity.NetworkPrefix(trust, "ot", "plant-7")}},
		}},
	}.Seal())
	await(t, "the relay", func() bool { s := p.agent.Status().Transport.Relays; return len(s) == 1 && s[0].Connected })
	for _, c := range []struct {
		who  identity.ID
		what string
		in   bool
	}{
		{identity.PersonID(trust, "ot", "alice", "1"), "grant-ssh-alice", true},
		{identity.PersonID(trust, "ot", "alice", "1"), "ep", false},
		{consumer, "ep", true},
		{consumer, "grant-ssh-alice", false},
	} {
		s, err := p.open(p.someone(c.who), c.what)
		must(t, err)
		if err := hello(s); (err == nil) != c.in {
			t.Errorf("%s at %s: %v", c.who, c.what, err)
		}
	}
}

func TestTheOwnerLetsNobodyIn(t *testing.T) {
	for name, access := range map[string]Access{
		"no access":   {Off: true},
		"with words":  {Off: true, Words: "the disk is full"},
		"not allowed": {Config: gate.Config{Allow: []string{"192.0.2.0/24"}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlant(t, Config{Access: access})
			p.set(target(t, "ssh", echo(t), "alice"))
			s, err := p.open(p.person("alice"), "grant-ssh-alice")
			if access.Off {
				want := "1 targets lead through this agent: " + p.agent.closed()
				if got := p.agent.Problems(); err == nil || !slices.Contains(got, want) || p.agent.Gate() != nil || p.agent.Status().Targets != nil {
					t.Errorf("%v, %q", err, got)
				}
				return
			}
			must(t, err)
			if code, words := refusedWith(hello(s)); code != tunnel.ResetRefused || words == "" {
				t.Errorf("%v, %q", code, words)
			}
		})
	}
	authority, _, err := identity.NewAuthority(trust, time.Now())
	must(t, err)
	_, err = New(Config{Access: Access{Config: gate.Config{Allow: []string{"not a pattern/99"}}}}, credentials(t, authority, identity.AgentID(trust, "ot", "plant-7", "press-4")), quiet(), clock.System{}, nil)
	if fault.KindOf(err) != fault.Invalid {
		t.Errorf("a pattern that is none: %v", err)
	}
}
