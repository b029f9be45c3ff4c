package flow

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/wire/proxyproto"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// dialTimeout bounds how long a target may take to answer.
const dialTimeout = 10 * time.Second

// winsockRefused is what Windows says for ECONNREFUSED (WSAECONNREFUSED); elsewhere no error has this number.
const winsockRefused = syscall.Errno(10061)

// Services is the provider's side: it decides about streams and dials targets.
type Services struct {
	log    *slog.Logger
	clk    clock.Clock
	opt    options
	count  *counters
	dialer net.Dialer

	complaints complaints

	setting sync.Mutex // held by Set, so that plans take effect one after the other; taken before mu

	mu      sync.Mutex // guards the fields below
	rules   rules
	links   map[string]*link // by endpoint uid, those of rules
	revoked map[identity.ID]struct{}
	stopped bool
	wg      sync.WaitGroup // flows
}

// link is one approved connection with its flows.
type link struct {
	live table
}

// NewServices returns Services that refuse every stream until Set. reg may be nil.
func NewServices(log *slog.Logger, clk clock.Clock, reg prometheus.Registerer, opts ...Option) *Services {
	s := &Services{
		log: log, clk: clk, opt: apply(opts), links: map[string]*link{},
		dialer: net.Dialer{Timeout: dialTimeout, KeepAliveConfig: keepAlive()},
	}
	s.count = newCounters("service", reg, log, s.flows)
	s.dialer.SetMultipathTCP(false)
	return s
}

// Run waits for ctx to end, then refuses new streams, cuts the flows there are and returns nil when they are gone. It runs once.
func (s *Services) Run(ctx context.Context) error {
	<-ctx.Done()
	s.mu.Lock()
	s.stopped = true
	links := s.links
	s.links, s.rules = map[string]*link{}, nil
	s.mu.Unlock()
	for _, l := range links {
		l.live.close(tunnel.ResetShuttingDown, "the provider's agent is stopping")
	}
	s.wg.Wait()
	return nil
}

// Set makes the services given, and no others, the ones that may be reached. Flows over a link that is gone, or whose service now
// has another target, lost the port or means another network, are reset as revoked when it returns. Others are not touched.
func (s *Services) Set(services []plan.Service) {
	s.setting.Lock()
	defer s.setting.Unlock()
	next := compile(services)
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return
	}
	was := s.rules
	s.rules = next
	gone := map[string]*link{}
	var strayed []*flow
	for endpoint, l := range s.links {
		if !next.keep(was, endpoint) {
			gone[endpoint] = l
			delete(s.links, endpoint)
			continue
		}
		for _, f := range l.live.list() {
			if was[endpoint].target(f.info.Port) != next[endpoint].target(f.info.Port) {
				strayed = append(strayed, f)
			}
		}
	}
	for endpoint := range next {
		if s.links[endpoint] == nil {
			s.links[endpoint] = &link{}
		}
	}
	s.mu.Unlock()
	for _, f := range strayed {
		f.sever(tunnel.ResetRevoked, "")
	}
	for endpoint, l := range gone {
		if n := l.live.close(tunnel.ResetRevoked, ""); n > 0 {
			s.log.Info("flows cut, the connection is no longer approved", "endpoint", was[endpoint].link.Name, "flows", n)
		}
	}
}

// SetRevoked makes the agents given, and no others, ones that are refused whatever their certificate and the services say. Their flows
// are cut when it returns.
func (s *Services) SetRevoked(agents []identity.ID) {
	s.setting.Lock()
	defer s.setting.Unlock()
	revoked := map[identity.ID]struct{}{}
	for _, a := range agents {
		revoked[a] = struct{}{}
	}
	var cut []*flow
	s.mu.Lock()
	s.revoked = revoked
	for _, l := range s.links {
		for _, f := range l.live.list() {
			if _, gone := revoked[f.info.Peer]; gone {
				cut = append(cut, f)
			}
		}
	}
	s.mu.Unlock()
	for _, f := range cut {
		f.sever(tunnel.ResetRevoked, "")
	}
	if len(cut) > 0 {
		s.log.Info("flows cut, the consumer's agent was deleted", "flows", len(cut))
	}
}

