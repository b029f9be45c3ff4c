package stream

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
)

// bridge is one stream.
type bridge struct {
	id      string // also of the session
	gateway *Gateway
	hub     *hub.Hub
	request Request
	granted bool   // by a grant, or from inside
	grant   string // empty for a key, and from inside
	target  string // of the grant
	person  string // of the grant
	today   *day   // of a key; else nil

	met  chan struct{} // closed when both ends are there
	over chan struct{} // closed when it ended, or the ends did not find each other

	toDevice  atomic.Int64 // bytes
	toService atomic.Int64
	moved     atomic.Int64 // when bytes passed last, Unix nanoseconds
	pace      pace

	mu     sync.Mutex // guards the fields below
	ends   map[end]net.Conn
	until  time.Time                    // when the ends have to have met; zero before the device accepted
	opened time.Time                    // when they met
	stands []func(context.Context) bool // whether those who made it, and those who came, may still be here
	end    session.End                  // once it is over
	words  string
}

// finish ends the bridge; the first reason counts. One whose ends have met is left by whoever carries it.
func (b *bridge) finish(e session.End, words string) {
	b.mu.Lock()
	if b.end != "" {
		b.mu.Unlock()
		return
	}
	b.end, b.words = e, words
	met := !b.opened.IsZero()
	close(b.over)
	b.mu.Unlock()
	if !met {
		b.gateway.leave(b)
	}
}

func (b *bridge) outcome() (session.End, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.end, b.words
}

func (b *bridge) isMet() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.opened.IsZero()
}

// accepted says that the device will come, and that all this has to stand from now on.
func (b *bridge) accepted(until time.Time, stands ...func(context.Context) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.until, b.stands = until, append(b.stands, stands...)
}

// checkStands ends the bridge when somebody has taken from an end what it came with: an identity, a key, a side of the hub.
func (b *bridge) checkStands(ctx context.Context) {
	b.mu.Lock()
	all := slices.Clone(b.stands)
	b.mu.Unlock()
	for _, stands := range all {
		if !stands(ctx) {
			b.finish(session.EndRevoked, "what the device or the service came with was taken away: an identity, a key, or the way here")
		}
	}
}

// checkTimes ends the bridge when its ends did not find each other, or when its grant or the limits of its target say so.
func (g *Gateway) checkTimes(b *bridge, now time.Time) {
	b.mu.Lock()
	opened, until := b.opened, b.until
	b.mu.Unlock()
	if opened.IsZero() && !until.IsZero() && !now.Before(until) {
		b.finish(session.Unreachable, b.absent())
	}
	if b.grant == "" {
		return
	}
	g.mu.Lock()
	a, ok := g.admitted[b.grant]
	g.mu.Unlock()
	if !ok || !a.leads(b.hub, b.request.To, b.request.Name) || a.target.Record != nil {
		b.finish(session.EndRevoked, "")
		return
	}
	if _, ok := a.grant.Open(g.correct(now)); !ok {
		b.finish(session.EndExpired, "")
		return
	}
	limits := a.target.Limits
	b.pace.set(limits.BytesPerSecond)
	if opened.IsZero() {
		return
	}
	if most := limits.Total(); most > 0 && now.Sub(opened) >= most {
		b.finish(session.EndTotal, "")
	}
	if most := limits.Idle(); most > 0 && now.UnixNano()-b.moved.Load() >= int64(most) {
		b.finish(session.EndIdle, "")
	}
}

// absent says which end did not come.
func (b *bridge) absent() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ends[ofDevice] == nil {
		return "the device accepted the stream and did not come for it"
	}
	return "the device came for the stream, and who asked for it did not"
}

// Reserve checks a token for a bridge of the hub and takes its end: whoever comes with the same token is refused from then on. It is called
// before the WebSocket is accepted, so that a refusal can still be an answer. Unauthenticated when there is no such bridge, the token is
// another's, or was used.
func (g *Gateway) Reserve(h *hub.Hub, id, token string) (*Place, error) {
	e, err := g.read(token, id, h)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	b := g.bridges[id]
	g.mu.Unlock()
	if b == nil {
		return nil, fault.New("stream.Join", fault.Unauthenticated, "the stream is over").Advise("ask for a new one")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, used := b.ends[e]; used {
		return nil, fault.New("stream.Join", fault.Unauthenticated, "the token was used").Advise("ask for a new stream: a token is good once")
	}
	if b.ends == nil {
		b.ends = map[end]net.Conn{}
	}
	b.ends[e] = nil
	return &Place{b, e}, nil
}

// Place is an end of a bridge that is taken and whose connection is awaited.
type Place struct {
	bridge *bridge
	end    end
}

// Leave gives the bridge up: the connection did not come.
func (p *Place) Leave() {
	p.bridge.finish(session.EndBroken, "an end was lost before it could be used")
}

// Join brings the connection of an end, and returns when the bridge is over and conn is closed; or when ctx ends, which closes it. stands
// tells whether the connection may still be here. A connection that has CloseWrite can be closed one way at a time.
func (p *Place) Join(ctx context.Context, conn net.Conn, stands func(context.Context) bool) {
	b := p.bridge
	b.mu.Lock()
	if b.end != "" {
		b.mu.Unlock()
		shut(conn, "")
		return
	}
	b.ends[p.end] = conn
	b.stands = append(b.stands, stands)
	device, service := b.ends[ofDevice], b.ends[ofService]
	complete := device != nil && (service != nil || b.request.inside)
	if complete {
		b.opened = b.gateway.clock.Now()
		b.moved.Store(b.opened.UnixNano())
		close(b.met)
	}
	b.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { b.finish(session.EndStopping, "") })
	defer stop()
	switch {
	case complete && service == nil:
		b.gateway.note(b.record(session.Opened))
		b.watch(device) // who has the other end reads and writes this one
		b.close()
		b.gateway.leave(b)
	case complete:
		b.gateway.note(b.record(session.Opened))
		b.carry(device, service)
		b.gateway.leave(b)
	default:
		<-b.over // the other end carries, if it came
		b.close()
	}
}

// close closes both connections, with a word about why when it was not they who ended it.
func (b *bridge) close() {
	b.mu.Lock()
	conns := []net.Conn{b.ends[ofDevice], b.ends[ofService]}
	why := ""
	switch b.end {
	case session.EndClosed, session.EndBroken, "":
	default:
		if why = "the stream ended: " + string(b.end); b.words != "" {
			why += ", " + b.words
		}
	}
	b.mu.Unlock()
	var all sync.WaitGroup
	for _, c := range conns {
		if c != nil {
			all.Go(func() { shut(c, why) })
		}
	}
	all.Wait()
}

// cutter is a connection that can say why it is closed.
type cutter interface{ Cut(why string) }

func shut(c net.Conn, why string) {
	if k, ok := c.(cutter); ok && why != "" {
		k.Cut(why)
		return
	}
	_ = c.Close() // it may be closed already
}
