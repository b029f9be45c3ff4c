package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/access/gate"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/gateway"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/flow"
	"github.com/isthmus-io/isthmus/link/transport"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resolver"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// Config is what an agent is told on its own machine. The zero value works: no DNS, addresses that are there already, outbound only.
type Config struct {
	DNSListen    []string        // host:port of the resolver, UDP and TCP, literal addresses; empty: none
	DNS          resolver.Config // what else is to be said of the resolver; its Listen is DNSListen
	Interface    string          // to which addresses of private endpoints are added, Linux only; empty: they are there already
	DirectListen string          // host:port on which other agents may make tunnels without a relay; empty: none
	ProxyURL     string          // HTTP proxy for connections to relays; empty: HTTPS_PROXY and NO_PROXY of the environment; "none": no proxy
	MaxFlows     int             // of one endpoint's port, and of one approved link: flow.DefaultMaxFlows

	Gateway gateway.Config // of the gateways of the plan; the zero value carries them without a hand-over
	Access  Access         // of the targets of the plan
}

// ErrDrained is how Run ends when the agent's gateway was told to drain and has nothing left.
var ErrDrained = errors.New("the gateway has drained")

// NoProxy as Config.ProxyURL means none, whatever the environment says.
const NoProxy = "none"

// addressCheck is how often addresses are put back which somebody took off the interface, or which could not be added before.
const addressCheck = 5 * time.Second

// Agent carries out plans.
type Agent struct {
	cfg       Config
	creds     *identity.Credentials
	log       *slog.Logger
	clk       clock.Clock
	addresses addresses
	transport *transport.Transport
	endpoints *flow.Endpoints
	services  *flow.Services
	resolver  *resolver.Resolver // nil without DNSListen
	gateway   *gateway.Gateway
	gate      *gate.Gate // nil: no people

	carrying sync.Mutex // held while a plan or an address check is carried out; taken before mu

	mu       sync.Mutex // guards the fields below
	plan     plan.Plan
	rejected string   // why the last plan was not carried out
	troubles []string // about addresses
	ended    bool
}

// New returns an agent that does nothing until Run and has no plan until SetPlan. reg may be nil.
func New(cfg Config, creds *identity.Credentials, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) (*Agent, error) {
	addr, err := newAddresses(cfg.Interface, creds.ID(), log)
	if err != nil {
		return nil, err
	}
	var opts []flow.Option
	if cfg.MaxFlows > 0 {
		opts = append(opts, flow.WithMaxFlows(cfg.MaxFlows))
	}
	a := &Agent{cfg: cfg, creds: creds, log: log, clk: clk, addresses: addr}
	way := transport.Config{Direct: cfg.DirectListen, ProxyURL: cfg.ProxyURL, ProxyFromEnv: cfg.ProxyURL == ""}
	if cfg.ProxyURL == NoProxy {
		way.ProxyURL = ""
	}
	a.transport = transport.New(way, creds, log, clk, reg)
	a.endpoints = flow.NewEndpoints(a.transport, log, reg, append(opts, flow.WithClock(clk))...)
	a.services = flow.NewServices(log, clk, reg, opts...)
	if !cfg.Access.Off {
		if err := gate.CheckAllow(cfg.Access.Allow); err != nil {
			return nil, err
		}
		a.gate = gate.New(cfg.Access.Config, log, clk, reg)
	}
	a.transport.Handle(a.handle)
	a.gateway = gateway.New(cfg.Gateway, a.transport, log, clk, reg)
	if len(cfg.DNSListen) > 0 {
		dns := cfg.DNS
		dns.Listen = cfg.DNSListen
		a.resolver = resolver.New(dns, log, clk, reg)
	}
	return a, nil
}

// Run carries out the plan until ctx ends or something fails for good, and returns when everything it started has ended: listeners are
// closed, flows cut, tunnels down and addresses off the interface. It runs once.
func (a *Agent) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.endpoints.Run(ctx) })
	g.Go(func() error { return a.services.Run(ctx) })
	tunnels, endTunnels := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error { return a.transport.Run(tunnels) })
	g.Go(func() error { return a.runGate(ctx, endTunnels) })
	if a.resolver != nil {
		g.Go(func() error { return a.resolver.Run(ctx) })
	}
	g.Go(func() error {
		err := a.gateway.Run(ctx)
		if err == nil && ctx.Err() == nil {
			return ErrDrained // the process was asked to end, and has nothing left to carry
		}
		return err
	})
	g.Go(func() error { a.keepAddresses(ctx); return nil })
	err := g.Wait()
	a.carrying.Lock()
	defer a.carrying.Unlock()
	a.mu.Lock()
	a.ended = true
	a.mu.Unlock()
	for _, p := range a.addresses.prune(nil) {
		a.log.Warn("an address stays behind", "problem", p)
	}
	return err
}

