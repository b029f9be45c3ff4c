package testworld

import (
	"context"
	"net/netip"
	"path/filepath"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/agent"
	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/examples"
	"github.com/isthmus-io/isthmus/manifest"
	"github.com/isthmus-io/isthmus/node"
	"github.com/isthmus-io/isthmus/node/agentnode"
	"github.com/isthmus-io/isthmus/node/bridgenode"
	"github.com/isthmus-io/isthmus/resource"
)

// Bridge is a running process that carries bridges.
type Bridge struct {
	*Process
	mu      sync.Mutex // guards the field below
	bridges *bridge.Bridges
}

// Status tells of the bridges it carries now.
func (b *Bridge) Status() []bridge.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bridges == nil {
		return nil
	}
	return b.bridges.Status()
}

// Bridge joins a network to carry its bridges, and runs.
func (w *World) Bridge(ctx context.Context, network, name string, cfg bridgenode.Config) (*Bridge, error) {
	dir := filepath.Join(w.Dir, name)
	cfg.Dir = dir
	ac := agentnode.Config{DataDir: dir, Version: "testworld", Agent: agent.Config{Access: agent.Access{Off: true}}}
	token, err := w.joinToken(ctx, "bridge", network, name)
	if err != nil {
		return nil, err
	}
	if err := agentnode.Join(ctx, ac, token, name, w.cfg.Clock); err != nil {
		return nil, err
	}
	b := &Bridge{}
	b.Process = w.process(name, func(ctx context.Context, up func()) error {
		cfg, ac := cfg, ac
		cfg.Ready = func(running *bridge.Bridges) {
			b.mu.Lock()
			b.bridges = running
			b.mu.Unlock()
		}
		reg := prometheus.NewRegistry()
		ac.Bridges = bridgenode.New(cfg, w.log(name), w.cfg.Clock, reg)
		ac.Ready = func(*agent.Agent) { up() }
		return agentnode.Run(ctx, ac, w.log(name), w.cfg.Clock, reg)
	})
	return b, b.Start(ctx)
}

// CrossTenant is the cross-tenant design of examples/cross-tenant: the plant's hub in tenant ot, an event hub and a blob store in tenant it,
// a bridge between them that waits for both approvals, and one that aggregates what has arrived.
type CrossTenant struct {
	*Scenario
	OTBridge, ITBridge *Bridge
	Store              *Hub       // the process that serves the event hub and the blobs
	StoreDirect        netip.Addr // where it listens: its public side, which is closed
}

// Names of the cross-tenant design.
const (
	LakeName       = "fabrikam-lake.servicebus.windows.net"
	AggregatesName = "fabrikam.blob.core.windows.net"
	BridgePath     = "ot/ot-cloud/telemetry"
	AggregatesPath = "it/it-cloud/aggregates"
	ContractPath   = "ot/telemetry"
	LakeEndpoint   = "ot/ot-cloud/lake"
)

