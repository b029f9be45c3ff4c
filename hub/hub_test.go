package hub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(childDelivers(dir))
	}
	goleak.VerifyTestMain(m)
}

// memory is an event log that keeps everything in a slice; only appending works.
type memory struct {
	hub.EventLog
	mu     sync.Mutex // guards the fields below
	events []eventlog.Event
	err    error
}

func (m *memory) AppendAsync(_, key string, e eventlog.Event, done func(eventlog.Position, error)) {
	m.mu.Lock()
	if m.err == nil {
		e.PartitionKey = key
		m.events = append(m.events, e)
	}
	err := m.err
	m.mu.Unlock()
	done(eventlog.Position{}, err)
}

const host = "contoso.azure-devices.net"

var (
	start  = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	one    = plan.Hub{ID: "u1", Name: "ot/cloud/contoso", HostNames: []string{"Contoso.azure-devices.net", "contoso.privatelink.azure-devices.net"}, LinkKey: []byte("0123456789abcdef"), Links: []uint32{7}}
	two    = plan.Hub{ID: "u2", Name: "ot/cloud/other", HostNames: []string{"other.azure-devices.net"}}
	public = hub.Side{Peer: netip.MustParseAddrPort("192.0.2.1:5"), Via: netip.MustParseAddrPort("192.0.2.1:5")}
)

type world struct {
	t      *testing.T
	server *hub.Server
	log    *memory
	clock  *clock.Fake
	dir    string
	reg    prometheus.Registerer // may be nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, log: &memory{}, clock: clock.NewFake(start), dir: filepath.Join(t.TempDir(), "hub")}
	w.open()
	return w
}

func (w *world) open() {
	w.t.Helper()
	s, err := hub.New(w.t.Context(), hub.Config{Dir: w.dir}, w.log, slog.New(slog.DiscardHandler), w.clock, w.reg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.server = s
	w.t.Cleanup(func() { _ = s.Close() })
	if err := s.SetHubs([]plan.Hub{one, two}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) hub() *hub.Hub {
	h, ok := w.server.ByHost(host + ":8883")
	if !ok {
		w.t.Fatal("no hub")
	}
	return h
}

func (w *world) device(id string) (hub.Device, string) {
	w.t.Helper()
	d, err := w.hub().CreateDevice(w.t.Context(), hubstore.Device{ID: id})
	if err != nil {
		w.t.Fatal(err)
	}
	token, err := sas.Sign(host+"/devices/"+id, d.PrimaryKey, "", start.Add(time.Hour))
	if err != nil {
		w.t.Fatal(err)
	}
	return d, token
}

func (w *world) connect(id, token string, side hub.Side) (*hub.Session, *causes, error) {
	c := &causes{}
	s, err := w.hub().Connect(w.t.Context(), hub.Request{Device: id, Token: token, Side: side, Door: "test", Cut: c.add})
	return s, c, err
}

type causes struct {
	mu   sync.Mutex // guards the field below
	list []hub.Cause
}

func (c *causes) add(x hub.Cause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, x)
}

func (c *causes) last() hub.Cause {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.list) == 0 {
		return 0
	}
	return c.list[len(c.list)-1]
}