// Handle is the life of one stream that a peer opened: it decides, dials, forwards, and returns when the flow has ended. The peer's
// id is the one its certificate was verified for.
func (s *Services) Handle(peer identity.ID, stream *mux.Stream) {
	header := stream.Flow()
	f := &flow{count: s.count, provider: true, stream: stream, info: Info{
		Endpoint: header.Endpoint, Peer: peer, Client: header.Client, Port: header.Port, Since: s.clk.Now(),
	}}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f.cancel = cancel
	g, l, refused := s.admit(f)
	if refused != "" {
		s.count.refused.WithLabelValues(refused).Inc()
		s.complaints.warn(s.clk.Now(), s.log, "flow refused", "reason", refused, "peer", peer, "endpoint", header.Endpoint,
			"port", header.Port, "client", header.Client)
		stream.Reset(resetFor(refused), "") // why exactly is none of the peer's business
		return
	}
	defer s.wg.Done()
	defer l.live.remove(f)
	if !s.dial(ctx, f, g) {
		return
	}
	if err := stream.Accept(); err != nil {
		f.sever(tunnel.ResetPeer, "")
		return
	}
	s.count.opened.Add(1)
	s.count.open.Add(1)
	reset := f.forward()
	s.count.open.Add(-1)
	i := f.snapshot()
	s.log.Debug("flow ended", "endpoint", i.Name, "peer", peer, "client", i.Client, "sent", i.Sent, "received", i.Received, "reset", reset)
}

func resetFor(reason string) tunnel.ResetCode {
	switch reason {
	case reasonFull:
		return tunnel.ResetOverloaded
	case reasonStopping:
		return tunnel.ResetShuttingDown
	}
	return tunnel.ResetRefused
}

// admit decides and lists the flow under the same lock, so that a link revoked meanwhile finds it.
func (s *Services) admit(f *flow) (grant, *link, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return grant{}, nil, reasonStopping
	}
	if _, revoked := s.revoked[f.info.Peer]; revoked {
		return grant{}, nil, reasonRevoked
	}
	g, reason := s.rules.decide(f.info.Peer, f.info.Endpoint, f.info.Port)
	if reason != "" {
		return grant{}, nil, reason
	}
	l := s.links[f.info.Endpoint]
	f.info.Name = g.link.Name
	if l.live.add(f, s.opt.maxFlows) != admitted {
		return grant{}, nil, reasonFull
	}
	s.wg.Add(1)
	return g, l, ""
}

// dial connects the flow to the target and writes the header that the service asks for.
func (s *Services) dial(ctx context.Context, f *flow, g grant) bool {
	c, err := s.dialer.DialContext(ctx, "tcp", net.JoinHostPort(g.service.Target, strconv.Itoa(int(g.target(f.info.Port)))))
	if err != nil {
		if ctx.Err() != nil {
			return false
		}
		code := tunnel.ResetUnreachable
		if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, winsockRefused) {
			code = tunnel.ResetTargetClosed
		}
		s.fail(f, g, code, err)
		return false
	}
	socket := c.(*net.TCPConn) //nolint:forcetypeassert // what the network asked for is
	if !f.attachSocket(socket) {
		return false
	}
	if !g.service.ProxyProtocol {
		return true
	}
	b, err := s.proxyHeader(f, g, socket)
	if err == nil {
		_, err = socket.Write(b)
	}
	if err != nil {
		s.fail(f, g, tunnel.ResetUnreachable, err)
		return false
	}
	return true
}

func (s *Services) fail(f *flow, g grant, code tunnel.ResetCode, err error) {
	s.count.refused.WithLabelValues(code.String()).Inc()
	s.complaints.warn(s.clk.Now(), s.log, "target not reached", "reason", code, "service", g.service.Name,
		"target", g.service.Target, "port", g.target(f.info.Port), "endpoint", g.link.Name, "error", plainWords(err))
	f.sever(code, "") // the words would tell another tenant about our network
}

// proxyHeader says that the client, as the consumer's agent saw it, calls the target through this link.
func (s *Services) proxyHeader(f *flow, g grant, socket *net.TCPConn) ([]byte, error) {
	source := f.info.Client
	if !source.IsValid() {
		source = addrPort(socket.LocalAddr())
	}
	h := proxyproto.New(source, addrPort(socket.RemoteAddr()))
	h.SetLinkID(g.link.LinkID)
	if len(g.service.LinkKey) > 0 {
		if err := proxyproto.Sign(g.service.LinkKey, &h, s.clk.Now()); err != nil {
			return nil, err
		}
	}
	return proxyproto.Append(nil, h)
}

func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := t.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// Flows returns the open flows, oldest first.
func (s *Services) Flows() []Info { return infos(s.flows()) }

func (s *Services) flows() []*flow {
	s.mu.Lock()
	defer s.mu.Unlock()
	var flows []*flow
	for _, l := range s.links {
		flows = append(flows, l.live.list()...)
	}
	return flows
}

// Allowed says whether any approved link is for the peer's network: whoever is not may be turned away before it costs a tunnel. The
// decision proper is Handle's.
func (s *Services) Allowed(peer identity.ID) bool {
	s.mu.Lock()
	r := s.rules
	_, revoked := s.revoked[peer]
	s.mu.Unlock()
	if revoked {
		return false
	}
	for _, g := range r {
		if g.fits(peer) {
			return true
		}
	}
	return false
}
