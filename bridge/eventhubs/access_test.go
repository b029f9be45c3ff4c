package eventhubs_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/eventhubs"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventhub/eventhubtest"
	"github.com/isthmus-io/isthmus/eventlog/amqpdoor"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/cbs"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
	"github.com/isthmus-io/isthmus/workload/workloadtest"
)

func TestCredentials(t *testing.T) {
	for name, x := range map[string]struct {
		change func(e *end.End)
		hub    string
		kind   fault.Kind
		words  string
	}{
		"none": {func(e *end.End) {}, "x", fault.Invalid, "mean nothing at lake"},
		"an identity elsewhere": {func(e *end.End) {
			e.Token = func(context.Context, string) (end.Token, error) { return end.Token{}, nil }
		}, "x", fault.Invalid, "mean nothing"},
		"half a connection string": {func(e *end.End) { e.Secret = "Endpoint=sb://h/;SharedAccessKeyName=secretname" }, "x", fault.Invalid, "no connection string"},
		"no connection string":     {func(e *end.End) { e.Secret = "hunter2" }, "x", fault.Invalid, "no connection string"},
		"a device's":               {func(e *end.End) { e.Secret = "HostName=h;DeviceId=d;SharedAccessKey=aGk=" }, "x", fault.Invalid, "of a device"},
		"nothing to read":          {func(e *end.End) { e.Secret = "Endpoint=sb://h/;SharedAccessKeyName=p;SharedAccessKey=k" }, "", fault.Invalid, "no event hub is named"},
		"a service without a name": {func(e *end.End) {
			e.Served, e.Token = true, func(context.Context, string) (end.Token, error) { return end.Token{}, nil }
		}, "x", fault.Invalid, "no host name"},
	} {
		t.Run(name, func(t *testing.T) {
			e := &end.End{BridgeEnd: plan.BridgeEnd{Name: "lake", Type: resource.TypeEventHubs}}
			x.change(e)
			_, err := eventhubs.NewSource(e, resource.BridgeSource{EventHub: x.hub}, silent, clock.System{})
			wantKind(t, err, x.kind, x.words)
			if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "secretname")) {
				t.Errorf("%v tells the secret", err)
			}
			if _, err := eventhubs.NewDestination(e, "b", resource.EventHubDestination{Name: x.hub}, silent, clock.System{}); err == nil {
				t.Error("a destination is made of it")
			}
		})
	}
}

func TestAnEventHubsOwnConnectionString(t *testing.T) {
	w := newWorld(t, clock.System{}, amqpdoor.Config{})
	e := w.ns.Create("telemetry", 1)
	w.ns.Append(e, 0, "a")
	w.end.Secret = sas.EventHubs{HostName: w.host, Port: "9999", Policy: eventhub.PolicyRoot, Key: w.ns.Key("", eventhub.PolicyRoot), Entity: "telemetry"}.String()
	if got := w.next(w.read(w.source(""), "0", bridge.Earliest(), 1), 1)[0]; string(got.Body) != "a" {
		t.Errorf("%s", got.Body)
	}
}

// counting counts the tokens that are put.
type counting struct {
	*amqpdoor.Conversation
	claims *cbs.Node
}

func (c *counting) Attach(l *engine.Link) {
	if cbs.Is(l.Address()) {
		c.claims.Attach(l)
		return
	}
	c.Conversation.Attach(l)
}

func (c *counting) Ended(err error) {
	c.claims.Wait()
	c.Conversation.Ended(err)
}

