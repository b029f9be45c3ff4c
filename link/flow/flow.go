package flow

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// Info is what a screen shows of one open flow.
type Info struct {
	Endpoint string         // uid of the PrivateEndpoint
	Name     string         // ot/plant-7/hub
	Peer     identity.ID    // the consumer's agent on the provider's side; empty on the consumer's own
	Client   netip.AddrPort // who dialled the endpoint
	Port     uint16         // of the endpoint
	Since    time.Time
	Sent     uint64 // bytes from the client to the service
	Received uint64 // bytes from the service to the client
}

// flow is one TCP connection joined to one stream. It is listed from before either exists, so that a cut finds it in every state.
type flow struct {
	info     Info // without the counts of bytes
	provider bool // the socket leads to the service and not to the client
	socket   socket
	stream   *mux.Stream
	count    *counters
	onData   func() // called for the first bytes that came out of the stream; may be nil
	cancel   context.CancelFunc

	meter atomic.Pointer[Meter] // nil, or a nil Meter: no limit
	clk   clock.Clock           // for what has a meter
	ctx   context.Context       //nolint:containedctx // as clk: ends when the flow is cut
	anew  atomic.Bool           // a meter came while bytes moved without one, and they were stopped to begin anew

	written atomic.Uint64 // bytes given to the socket
	source  source        // what the stream reads the socket through, which also tells how much came in
	ended   atomic.Uint32 // bits of the directions that ended in order
	said    atomic.Bool   // the socket said end of data, and the stream is about to be told
	other   sync.WaitGroup

	mu      sync.Mutex // guards the fields below, and socket and stream until both are there
	cut     bool
	read    uint64 // bytes read from the socket as far as known
	counted uint64 // of them, in the totals
	readAll bool   // read is final
}

// attachSocket gives the flow its socket, or closes it when the flow was cut meanwhile.
func (f *flow) attachSocket(c socket) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cut {
		abort(c)
		return false
	}
	f.socket = c
	return true
}

// attachStream gives the flow its stream, or resets it when the flow was cut meanwhile.
func (f *flow) attachStream(s *mux.Stream) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cut {
		s.Reset(tunnel.ResetRevoked, "")
		return false
	}
	f.stream = s
	return true
}

// sever ends the flow in both directions at once, whatever it is doing; only the first call counts.
func (f *flow) sever(code tunnel.ResetCode, message string) {
	f.mu.Lock()
	if f.cut {
		f.mu.Unlock()
		return
	}
	f.cut = true
	socket, stream := f.socket, f.stream
	f.mu.Unlock()
	if f.cancel != nil {
		f.cancel()
	}
	if socket != nil {
		abort(socket)
	}
	if stream != nil {
		stream.Reset(code, message)
	}
}

// abort closes a socket so that the peer sees a reset and not an end of data, where there is such a thing.
func abort(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// keepAlive notices a dead peer of an idle flow within about three minutes, and keeps the state of firewalls on the way fresh.
func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 45 * time.Second, Interval: 15 * time.Second, Count: 8}
}

// table lists live flows and bounds their number.
type table struct {
	mu     sync.Mutex // guards the fields below
	flows  map[*flow]struct{}
	closed bool
}

type admission uint8

const (
	admitted admission = iota
	tableFull
	tableClosed
)

func (t *table) add(f *flow, limit int) admission {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return tableClosed
	case len(t.flows) >= limit:
		return tableFull
	}
	if t.flows == nil {
		t.flows = map[*flow]struct{}{}
	}
	t.flows[f] = struct{}{}
	return admitted
}

func (t *table) remove(f *flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.flows, f)
	if len(t.flows) == 0 {
		t.flows = nil // a map never shrinks by itself
	}
}

// close lets nothing in any more and severs what is there.
func (t *table) close(code tunnel.ResetCode, message string) int {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	flows := t.list()
	for _, f := range flows {
		f.sever(code, message)
	}
	return len(flows)
}

func (t *table) list() []*flow {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := make([]*flow, 0, len(t.flows))
	for f := range t.flows {
		l = append(l, f)
	}
	return l
}