func TestWhatCutsASession(t *testing.T) {
	closed, unlinked := one, one
	closed.Public, unlinked.Links = resource.PublicDisabled, nil
	through := hub.Side{Hub: "u1", Link: 7}
	for _, c := range []struct {
		name string
		side hub.Side
		do   func(*world) error
		want hub.Cause
	}{
		{"connecting again", public, func(w *world) error {
			token, _ := sas.Sign(host, policyKey(w, hub.PolicyDevice), hub.PolicyDevice, start.Add(time.Hour))
			_, _, err := w.connect("d", token, public)
			return err
		}, hub.TakenOver},
		{"disabling", public, func(w *world) error {
			_, err := w.hub().UpdateDevice(t.Context(), hubstore.Device{ID: "d", Status: hubstore.Disabled}, hub.AnyETag)
			return err
		}, hub.DeviceDisabled},
		{"deleting", through, func(w *world) error { return w.hub().DeleteDevice(t.Context(), "d", hub.AnyETag) }, hub.DeviceDeleted},
		{"changing something else", public, func(w *world) error {
			d, err := w.hub().Device(t.Context(), "d")
			if err != nil {
				return err
			}
			d.StatusReason = "x"
			_, err = w.hub().UpdateDevice(t.Context(), d.Device, hub.AnyETag)
			return err
		}, 0},
		{"replacing the keys", public, func(w *world) error {
			_, err := w.hub().UpdateDevice(t.Context(), hubstore.Device{ID: "d"}, hub.AnyETag)
			return err
		}, hub.KeyGone},
		{"another way to prove itself", through, func(w *world) error {
			_, err := w.hub().UpdateDevice(t.Context(), hubstore.Device{ID: "d", AuthType: hub.AuthNone}, hub.AnyETag)
			return err
		}, hub.KeyGone},
		{"closing the public side", public, func(w *world) error { return w.server.SetHubs([]plan.Hub{closed, two}) }, hub.PublicClosed},
		{"closing the public side for who came through an endpoint", through, func(w *world) error { return w.server.SetHubs([]plan.Hub{closed, two}) }, 0},
		{"the same plan again", public, func(w *world) error { return w.server.SetHubs([]plan.Hub{one, two}) }, 0},
		{"leaving the plan", through, func(w *world) error { return w.server.SetHubs([]plan.Hub{two}) }, hub.HubGone},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			_, token := w.device("d")
			s, cuts, err := w.connect("d", token, c.side)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.do(w); err != nil {
				t.Fatal(err)
			}
			if got := cuts.last(); got != c.want {
				t.Errorf("cut for %q, want %q", got, c.want)
			}
			s.End()
			s.End()
		})
	}
	t.Run("a held connection loses its link", func(t *testing.T) {
		w := newWorld(t)
		cuts := &causes{}
		release, err := w.server.Hold(through, cuts.add)
		if err != nil {
			t.Fatal(err)
		}
		other := &causes{}
		releaseOther, err := w.server.Hold(public, other.add)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.server.SetHubs([]plan.Hub{unlinked, two}); err != nil {
			t.Fatal(err)
		}
		if cuts.last() != hub.LinkClosed || other.last() != 0 {
			t.Errorf("cut for %q and %q", cuts.last(), other.last())
		}
		release()
		releaseOther()
		if _, err := w.server.Hold(through, cuts.add); fault.KindOf(err) != fault.Denied {
			t.Errorf("held again: %v", err)
		}
	})
}

func policyKey(w *world, policy string) string {
	text, err := w.hub().PolicyConnectionString(policy)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := sas.ParseConnectionString(text)
	if err != nil {
		w.t.Fatal(err)
	}
	return c.Key
}

