package node

import (
	"context"
	"crypto/tls"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/bridge/eventhubs"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/builtin"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/workload"
	wt "github.com/isthmus-io/isthmus/workload/workloadtest"
)

// free returns an address nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// TestBridgesReadHubsAndWriteEventHubs goes through the doors of a hub process: with each kind of connection string, on the port for AMQP and in
// a WebSocket.
func TestBridgesReadHubsAndWriteEventHubs(t *testing.T) {
	const host, events, namespace = "hub.localhost", "iothub-ns-hub-1.servicebus.localhost", "events.localhost"
	ports := map[uint16]string{5671: free(t), 443: free(t)}
	cfg := LocalHubConfig{
		HubConfig: HubConfig{DataDir: t.TempDir(), MQTT: []string{"127.0.0.1:0"}, HTTPS: []string{ports[443]}, AMQP: []string{ports[5671]}},
		Hosts:     []string{host, events}, NamespaceHosts: []string{namespace}, EventHubs: []resource.EventHub{{Name: "telemetry", Partitions: 2}},
	}
	cfg.Log.FS = vfs.NewMem()
	ready, ended := make(chan LocalServices, 1), make(chan error, 1)
	cfg.Ready = func(s LocalServices) { ready <- s }
	ctx, stop := context.WithCancel(context.Background())
	go func() { ended <- LocalHub(ctx, cfg, hubtest.Silent(), clock.System{}, nil) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	var s LocalServices
	select {
	case s = <-ready:
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	roots, err := TrustFile(s.AuthorityFile)
	if err != nil {
		t.Fatal(err)
	}
	through := func(kind resource.ServiceType, name, secret string, port uint16) *end.End {
		return &end.End{
			BridgeEnd: plan.BridgeEnd{Name: "ot/ot-cloud/" + string(kind), Open: true, Type: kind, HostName: name, Ports: []uint16{port}, Served: true},
			TLS:       &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, Secret: secret,
			Connect: func(ctx context.Context, port uint16) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "tcp", ports[port])
			},
		}
	}
	stream, err := s.Hub.Stream("")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		system := map[string]string{event.DeviceID: "press-4", event.ContentType: "application/json"}
		if err := stream.Append(t.Context(), "press-4", eventlog.Event{Body: []byte(strconv.Itoa(i)), Properties: map[string]string{"line": "7"}, System: system}); err != nil {
			t.Fatal(err)
		}
	}
	own, err := s.Hub.PolicyConnectionString(hub.PolicyService)
	if err != nil {
		t.Fatal(err)
	}
	asEventHub, err := builtin.ConnectionString(s.Hub, hub.PolicyService, hub.Primary)
	if err != nil {
		t.Fatal(err)
	}
	root, err := s.Namespace.ConnectionString("", eventhub.PolicyRoot, eventhub.Primary)
	if err != nil {
		t.Fatal(err)
	}
	within, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for name, secret := range map[string]string{"a hub's": own, "an event hub's": asEventHub} {
		for port := range ports {
			t.Run(name+" on "+strconv.Itoa(int(port)), func(t *testing.T) {
				source, err := eventhubs.NewSource(through(resource.TypeIoTHub, host, secret, port), resource.BridgeSource{}, hubtest.Silent(), clock.System{})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = source.Close() }()
				to, err := eventhubs.NewDestination(through(resource.TypeEventHubs, namespace, root.String(), port), "b1", resource.EventHubDestination{Name: "telemetry"}, hubtest.Silent(), clock.System{})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = to.Close() }()
				partitions, err := source.Partitions(within)
				if err != nil {
					t.Fatal(err)
				}
				moved := 0
				for _, p := range partitions {
					r, err := source.Read(within, p, bridge.Earliest(), 1)
					if err != nil {
						t.Fatal(err)
					}
					for next, _ := r.End(); next > 0; {
						list, err := r.Next(within, 7, 1<<20)
						if err != nil {
							t.Fatal(err)
						}
						for _, e := range list {
							if string(e.Body) != strconv.Itoa(moved) || e.Device() != "press-4" || event.Text(e.Properties, "line") != "7" || event.Text(e.System, event.ContentType) != "application/json" {
								t.Errorf("%+v", e)
							}
							e.Key = e.Device()
							moved++
						}
						if err := to.Write(within, p, list); err != nil {
							t.Fatal(err)
						}
						if list[len(list)-1].Origin.Sequence+1 >= next {
							break
						}
					}
					_ = r.Close()
				}
				if moved != 20 {
					t.Errorf("%d events moved", moved)
				}
			})
		}
	}
	e, err := s.Namespace.Entity(within, "telemetry")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := e.Info(int(eventlog.Lookup3("press-4") % 2)); err != nil || info.Next != 80 {
		t.Errorf("the partition of the device ends at %d, %v", info.Next, err)
	}
}

