package stream

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
)

// bridge is one stream.
type bridge struct {
	id    string
	hub   *hub.Hub
	to    hub.Name
	name  string
	today *day

	met  chan struct{} // closed when both ends are there
	over chan struct{} // closed when it ended, or the ends did not find each other
	once sync.Once     // of over

	mu     sync.Mutex // guards the fields below
	ends   map[end]net.Conn
	until  time.Time                    // when the ends have to have met; zero before the device accepted
	stands []func(context.Context) bool // whether those who made it, and those who came, may still be here
}

// allowed tells whether nobody has taken from an end what it came with: an identity, a key, a side of the hub.
func (b *bridge) allowed(ctx context.Context) bool {
	b.mu.Lock()
	all := slices.Clone(b.stands)
	b.mu.Unlock()
	for _, stands := range all {
		if !stands(ctx) {
			return false
		}
	}
	return true
}

// late tells whether the ends had time to meet and did not.
func (b *bridge) late(now time.Time) bool {
	select {
	case <-b.met:
		return false
	default:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.until.IsZero() && !now.Before(b.until)
}

func (b *bridge) end() { b.once.Do(func() { close(b.over) }) }

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
	return &Place{g, b, e}, nil
}

// Place is an end of a bridge that is taken and whose connection is awaited.
type Place struct {
	gateway *Gateway
	bridge  *bridge
	end     end
}

// Leave gives the bridge up: the connection did not come.
func (p *Place) Leave() {
	p.bridge.end()
	p.gateway.remove(p.bridge)
}

// Join brings the connection of an end, and returns when the bridge is over and conn is closed; or when ctx ends, which closes it. stands
// tells whether the connection may still be here.
func (p *Place) Join(ctx context.Context, conn net.Conn, stands func(context.Context) bool) {
	g, b := p.gateway, p.bridge
	defer conn.Close()
	b.mu.Lock()
	b.ends[p.end] = conn
	b.stands = append(b.stands, stands)
	device, service := b.ends[ofDevice], b.ends[ofService]
	b.mu.Unlock()
	if device != nil && service != nil {
		close(b.met)
		g.carry(ctx, b, device, service)
		return
	}
	select {
	case <-b.met:
	case <-b.over:
		return
	case <-ctx.Done():
		p.Leave()
		return
	}
	<-b.over // the other end carries
}

// carry passes bytes both ways until one end is over.
func (g *Gateway) carry(ctx context.Context, b *bridge, device, service net.Conn) {
	defer g.remove(b)
	closeBoth := sync.OnceFunc(func() {
		_ = device.Close() // they may be closed already
		_ = service.Close()
	})
	stop := context.AfterFunc(ctx, closeBoth)
	defer stop()
	var all, cutting sync.WaitGroup
	cutting.Go(func() {
		<-b.over
		closeBoth()
	})
	var sent [2]int64
	for i, way := range [][2]net.Conn{{device, service}, {service, device}} {
		all.Go(func() {
			defer closeBoth()
			sent[i], _ = io.Copy(&counted{way[1], b.today, g.cfg.Bytes}, way[0]) // why one end was lost does not matter to the other
		})
	}
	all.Wait()
	b.end()
	cutting.Wait()
	g.log.Info("hub: stream ended", "hub", b.hub.Name(), "device", b.to.String(), "stream", b.name, "bridge", b.id, "fromDevice", sent[0], "toDevice", sent[1])
}

// counted ends a stream whose hub has carried enough.
type counted struct {
	io.Writer
	today *day
	most  int64
}

func (c *counted) Write(p []byte) (int, error) {
	if c.today.bytes.Add(int64(len(p))) > c.most {
		return 0, fault.New("stream.carry", fault.Exhausted, "the streams of the hub carried enough today")
	}
	return c.Writer.Write(p)
}
