package node

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/access/gate"
	"github.com/isthmus-io/isthmus/agent"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/stream"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/transport"
	"github.com/isthmus-io/isthmus/node/accessnode"
	"github.com/isthmus-io/isthmus/plan"
)

// hubPeople lets people come to the streams of devices: through the relays, as they come to an agent, and by the connection string of a
// grant, as the programs of IoT Hub do.
type hubPeople struct {
	hub       *hubProcess
	access    *accessnode.Access
	transport *transport.Transport
	gate      *gate.Gate
}

func newHubPeople(cfg HubConfig, creds *identity.Credentials, h *hubProcess, a *accessnode.Access, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) *hubPeople {
	p := &hubPeople{hub: h, access: a}
	way := transport.Config{ProxyURL: cfg.Proxy, ProxyFromEnv: cfg.Proxy == ""}
	if cfg.Proxy == agent.NoProxy {
		way.ProxyURL = ""
	}
	p.transport = transport.New(way, creds, log, clk, reg)
	p.gate = gate.New(a.Gate(gate.Config{Dial: p.dial}), log, clk, reg)
	p.transport.Handle(p.gate.Handle)
	return p
}

// carryOut makes the grants of the plan those that let people in. What must stop has stopped when it returns. Without targets the process
// has no business with relays.
func (p *hubPeople) carryOut(pl plan.Plan) {
	p.gate.Set(pl.Targets)
	p.hub.rooms.Streams.SetTargets(pl.Targets)
	p.transport.SetAllowed(p.gate.Allowed) // asked anew for the tunnels there are
	relays := pl.Relays
	if len(pl.Targets) == 0 {
		relays = nil
	}
	p.transport.SetRelays(relays)
}

// run keeps it going until ctx ends.
func (p *hubPeople) run(ctx context.Context) error {
	return p.access.Run(ctx, func(offset time.Duration) {
		p.gate.SetOffset(offset)
		p.hub.rooms.Streams.SetOffset(offset)
	}, func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return p.transport.Run(ctx) })
		g.Go(func() error { return p.gate.Run(ctx) })
		return g.Wait()
	})
}

func (p *hubPeople) problems() []string { return slices.Concat(p.gate.Problems(), p.access.Problems()) }

// answerWithin is how long a device may take to say yes, of the minute in which it has to have come.
const answerWithin = 30 * time.Second

// dial asks the device of a target for its stream.
func (p *hubPeople) dial(ctx context.Context, t *plan.Target) (net.Conn, error) {
	if t.Device == nil {
		return nil, fault.Newf("node.dial", fault.Invalid, "the target %s leads to no device", t.Name)
	}
	h, ok := p.hub.server.ByName(t.Device.Hub)
	if !ok {
		return nil, fault.New("node.dial", fault.Unavailable, "the hub of the device is not served here at the moment")
	}
	return p.hub.rooms.Streams.Dial(ctx, h, stream.Request{
		To: hub.Name{Device: t.Device.Device, Module: t.Device.Module}, Name: t.Device.Stream, Host: p.hub.streamHost(h), Response: answerWithin,
	})
}

// httpsPort is the port that nobody writes behind a name.
const httpsPort = 443

// streamHost is the authority at which the hub's devices find its HTTPS door.
func (h *hubProcess) streamHost(of *hub.Hub) string {
	port := h.cfg.DevicePort
	if a, ok := h.httpsOn[0].Addr().(*net.TCPAddr); ok && port == 0 {
		port = a.Port
	}
	if port == httpsPort {
		return of.HostName()
	}
	return net.JoinHostPort(of.HostName(), strconv.Itoa(port))
}
