package transport

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// Transport is an agent's way to other agents. Make it with New, start it with Run. Its methods may be called at once.
type Transport struct {
	cfg     Config
	creds   *identity.Credentials
	log     *slog.Logger
	clk     clock.Clock
	metrics *metrics
	handle  func(identity.ID, *mux.Stream)
	dial    DialFunc // to relays
	dialErr error    // why there is none: reported by Run

	mu         sync.Mutex // guards the fields below
	ctx        context.Context
	running    bool
	tasks      sync.WaitGroup // Add only under mu while running
	links      []*relayLink   // in the order of the plan
	relays     []plan.Relay
	allowed    func(identity.ID) bool
	providers  map[identity.ID]struct{} // whom tunnels may be dialled to; nil: everybody
	peers      map[identity.ID]*peer
	passages   map[*passage]struct{}
	inbound    map[string]int // tunnels accepted or being accepted, see countedAs
	inboundAll int
	directAddr net.Addr
	past       totals        // of tunnels that have ended
	linkChange chan struct{} // closed and replaced when a relay is connected or the relays change
}

// New returns a transport that has not started. creds are this agent's own and may be replaced while it runs; reg may be nil.
func New(cfg Config, creds *identity.Credentials, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) *Transport {
	tr := &Transport{
		cfg: cfg.withDefaults(), creds: creds, log: log, clk: clk,
		handle: func(_ identity.ID, s *mux.Stream) { s.Reset(tunnel.ResetRefused, "this agent provides nothing") },
		peers:  map[identity.ID]*peer{}, passages: map[*passage]struct{}{}, inbound: map[string]int{},
		linkChange: make(chan struct{}),
	}
	tr.dial, tr.dialErr = DialProxy(cfg.ProxyURL, cfg.ProxyFromEnv)
	tr.metrics = newMetrics(reg, tr)
	return tr
}

// Handle says who takes the streams that peers open. It is called on a goroutine of its own for each and must return once the
// stream has ended. Set it before Run; without it every stream is refused.
func (tr *Transport) Handle(h func(peer identity.ID, s *mux.Stream)) { tr.handle = h }

// SetRelays says which relays to stay connected to. Connections to others are closed; tunnels made through them stay.
func (tr *Transport) SetRelays(relays []plan.Relay) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.relays = slices.Clone(relays)
	if tr.running {
		tr.reconcile()
	}
}

// reconcile makes links fit relays. The caller holds mu and has seen that the transport runs.
func (tr *Transport) reconcile() {
	have := map[plan.Relay]*relayLink{}
	for _, l := range tr.links {
		have[l.relay] = l
	}
	var links []*relayLink
	for _, r := range tr.relays {
		l, ok := have[r]
		if !ok {
			l = newRelayLink(tr, r)
			var ctx context.Context
			ctx, l.cancel = context.WithCancel(tr.ctx)
			tr.tasks.Go(func() { l.run(ctx) })
		}
		if !slices.Contains(links, l) {
			links = append(links, l)
		}
		have[r] = l
	}
	for _, l := range tr.links {
		if !slices.Contains(links, l) {
			l.cancel()
		}
	}
	tr.links = links
	tr.announce()
}

// announce wakes those who wait for a relay. The caller holds mu.
func (tr *Transport) announce() {
	close(tr.linkChange)
	tr.linkChange = make(chan struct{})
}