// CrossTenant builds the cross-tenant design on loopback and returns once a device in plant-7 could connect. Nothing crosses until Accept and
// Approve.
func (w *World) CrossTenant(ctx context.Context) (*CrossTenant, error) {
	s := &CrossTenant{Scenario: &Scenario{World: w, HubDirect: w.Address(8, 200)}, StoreDirect: w.Address(9, 200)} // behind the addresses of endpoints
	s.PlantDNS, s.OfficeDNS = netip.AddrPortFrom(w.Address(7, 2), DNSPort), netip.AddrPortFrom(w.Address(9, 2), DNSPort)
	set, err := manifest.Parse("examples/cross-tenant", []byte(examples.CrossTenant()))
	if err != nil {
		return nil, err
	}
	objects := set.Objects()
	w.onLoopback(objects, s)
	if _, err := w.Client.Apply(ctx, objects, client.ApplyOptions{Reason: "the cross-tenant design"}); err != nil {
		return nil, err
	}
	if s.Plant, err = w.Agent(ctx, "ot/plant-7", "plant-7-agent", agent.Config{DNSListen: []string{s.PlantDNS.String()}}); err != nil {
		return nil, err
	}
	if s.Cloud, err = w.Agent(ctx, "ot/ot-cloud", "ot-cloud-agent", agent.Config{}); err != nil {
		return nil, err
	}
	if s.Office, err = w.Agent(ctx, "it/it-cloud", "it-cloud-agent", agent.Config{DNSListen: []string{s.OfficeDNS.String()}}); err != nil {
		return nil, err
	}
	if s.HubProcess, err = w.Hub(ctx, "ot/ot-cloud", "hub-ot", doors(s.HubDirect)); err != nil {
		return nil, err
	}
	if s.Store, err = w.Hub(ctx, "it/it-cloud", "hub-it", doors(s.StoreDirect)); err != nil {
		return nil, err
	}
	if s.OTBridge, err = w.Bridge(ctx, "ot/ot-cloud", "bridge-ot", bridgenode.Config{}); err != nil {
		return nil, err
	}
	if s.ITBridge, err = w.Bridge(ctx, "it/it-cloud", "bridge-it", bridgenode.Config{}); err != nil {
		return nil, err
	}
	if s.HubEndpoint, err = s.endpointAddress(ctx, "ot/plant-7/contoso"); err != nil {
		return nil, err
	}
	return s, s.ready(ctx)
}

// onLoopback puts the world's own addresses in place of the example's, and ports that need no root.
func (w *World) onLoopback(objects []resource.Object, s *CrossTenant) {
	sites := map[string]byte{"plant-7": 7, "ot-cloud": 8, "it-cloud": 9}
	for _, o := range objects {
		switch o := o.(type) {
		case *resource.Network:
			o.Spec.AddressRanges = []netip.Prefix{w.Range(sites[o.Metadata.Name])}
		case *resource.Service:
			target := s.HubDirect
			if o.Metadata.Tenant == "it" {
				target = s.StoreDirect
			}
			o.Spec.Target = target.String()
			for _, p := range o.Ports() {
				if p.Port == 443 {
					p = resource.ServicePort{Port: HTTPSPort}
				}
				o.Spec.Ports = append(o.Spec.Ports, resource.ServicePort{Port: p.Port})
			}
		}
	}
}

func doors(at netip.Addr) node.HubConfig {
	return node.HubConfig{
		MQTT: []string{netip.AddrPortFrom(at, MQTTPort).String()}, HTTPS: []string{netip.AddrPortFrom(at, HTTPSPort).String()},
		AMQP: []string{netip.AddrPortFrom(at, AMQPPort).String()},
	}
}

// Accept accepts the contract as it stands, in the name of the office.
func (s *CrossTenant) Accept(ctx context.Context) error {
	key, err := resource.ParseKey(resource.KindContract, ContractPath)
	if err != nil {
		return err
	}
	o, err := s.Client.Get(ctx, key)
	if err != nil {
		return err
	}
	st := o.(*resource.Contract).Status
	_, err = s.Client.DecideContract(ctx, key, client.ContractDecision{Decision: "accept", Version: st.Version, Digest: st.Digest, Reason: "the cross-tenant design"})
	return err
}

// Approve lets the plant's endpoint to the event hub in, in the name of the office.
func (s *CrossTenant) Approve(ctx context.Context) error { return s.decide(ctx, resource.Approve) }

// Reject takes that back.
func (s *CrossTenant) Reject(ctx context.Context) error { return s.decide(ctx, resource.Reject) }

func (s *CrossTenant) decide(ctx context.Context, d resource.Decision) error {
	key, err := resource.ParseKey(resource.KindPrivateEndpoint, LakeEndpoint)
	if err != nil {
		return err
	}
	_, err = s.Client.Decide(ctx, key, d, "the cross-tenant design")
	return err
}
