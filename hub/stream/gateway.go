package stream

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/throttle"
)

// Config bounds a gateway. The zero value works.
type Config struct {
	Open       int           // bridges of one hub; 50 (IoT Hub: quotas, device streams)
	EachSecond int           // new ones of one hub; 5
	Bytes      int64         // that one hub carries in a day; 300 MB
	Meet       time.Duration // how long the ends have to find each other; 60 s
}

func (c Config) withDefaults() Config {
	if c.Open <= 0 {
		c.Open = 50
	}
	if c.EachSecond <= 0 {
		c.EachSecond = 5
	}
	if c.Bytes <= 0 {
		c.Bytes = 300 << 20
	}
	if c.Meet <= 0 {
		c.Meet = time.Minute
	}
	return c
}

// Gateway carries the streams of all hubs of a process.
type Gateway struct {
	cfg   Config
	log   *slog.Logger
	clock clock.Clock
	key   [32]byte // signs tokens; of this process only, as bridges are
	new   *throttle.Throttle[string]

	mu      sync.Mutex // guards the fields below
	bridges map[string]*bridge
	open    map[string]int // by hub
	carried map[string]*day
}

// day is what a hub carried on one day.
type day struct {
	of    int64 // days since 1970, UTC
	bytes atomic.Int64
}

// New returns a gateway.
func New(cfg Config, log *slog.Logger, clk clock.Clock) *Gateway {
	cfg = cfg.withDefaults()
	g := &Gateway{
		cfg: cfg, log: log, clock: clk, bridges: map[string]*bridge{}, open: map[string]int{}, carried: map[string]*day{},
		new: throttle.New[string](throttle.Config{Burst: cfg.EachSecond, Every: time.Second / time.Duration(cfg.EachSecond)}, clk),
	}
	_, _ = rand.Read(g.key[:]) // never fails
	return g
}

// Run ends the bridges whose ends do not find each other in time, until ctx ends; then it ends those that wait. Streams that are carried end with
// their connections.
func (g *Gateway) Run(ctx context.Context) error {
	for {
		tick, stop := g.clock.After(time.Second)
		select {
		case now := <-tick:
			g.sweep(func(b *bridge) bool { return b.late(now) || !b.allowed(ctx) })
		case <-ctx.Done():
			stop()
			g.sweep(func(b *bridge) bool { return b.late(forever) })
			return nil
		}
	}
}

// forever is later than every bridge waits.
var forever = time.Unix(1<<40, 0)

// sweep ends the bridges of which over is true.
func (g *Gateway) sweep(over func(*bridge) bool) {
	g.mu.Lock()
	list := slices.Collect(maps.Values(g.bridges))
	g.mu.Unlock()
	for _, b := range list {
		if over(b) {
			b.end()
			g.remove(b)
		}
	}
}

// Request asks for a stream.
type Request struct {
	To       hub.Name
	Name     string
	Host     string        // the authority of the addresses that both ends are given
	Connect  time.Duration // how long to wait for a device that does not listen
	Response time.Duration // how long it may take to answer; 0 is 60 s
	// Stands tells whether who asks may still have a stream; nil is for ever.
	Stands func(context.Context) bool
}

// Grant is the answer.
type Grant struct {
	Accepted bool
	URL      string // wss; of an accepted stream
	Token    string // for the one who asked
}

// Path is the first segment of the addresses.
const Path = "bridges"

// Open asks a device for a stream. Faults are those of hub.RequestStream, and Exhausted (429001) when the hub has too many streams, made
// too many lately, or carried its share of the day.
func (g *Gateway) Open(ctx context.Context, h *hub.Hub, r Request) (Grant, error) {
	b, err := g.begin(h, r)
	if err != nil {
		return Grant{}, err
	}
	address := (&url.URL{Scheme: "wss", Host: r.Host, Path: "/" + Path + "/" + b.id}).String()
	accepted, err := h.RequestStream(ctx, r.To, hub.StreamRequest{Name: r.Name, URL: address, Token: g.token(h, b, ofDevice)}, r.Connect, r.Response)
	if err != nil || accepted == nil {
		g.remove(b)
		return Grant{}, err
	}
	b.mu.Lock()
	b.until = g.clock.Now().Add(g.cfg.Meet)
	b.stands = append(b.stands, accepted.Stands)
	if r.Stands != nil {
		b.stands = append(b.stands, r.Stands)
	}
	b.mu.Unlock()
	g.log.Info("hub: stream opened", "hub", h.Name(), "device", r.To.String(), "stream", r.Name, "bridge", b.id)
	return Grant{true, address, g.token(h, b, ofService)}, nil
}

func (g *Gateway) begin(h *hub.Hub, r Request) (*bridge, error) {
	op := "stream.Open"
	if wait := g.new.Take(h.ID()); wait > 0 {
		return nil, code.With(fault.Newf(op, fault.Exhausted, "the hub opens at most %d streams a second", g.cfg.EachSecond).Advise("try again in a second"), code.Throttled)
	}
	today := g.today(h)
	if today.bytes.Load() >= g.cfg.Bytes {
		return nil, code.With(fault.Newf(op, fault.Exhausted, "the streams of the hub carried %d bytes today, which is their limit", g.cfg.Bytes).
			Advise("try again tomorrow, UTC"), code.QuotaExceeded)
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	b := &bridge{id: hex.EncodeToString(id), hub: h, to: r.To, name: r.Name, today: today, met: make(chan struct{}), over: make(chan struct{})}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open[h.ID()] >= g.cfg.Open {
		return nil, code.With(fault.Newf(op, fault.Exhausted, "the hub has %d streams open, which is its limit", g.cfg.Open).Advise("close some"), code.Throttled)
	}
	g.open[h.ID()]++
	g.bridges[b.id] = b
	return b, nil
}

// today returns what counts a hub's bytes on this day.
func (g *Gateway) today(h *hub.Hub) *day {
	now := g.clock.Now().Unix() / (24 * 60 * 60)
	g.mu.Lock()
	defer g.mu.Unlock()
	d := g.carried[h.ID()]
	if d == nil || d.of != now {
		d = &day{of: now}
		g.carried[h.ID()] = d
	}
	return d
}

func (g *Gateway) remove(b *bridge) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.bridges[b.id] != b {
		return
	}
	delete(g.bridges, b.id)
	if g.open[b.hub.ID()]--; g.open[b.hub.ID()] == 0 {
		delete(g.open, b.hub.ID())
	}
}

// Count returns how many bridges a hub has.
func (g *Gateway) Count(h *hub.Hub) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open[h.ID()]
}