// SetPlan makes p what the agent does, whole: what p does not name has stopped when it returns. A plan that is made for another agent
// is not carried out; Problems tells.
func (a *Agent) SetPlan(p plan.Plan) {
	a.carrying.Lock()
	defer a.carrying.Unlock()
	if self := a.creds.ID(); p.Self.ID != "" && identity.ID(p.Self.ID) != self {
		a.log.Error("plan not carried out", "revision", p.Revision, "for", p.Self.ID)
		a.mu.Lock()
		a.rejected = fmt.Sprintf("plan %s is for %s, not for %s: check which identity stands in the data directory", p.Revision, p.Self.ID, self)
		a.mu.Unlock()
		return
	}
	a.mu.Lock()
	a.plan, a.rejected = p, ""
	ended := a.ended
	a.mu.Unlock()
	if ended {
		return
	}
	revoked := make([]identity.ID, len(p.Revoked))
	for i, id := range p.Revoked {
		revoked[i] = identity.ID(id)
	}
	// What must stop comes first, and an address goes when nobody listens on it any more: a reset needs it as its sender.
	a.services.SetRevoked(revoked)
	a.services.Set(p.Services)
	a.admit(p.Targets)
	a.transport.SetAllowed(a.allowed) // asked anew for the tunnels there are
	a.transport.SetRelays(p.Relays)
	want := addressesOf(p)
	troubles := a.addresses.add(want)
	a.endpoints.Set(p.Endpoints)
	a.transport.SetProviders(providersOf(p))
	a.gateway.Set(p.Gateways)
	if a.resolver != nil {
		a.resolver.Set(resolver.View{
			Names: p.Names, Zones: p.Zones, Redirect: p.Redirect, Forward: p.Forward, Upstreams: p.Upstreams, Clients: p.DNSClients,
		})
	}
	a.noteTroubles(append(troubles, a.addresses.prune(want)...))
}

// Dial opens a connection to a port of a private endpoint, as something in the agent's network could.
func (a *Agent) Dial(ctx context.Context, endpoint string, port uint16, providers []plan.Peer) (net.Conn, error) {
	return flow.Dial(ctx, a.transport, providers, tunnel.Flow{Endpoint: endpoint, Port: port})
}

// providersOf returns the agents that open endpoints, gateways and bridges lead to.
func providersOf(p plan.Plan) []identity.ID {
	var list []identity.ID
	for _, e := range p.Endpoints {
		if !e.Open {
			continue
		}
		for _, peer := range e.Providers {
			list = append(list, identity.ID(peer.ID))
		}
	}
	for _, b := range p.Bridges {
		for _, e := range b.Ends {
			for _, peer := range e.Providers {
				list = append(list, identity.ID(peer.ID))
			}
		}
	}
	for _, g := range p.Gateways {
		for _, r := range g.Routes {
			if r.Endpoint == nil {
				continue
			}
			for _, peer := range r.Endpoint.Providers {
				list = append(list, identity.ID(peer.ID))
			}
		}
	}
	return list
}

// addressesOf returns the addresses of all endpoints, also of those that are not open: a client of theirs is then refused at once
// instead of waiting for an answer.
func addressesOf(p plan.Plan) []netip.Addr {
	var list []netip.Addr
	for _, e := range p.Endpoints {
		if e.Address.IsValid() && !slices.Contains(list, e.Address) {
			list = append(list, e.Address)
		}
	}
	return list
}

func (a *Agent) noteTroubles(words []string) {
	a.mu.Lock()
	before := a.troubles
	a.troubles = words
	a.mu.Unlock()
	for _, w := range words {
		if !slices.Contains(before, w) {
			a.log.Warn("address in trouble", "problem", w)
		}
	}
}

// keepAddresses adds again what is missing.
func (a *Agent) keepAddresses(ctx context.Context) {
	if a.cfg.Interface == "" {
		return
	}
	for {
		fired, stop := a.clk.After(addressCheck)
		select {
		case <-fired:
		case <-ctx.Done():
			stop()
			return
		}
		a.carrying.Lock()
		a.noteTroubles(a.addresses.add(addressesOf(a.current())))
		a.carrying.Unlock()
	}
}

func (a *Agent) current() plan.Plan {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.plan
}

// PlanRevision returns the revision of the plan that is carried out, empty before the first.
func (a *Agent) PlanRevision() string { return a.current().Revision }

// Gateway is what carries the gateways of the plan.
func (a *Agent) Gateway() *gateway.Gateway { return a.gateway }

// DNSAddresses returns where the resolver answers over UDP and TCP now.
func (a *Agent) DNSAddresses() []netip.AddrPort {
	if a.resolver == nil {
		return nil
	}
	var out []netip.AddrPort
	for _, text := range a.resolver.Status().Listening {
		if at, err := netip.ParseAddrPort(text); err == nil {
			out = append(out, at)
		}
	}
	return out
}

// DNSAddr returns where the resolver answers, once it does: of use when DNSListen asked for any port. The zero value is no resolver.
func (a *Agent) DNSAddr() netip.AddrPort {
	if a.resolver == nil {
		return netip.AddrPort{}
	}
	return a.resolver.Addr()
}