func TestEnterKnowsSidesAndNames(t *testing.T) {
	w := newWorld(t)
	closed := one
	closed.Public = resource.PublicDisabled
	if err := w.server.SetHubs([]plan.Hub{closed, two}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		side hub.Side
		host string
		ok   bool
	}{
		{"through its endpoint", hub.Side{Hub: "u1", Link: 7}, host, true},
		{"by the private name", hub.Side{Hub: "u1", Link: 7, ServerName: "contoso.privatelink.azure-devices.net"}, "CONTOSO.privatelink.azure-devices.net:443", true},
		{"to another hub", hub.Side{Hub: "u1", Link: 7}, "other.azure-devices.net", false},
		{"with another TLS name", hub.Side{Hub: "u1", Link: 7, ServerName: "other.azure-devices.net"}, host, false},
		{"with a strange TLS name", hub.Side{Hub: "u1", Link: 7, ServerName: "example.net"}, host, false},
		{"through a link that is closed", hub.Side{Hub: "u1", Link: 8}, host, false},
		{"through a hub that is gone", hub.Side{Hub: "u3", Link: 7}, host, false},
		{"public and closed", hub.Side{}, host, false},
		{"public and open", hub.Side{}, "other.azure-devices.net", true},
		{"public, no such hub", hub.Side{}, "example.net", false},
		{"public, nothing said", hub.Side{}, "", false},
	} {
		if _, err := w.server.Enter(c.side, c.host); (err == nil) != c.ok || err != nil && fault.KindOf(err) != fault.Denied {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestRacingChangeAndConnectLeaveNoSession(t *testing.T) {
	w := newWorld(t)
	for i := range 30 {
		id := fmt.Sprint("d", i)
		_, token := w.device(id)
		var all sync.WaitGroup
		var s *hub.Session
		var cuts *causes
		var err error
		all.Go(func() { s, cuts, err = w.connect(id, token, public) })
		all.Go(func() {
			if _, err := w.hub().UpdateDevice(t.Context(), hubstore.Device{ID: id, Status: hubstore.Disabled}, hub.AnyETag); err != nil {
				t.Error(err)
			}
		})
		all.Wait()
		if err == nil && cuts.last() != hub.DeviceDisabled {
			t.Fatalf("device %s is disabled and has a session", id)
		}
		if s != nil {
			s.End()
		}
	}
	if n := w.hub().Connected(); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

func TestDevicesAndKeysSurvive(t *testing.T) {
	w := newWorld(t)
	d, token := w.device("d")
	before := policyKey(w, hub.PolicyOwner)
	s, _, err := w.connect("d", token, public)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.server.Run(ctx) }()
	w.clock.Advance(time.Minute)
	s.Submit([]byte("x"), s.Plain(), func(eventlog.Position, error) {})
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.connect("d", token, public); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a stopped hub answers %v", err)
	}
	if err := w.server.Close(); err != nil {
		t.Fatal(err)
	}
	w.open()
	got, err := w.hub().Device(t.Context(), "d")
	if err != nil || got.PrimaryKey != d.PrimaryKey || got.Connected || !got.LastActivity.Equal(start.Add(time.Minute)) || !got.ConnectionChanged.Equal(start) {
		t.Errorf("%+v, %v", got, err)
	}
	if after := policyKey(w, hub.PolicyOwner); after != before {
		t.Error("the policy's key changed")
	}
	if _, err := w.hub().PolicyConnectionString("nobody"); fault.KindOf(err) != fault.NotFound || fault.Next(err) == "" {
		t.Error(err)
	}
}

func TestLabelsCannotBeForged(t *testing.T) {
	w := newWorld(t)
	_, token := w.device("d")
	s, _, err := w.connect("d", token, public)
	if err != nil {
		t.Fatal(err)
	}
	defer s.End()
	s.Submit([]byte("x"), s.Label(nil, map[string]string{"iothub-connection-device-id": "other", "message-id": "m"}), func(eventlog.Position, error) {})
	e := w.log.events[0]
	if e.System["iothub-connection-device-id"] != "d" || e.System["message-id"] != "m" || e.PartitionKey != "d" {
		t.Errorf("%+v", e)
	}
}

// IoT Hub puts the model a device said it is of when it connected on all of its messages.
func TestMessagesBearTheModel(t *testing.T) {
	w := newWorld(t)
	_, token := w.device("d")
	for _, c := range []struct{ model, want string }{{"", ""}, {"dtmi:a;1", "dtmi:a;1"}, {strings.Repeat("m", 2049), ""}} {
		s, err := w.hub().Connect(t.Context(), hub.Request{Device: "d", Token: token, Side: public, Door: "test", ModelID: c.model, Cut: func(hub.Cause) {}})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range []*hub.Labels{s.Plain(), s.Label(nil, map[string]string{"dt-dataschema": "forged"})} {
			s.Submit(nil, l, func(eventlog.Position, error) {})
		}
		s.End()
		n := len(w.log.events)
		if got := w.log.events[n-2].System["dt-dataschema"]; got != c.want {
			t.Errorf("of model %.20q the stamp is %.20q", c.model, got)
		}
		if got := w.log.events[n-1].System["dt-dataschema"]; c.want != "" && got != c.want {
			t.Errorf("of model %.20q a device made it %.20q", c.model, got)
		}
	}
}

func TestSubmitAllTellsWhatTheLogSays(t *testing.T) {
	w := newWorld(t)
	boom := fault.New("test", fault.Exhausted, "the disk is full")
	w.log.err = boom
	if err := w.hub().SubmitAll(hub.Identity{Device: "d"}, []hub.Message{{Body: []byte("x")}, {}}); !errors.Is(err, boom) {
		t.Error(err)
	}
	if w.hub().Stats().Messages != 0 {
		t.Error("counted")
	}
}

func TestRefusalsAreBoundedAndCounted(t *testing.T) {
	w := newWorld(t)
	err := fault.New("test", fault.Denied, "no").Advise("ask")
	for range 5 {
		w.server.Refuse("mqtt", public, "d", err)
	}
	w.clock.Advance(time.Second)
	for i := range 300 {
		w.server.Refuse("mqtt", public, fmt.Sprint("d", i), err)
	}
	w.server.Refuse("mqtt", public, strings.Repeat("x", 1000), err)
	list := w.server.Refusals()
	if len(list) != 128 || len(list[0].Who) > 140 || list[1].Who != "d299" || list[0].Source != "192.0.2.1" || list[0].Why != "no" || list[0].Next != "ask" {
		t.Errorf("%d refusals, the last %+v", len(list), list[0])
	}
	for range 3 {
		w.server.Refuse("https", hub.Side{Via: public.Via}, "d", err)
	}
	if r := w.server.Refusals()[0]; r.Count != 3 || r.Door != "https" {
		t.Errorf("%+v", r)
	}
}

// A stranger chooses what he calls himself: it must neither fill the log nor steer the terminal it is read on.
func TestStrangersDoNotWriteOurLog(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	clk := clock.NewFake(time.Unix(1_800_000_000, 0))
	server, err := hub.New(t.Context(), hub.Config{Dir: t.TempDir()}, newWorld(t).log, log, clk, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}()
	no := fault.New("test", fault.Denied, "no")
	out.Reset()
	for i := range 1000 {
		server.Refuse("mqtt", public, fmt.Sprint("d", i), no)
	}
	if n := strings.Count(out.String(), "\n"); n != 50 {
		t.Errorf("%d lines", n)
	}
	server.Refuse("mqtt", public, "\x1b[2Jd\r\n\u202e\xff", no)
	if who := server.Refusals()[0].Who; who != "?[2Jd????" {
		t.Errorf("%q", who)
	}
	clk.Advance(time.Minute)
	out.Reset()
	server.Refuse("mqtt", public, "later", no)
	if !strings.Contains(out.String(), "later") || !strings.Contains(out.String(), "unsaid=951") {
		t.Errorf("the log says %q", &out)
	}
	clk.Advance(time.Hour)
	out.Reset()
	for i := range 1000 {
		from := public
		from.Peer = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), 1)
		server.Refuse("mqtt", from, "", no)
	}
	if n := strings.Count(out.String(), "\n"); n != 200 {
		t.Errorf("%d lines of 1,000 sources", n)
	}
}