// TestABridgeNeedsNoKey: one that has roles reads a hub and writes to a namespace, both of which take no keys, and is told when a role is taken away.
func TestABridgeNeedsNoKey(t *testing.T) {
	p := startProcess(t)
	for i := range p.hubs {
		p.change(i, func(h *plan.Hub) {
			h.KeysOff = true
			h.Assignments = []plan.Assignment{wt.Assign(resource.RoleDataSender, ""), wt.Assign(resource.RoleDataReceiver, "")}
		})
	}
	through := func(kind resource.ServiceType, name string) *end.End {
		return &end.End{
			BridgeEnd: plan.BridgeEnd{Name: "ot/ot-cloud/" + string(kind), Open: true, Type: kind, HostName: name, Ports: []uint16{5671}, Served: true},
			TLS:       &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.roots},
			Connect: func(ctx context.Context, _ uint16) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "tcp", p.h.amqpOn[0].Addr().String())
			},
			Token: func(_ context.Context, audience string) (end.Token, error) {
				return end.Token{Text: p.d.Token(wt.Agent, wt.Bridge, audience), Expires: time.Now().Add(workload.Lifetime)}, nil
			},
		}
	}
	source, err := eventhubs.NewSource(through(resource.TypeIoTHub, hubHost), resource.BridgeSource{}, hubtest.Silent(), clock.System{})
	p.must(err)
	defer func() { _ = source.Close() }()
	to, err := eventhubs.NewDestination(through(resource.TypeEventHubs, lakeHost), "b1", resource.EventHubDestination{Name: "telemetry"}, hubtest.Silent(), clock.System{})
	p.must(err)
	defer func() { _ = to.Close() }()
	h, _ := p.h.server.ByHost(hubHost)
	stream, err := h.Stream("")
	p.must(err)
	p.must(stream.Append(p.ctx, "press-4", eventlog.Event{Body: []byte("a"), System: map[string]string{event.DeviceID: "press-4"}}))
	partitions, err := source.Partitions(p.ctx)
	p.must(err)
	var r bridge.Reader
	for _, name := range partitions {
		one, err := source.Read(p.ctx, name, bridge.Earliest(), 1)
		p.must(err)
		if next, _ := one.End(); next > 0 {
			r = one
			continue
		}
		p.must(one.Close())
	}
	if r == nil {
		t.Fatal("the event is nowhere")
	}
	list, err := r.Next(p.ctx, 10, 1<<20)
	p.must(err)
	p.must(to.Write(p.ctx, "0", list))
	p.change(1, func(h *plan.Hub) { h.Assignments = nil })
	if _, err = r.Next(p.ctx, 1, 1); err == nil || p.ctx.Err() != nil {
		t.Errorf("%v", err)
	}
	p.change(0, func(h *plan.Hub) { h.Assignments = h.Assignments[1:] })
	if err := to.Write(p.ctx, "0", list); fault.KindOf(err) != fault.Denied {
		t.Errorf("%v", err)
	}
}
