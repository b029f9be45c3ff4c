package hub_test

import (
	"encoding/json"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/limit"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// player is a device that hands what it is given to the test.
type player struct {
	*hub.Session
	t       testing.TB
	calls   chan hub.MethodCall
	waiting chan struct{} // holds one when the hub said that commands wait
	cuts    *causes
}

func (p *player) DesiredChanged(int64, json.RawMessage) {}

func (p *player) MethodCalled(c hub.MethodCall) { p.calls <- c }

func (p *player) CommandsWaiting() {
	select {
	case p.waiting <- struct{}{}:
	default:
	}
}

// play connects an identity, which is made if need be, with the key of a policy.
func (w *world) play(n hub.Name, listen hub.Topic) *player {
	w.t.Helper()
	w.identity(n)
	key := policyKey(w, hub.PolicyDevice)
	path := "/devices/" + n.Device
	if n.IsModule() {
		path += "/modules/" + n.Module
	}
	token, err := sas.Sign(host+path, key, hub.PolicyDevice, w.clock.Now().Add(100*time.Hour))
	if err != nil {
		w.t.Fatal(err)
	}
	p := &player{t: w.t, calls: make(chan hub.MethodCall, 100), waiting: make(chan struct{}, 1), cuts: &causes{}}
	p.Session, err = w.hub().Connect(w.t.Context(), hub.Request{Device: n.Device, Module: n.Module, Token: token, Side: public, Door: "test", Receiver: p, Cut: p.cuts.add})
	if err != nil {
		w.t.Fatal(err)
	}
	if listen != 0 {
		p.Listen(listen, true)
	}
	return p
}

func (w *world) identity(n hub.Name) {
	w.t.Helper()
	ctx := w.t.Context()
	for _, d := range []hubstore.Device{{ID: n.Device}, {ID: n.Device, Module: n.Module}} {
		if _, err := w.hub().Identity(ctx, d.Name()); err == nil {
			continue
		}
		if _, err := w.hub().CreateDevice(ctx, d); err != nil {
			w.t.Fatal(err)
		}
	}
}

// next is what the session is given, or fails.
func (p *player) next() *hub.Command {
	p.t.Helper()
	c, err := p.NextCommand(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// told tells whether the hub said that commands wait since it was asked last.
func (p *player) told() bool {
	select {
	case <-p.waiting:
		return true
	default:
		return false
	}
}

// wait calls one of the session's methods with a callback, and waits for that.
func wait(f func(lock string, done func(error)), lock string) error {
	done := make(chan error, 1)
	f(lock, func(err error) { done <- err })
	return <-done
}

// until waits for another goroutine.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

// unlimited takes all limits away: a clock that stands still would never give back what was used.
func (w *world) unlimited() {
	w.t.Helper()
	none := map[string]limit.Rate{}
	for _, c := range limit.Classes() {
		none[c.String()] = limit.Rate{}
	}
	text, err := json.Marshal(map[string]any{"device": none, "hub": none})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.hub().SetLimits(w.t.Context(), text, "test"); err != nil {
		w.t.Fatal(err)
	}
}

// benchHub is a hub on the machine's clock, without limits of its own.
func benchHub(b *testing.B, cfg hub.Config) *hub.Hub {
	b.Helper()
	// Rates that nobody reaches.
	for i := range cfg.Tenant {
		cfg.Tenant[i] = limit.Rate{PerSecond: 1e9, Burst: 1e9}
	}
	cfg.Limits.Hub = cfg.Tenant
	server, err := hub.New(b.Context(), cfg, &memory{}, slog.New(slog.DiscardHandler), clock.System{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Close() })
	if err := server.SetHubs([]plan.Hub{one}); err != nil {
		b.Fatal(err)
	}
	h, _ := server.ByHost(host)
	return h
}

func benchConnect(b *testing.B, h *hub.Hub, id string, r hub.Receiver) *hub.Session {
	b.Helper()
	d, err := h.CreateDevice(b.Context(), hubstore.Device{ID: id})
	if err != nil {
		b.Fatal(err)
	}
	token, err := sas.Sign(host+"/devices/"+id, d.PrimaryKey, "", time.Now().Add(time.Hour))
	if err != nil {
		b.Fatal(err)
	}
	s, err := h.Connect(b.Context(), hub.Request{Device: id, Token: token, Side: public, Door: "bench", Receiver: r, Cut: func(hub.Cause) {}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.End)
	return s
}
