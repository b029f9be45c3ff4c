package testworld

import (
	"context"
	"path/filepath"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/agent"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/gateway"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/node"
	"github.com/isthmus-io/isthmus/node/agentnode"
	"github.com/isthmus-io/isthmus/storage"
)

// Agent is a running agent of the world.
type Agent struct {
	*Process
	mu    sync.Mutex // guards the field below
	agent *agent.Agent
}

// Status tells what the agent does now.
func (a *Agent) Status() agent.Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.agent.Status()
}

// Agent joins a network (ot/plant-7) and runs. Where it listens for direct tunnels is where others are told to dial it.
func (w *World) Agent(ctx context.Context, network, name string, cfg agent.Config) (*Agent, error) {
	return w.AgentProcess(ctx, network, name, agentnode.Config{Agent: cfg, Direct: cfg.DirectListen})
}

// AgentProcess is Agent with everything a process can be told. DataDir and Version are the world's.
func (w *World) AgentProcess(ctx context.Context, network, name string, ac agentnode.Config) (*Agent, error) {
	return w.member(ctx, "agent", network, name, ac)
}

func (w *World) member(ctx context.Context, role, network, name string, ac agentnode.Config) (*Agent, error) {
	ac.DataDir, ac.Version = filepath.Join(w.Dir, name), "testworld"
	token, err := w.joinToken(ctx, role, network, name)
	if err != nil {
		return nil, err
	}
	if err := agentnode.Join(ctx, ac, token, name, w.cfg.Clock); err != nil {
		return nil, err
	}
	a := &Agent{}
	a.Process = w.process(name, func(ctx context.Context, up func()) error {
		ac := ac
		ac.Ready = func(running *agent.Agent) {
			a.mu.Lock()
			a.agent = running
			a.mu.Unlock()
			up()
		}
		return agentnode.Run(ctx, ac, w.log(name), w.cfg.Clock, prometheus.NewRegistry())
	})
	return a, a.Start(ctx)
}

// Gateway joins a network as a gateway and runs: it carries the gateways of the network that name no agents. Its data directory is its
// own, so its admin socket and its hand-over work.
func (w *World) Gateway(ctx context.Context, network, name string) (*Agent, error) {
	dir := filepath.Join(w.Dir, name)
	return w.member(ctx, "gateway", network, name, agentnode.Config{Agent: agent.Config{Gateway: gateway.Config{Dir: dir}}})
}

// Hub is a running hub process of the world.
type Hub struct {
	*Process
	mu       sync.Mutex // guards the fields below
	server   *hub.Server
	spaces   *eventhub.Server
	accounts *storage.Server
}

// Server gives the hubs it serves.
func (h *Hub) Server() *hub.Server {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.server
}

// Namespaces gives the namespaces of event hubs it serves, and Accounts the blob services.
func (h *Hub) Namespaces() *eventhub.Server {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.spaces
}

// Accounts gives the blob services it serves.
func (h *Hub) Accounts() *storage.Server {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.accounts
}

// Hub joins a network as a hub and serves.
func (w *World) Hub(ctx context.Context, network, name string, cfg node.HubConfig) (*Hub, error) {
	cfg.DataDir, cfg.Version = filepath.Join(w.Dir, name), "testworld"
	token, err := w.joinToken(ctx, "hub", network, name)
	if err != nil {
		return nil, err
	}
	if err := agentnode.Join(ctx, agentnode.Config{DataDir: cfg.DataDir, Version: cfg.Version}, token, name, w.cfg.Clock); err != nil {
		return nil, err
	}
	h := &Hub{}
	h.Process = w.process(name, func(ctx context.Context, up func()) error {
		cfg := cfg
		cfg.Serves = func(n *eventhub.Server, a *storage.Server) {
			h.mu.Lock()
			h.spaces, h.accounts = n, a
			h.mu.Unlock()
		}
		cfg.Ready = func(s *hub.Server) {
			h.mu.Lock()
			h.server = s
			h.mu.Unlock()
			up()
		}
		return node.Hub(ctx, cfg, w.log(name), w.cfg.Clock, prometheus.NewRegistry())
	})
	return h, h.Start(ctx)
}

func (w *World) joinToken(ctx context.Context, role, network, name string) (string, error) {
	tenant, site, ok := strings.Cut(network, "/")
	if !ok {
		return "", fault.Newf("testworld.join", fault.Invalid, "%q is not TENANT/NETWORK", network)
	}
	t, err := w.Client.CreateJoinToken(ctx, client.JoinTokenRequest{For: role, Tenant: tenant, Network: site, Name: name})
	return t.Secret, err
}