// A bridge proves itself with its workload's token, and gives a new one before it lapses. When its role is taken away it is cut off.
func TestAnIdentityIsRenewedAndTakenAway(t *testing.T) {
	agents := workloadtest.New(t, clock.System{})
	w := newWorld(t, clock.System{}, amqpdoor.Config{Check: 10 * time.Millisecond}, func(c *eventhub.Config) { c.Workloads = agents.Verifier })
	assign := func(list ...plan.Assignment) {
		t.Helper()
		s := eventhubtest.Spec()
		s.Assignments, s.KeysOff = list, true
		w.must(w.ns.Server.SetNamespaces(t.Context(), []eventhub.Spec{s}))
	}
	assign(workloadtest.Assign(resource.RoleDataOwner, ""))
	e := w.ns.Create("telemetry", 1)
	clk := clock.NewFake(time.Now())
	w.clock = clk // the bridge's
	puts := make(chan string, 100)
	w.wrap = func(h engine.Handler) engine.Handler {
		v := h.(*amqpdoor.Conversation)
		return &counting{v, cbs.New(func(ctx context.Context, x cbs.Token) cbs.Result {
			defer func() { puts <- x.Kind + " " + x.Audience }()
			return v.Put(ctx, x)
		})}
	}
	w.end.Secret = ""
	w.end.Token = func(_ context.Context, audience string) (end.Token, error) {
		if audience != "https://"+w.host+"/" {
			t.Errorf("a token for %s", audience)
		}
		return end.Token{Text: agents.Token(workloadtest.Agent, workloadtest.Bridge, audience), Expires: clk.Now().Add(time.Hour)}, nil
	}
	both := func() { // the reader's connection and that on which the ends of partitions are asked for
		t.Helper()
		for range 2 {
			select {
			case x := <-puts:
				if x != "jwt amqps://"+w.host+"/telemetry" {
					t.Errorf("put %s", x)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("no token is put")
			}
		}
	}
	r := w.read(w.source("telemetry"), "0", bridge.Earliest(), 1)
	both()
	// Two renew tokens, two keep connections alive, one asks where partitions end.
	settled := func() {
		for deadline := time.Now().Add(20 * time.Second); clk.Timers() < 5; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatalf("%d timers", clk.Timers())
			}
		}
	}
	for range 2 {
		settled()
		clk.Advance(54 * time.Minute)
		settled()
		if len(puts) > 0 {
			t.Error("a token is put too early")
		}
		clk.Advance(2 * time.Minute)
		both()
	}
	w.ns.Append(e, 0, "still")
	w.next(r, 1)
	assign()
	_, err := r.Next(t.Context(), 1, 1)
	wantKind(t, err, fault.Denied, "role")
}

// hubDoor is an IoT hub's front: it takes any token, and says where the events are.
type hubDoor struct {
	*cbs.Node
	to    string
	links func(address string)
}

func (h *hubDoor) Attach(l *engine.Link) {
	if cbs.Is(l.Address()) {
		h.Node.Attach(l)
		return
	}
	h.links(l.Address())
	l.Refuse(&amqp.Error{Condition: amqp.ConditionLinkRedirect, Description: "Over there.", Info: amqp.Map{
		{Key: amqp.Symbol("hostname"), Value: h.to}, {Key: amqp.Symbol("network-host"), Value: h.to}, {Key: amqp.Symbol("port"), Value: uint16(5671)},
		{Key: amqp.Symbol("address"), Value: "amqps://" + h.to + ":5671/telemetry/$management"},
	}})
}
func (h *hubDoor) Ended(error) { h.Wait() }