// connectedLinks returns the relays connected now, in the order of the plan. When there is none it asks for one and waits for it,
// within bounds.
func (tr *Transport) connectedLinks(ctx context.Context) []*relayLink {
	late, stop := tr.clk.After(tr.cfg.RelayWait)
	defer stop()
	for {
		tr.mu.Lock()
		links, change := tr.links, tr.linkChange
		tr.mu.Unlock()
		var up []*relayLink
		for _, l := range links {
			if l.wanted() {
				up = append(up, l)
			}
		}
		if len(up) > 0 || len(links) == 0 {
			return up
		}
		select {
		case <-change:
		case <-late:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// SetAllowed says which peers may make tunnels to this agent at all: an early no that spares the work for peers with no approved
// connection. Nil, as at first, allows none. Tunnels of peers no longer allowed take no new streams and end with their last one.
func (tr *Transport) SetAllowed(allowed func(peer identity.ID) bool) {
	tr.mu.Lock()
	tr.allowed = allowed
	var accepted []*passage
	for p := range tr.passages {
		if !p.dialled {
			accepted = append(accepted, p)
		}
	}
	tr.mu.Unlock()
	for _, p := range accepted {
		if allowed == nil || !allowed(p.peer) {
			p.retire()
		}
	}
}

// SetProviders makes the peers given, and no others, those to whom tunnels may be dialled; before the first call all may. Tunnels to
// others are closed with the flows in them when it returns: an agent that was deleted serves nobody any more.
func (tr *Transport) SetProviders(ids []identity.ID) {
	providers := make(map[identity.ID]struct{}, len(ids))
	for _, id := range ids {
		providers[id] = struct{}{}
	}
	tr.mu.Lock()
	tr.providers = providers
	var gone []*passage
	for p := range tr.passages {
		if tr.astray(p) {
			gone = append(gone, p)
		}
	}
	tr.mu.Unlock()
	for _, p := range gone {
		tr.log.Info("tunnel closed, the plan does not name its agent any more", "peer", p.peer)
		_ = p.session.Close()
	}
}

// astray says whether a tunnel leads to somebody it should not. The caller holds mu.
func (tr *Transport) astray(p *passage) bool {
	_, provides := tr.providers[p.peer]
	return p.dialled && tr.providers != nil && !provides
}

func (tr *Transport) mayCome(id identity.ID) bool {
	tr.mu.Lock()
	allowed := tr.allowed
	tr.mu.Unlock()
	return allowed != nil && allowed(id)
}

// Run keeps everything going until ctx ends and returns when every goroutine of the transport has ended. It fails at once, with a
// fault, when the proxy or the direct address cannot be used. It may be called once.
func (tr *Transport) Run(ctx context.Context) error {
	const op = "transport.Run"
	if tr.dialErr != nil {
		return tr.dialErr
	}
	var direct net.Listener
	if tr.cfg.Direct != "" {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", tr.cfg.Direct)
		if err != nil {
			return fault.New(op, fault.Unavailable, "cannot listen on "+tr.cfg.Direct+" for direct tunnels").Because(err).
				Advise("choose an address of this machine and a free port, or leave the direct address out: relays work without")
		}
		direct = l
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tr.mu.Lock()
	if tr.ctx != nil {
		tr.mu.Unlock()
		if direct != nil {
			_ = direct.Close()
		}
		return fault.New(op, fault.Internal, "the transport was started before")
	}
	tr.ctx, tr.running = ctx, true
	tr.reconcile() //nolint:contextcheck // it uses the context stored above
	if direct != nil {
		tr.directAddr = direct.Addr()
		tr.tasks.Go(func() { tr.listen(ctx, direct) })
	}
	tr.mu.Unlock()
	tr.keepHouse(ctx)
	tr.mu.Lock()
	tr.running = false
	tr.mu.Unlock()
	tr.tasks.Wait()
	return nil
}

// start runs f as a part of Run; false when the transport is not running.
func (tr *Transport) start(f func(ctx context.Context)) bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if !tr.running {
		return false
	}
	ctx := tr.ctx
	tr.tasks.Go(func() { f(ctx) })
	return true
}

func (tr *Transport) peer(id identity.ID) *peer {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	p, ok := tr.peers[id]
	if !ok {
		p = &peer{tr: tr, id: id}
		tr.peers[id] = p
	}
	p.used.Store(tr.clk.Now().UnixNano())
	return p
}