func TestRatesNeedASecond(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.server.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	deadline := time.Now().Add(10 * time.Second)
	for w.hub().Stats().PerSecond == 0 {
		if time.Now().After(deadline) {
			t.Fatal("no rate")
		}
		w.hub().Acknowledged(10)
		w.clock.Advance(time.Second)
	}
}

func TestNoDirectoryIsAClearError(t *testing.T) {
	_, err := hub.New(t.Context(), hub.Config{}, &memory{}, slog.New(slog.DiscardHandler), clock.System{}, nil)
	if fault.KindOf(err) != fault.Invalid || fault.Next(err) == "" {
		t.Error(err)
	}
	w := newWorld(t)
	if err := w.server.SetHubs([]plan.Hub{{ID: "x", Name: "nameless"}, two}); !errors.Is(err, fault.OfKind(fault.Invalid)) {
		t.Error("a hub without a host name is served")
	}
	if len(w.server.Hubs()) != 1 {
		t.Error("the other hub is not served")
	}
	twin := plan.Hub{ID: "x", Name: "twin", HostNames: []string{"x.net", "CONTOSO.azure-devices.net"}}
	if err := w.server.SetHubs([]plan.Hub{one, twin}); !errors.Is(err, fault.OfKind(fault.Conflict)) {
		t.Error("two hubs answer to one name")
	}
	if h, ok := w.server.ByHost(host); !ok || h.ID() != "u1" || len(w.server.Hubs()) != 1 {
		t.Error("the first hub lost its name")
	}
}