func TestAnIoTHubRedirects(t *testing.T) {
	w := newWorld(t, clock.System{}, amqpdoor.Config{})
	e := w.ns.Create("telemetry", 1)
	w.ns.Append(e, 0, "a")
	const contoso = "contoso.azure-devices.net"
	key := w.ns.Key("", eventhub.PolicyRoot)
	var mu sync.Mutex
	var asked []string
	to := eventhubtest.Host
	w.opened = func(c *engine.Conn) (engine.Handler, error) {
		if c.PeerOpen().Hostname != contoso {
			return nil, nil
		}
		put := func(_ context.Context, x cbs.Token) cbs.Result {
			s, err := sas.Parse(x.Text)
			if err != nil || !s.SignedBy(key) || !s.Covers([]string{contoso}, "/messages/events") || x.Audience != "amqps://"+contoso+"/messages/events" {
				t.Errorf("put %s %s", x.Kind, x.Audience)
			}
			return cbs.Result{Code: 202, Description: "Accepted"}
		}
		return &hubDoor{cbs.New(put), to, func(a string) {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, a)
		}}, nil
	}
	w.end.Type, w.end.HostName = resource.TypeIoTHub, contoso
	w.end.Secret = sas.ConnectionString{HostName: contoso, Policy: eventhub.PolicyRoot, Key: key}.String()
	s := w.source("")
	if got := w.next(w.read(s, "0", bridge.Earliest(), 1), 1)[0]; string(got.Body) != "a" {
		t.Errorf("%s", got.Body)
	}
	mu.Lock()
	if len(asked) != 1 || asked[0] != "amqps://"+contoso+"/messages/events/$management" {
		t.Errorf("asked %v", asked)
	}
	mu.Unlock()
	to = "somebody/else"
	_, err := w.source("").Partitions(t.Context())
	wantKind(t, err, fault.Unavailable, "which is no event hub")
	to = "nobody.example"
	_, err = w.source("").Partitions(t.Context())
	wantKind(t, err, fault.Unavailable, "does not prove to be nobody.example")
}

// Where there is no port 5671, AMQP is spoken in a WebSocket.
func TestWebSockets(t *testing.T) {
	w := newWorld(t, clock.System{}, amqpdoor.Config{})
	e := w.ns.Create("telemetry", 1)
	w.ns.Append(e, 0, "a", strings.Repeat("b", 200<<10))
	refuse := false
	var running sync.WaitGroup
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if refuse || r.URL.Path != "/$servicebus/websocket" {
			http.Error(rw, "no", http.StatusForbidden)
			return
		}
		c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{Subprotocols: []string{"AMQPWSB10"}})
		if err != nil {
			t.Error(err)
			return
		}
		running.Add(1)
		defer running.Done()
		c.SetReadLimit(-1)
		_ = w.engine.Serve(w.ctx, websocket.NetConn(w.ctx, c, websocket.MessageBinary), w)
	}))
	s.TLS = w.secure
	s.StartTLS()
	t.Cleanup(func() {
		s.Close()
		w.cancel()
		running.Wait()
	})
	w.end.Ports = []uint16{443}
	w.end.Connect = func(ctx context.Context, port uint16) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", s.Listener.Addr().String())
	}
	src := w.source("telemetry")
	r := w.read(src, "0", bridge.Earliest(), 1)
	if got := w.next(r, 2); string(got[0].Body) != "a" || len(got[1].Body) != 200<<10 {
		t.Errorf("%d bytes", len(got[1].Body))
	}
	if err := w.destination("telemetry").Write(t.Context(), "0", events(3, func(int) string { return "" })); err != nil {
		t.Error(err)
	}
	w.next(r, 3)
	_ = r.Close()
	refuse = true
	_, err := w.source("telemetry").Partitions(t.Context())
	wantKind(t, err, fault.Unavailable, "403")
	_ = src.Close()
}

// The end of a partition is known while nobody reads on.
func TestTheEndIsAskedForNowAndThen(t *testing.T) {
	clk := clock.NewFake(time.Now())
	w := newWorld(t, clock.System{}, amqpdoor.Config{})
	w.clock = clk
	e := w.ns.Create("telemetry", 1)
	r := w.read(w.source("telemetry"), "0", bridge.Earliest(), 1)
	w.ns.Append(e, 0, "a", "b")
	deadline := time.Now().Add(20 * time.Second)
	for {
		clk.Advance(5 * time.Second)
		next, last := r.End()
		if next == 2 && time.Since(last) < time.Minute {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("ends at %d, %v", next, last)
		}
		if _, err := w.source("telemetry").Partitions(t.Context()); err != nil { // it takes a moment
			t.Fatal(err)
		}
	}
}
