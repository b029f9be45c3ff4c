package eventhubs_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
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
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var silent = slog.New(slog.DiscardHandler)

// world is a namespace behind a listener with TLS, and the end that leads to it.
type world struct {
	t      testing.TB
	ns     *eventhubtest.World
	ctx    context.Context
	cancel context.CancelFunc
	clock  clock.Clock
	secure *tls.Config
	end    *end.End
	host   string // its certificate's

	mu     sync.Mutex // guards the fields below
	conns  map[net.Conn]bool
	door   *amqpdoor.Door
	engine *engine.Engine
	dir    eventhub.Directory
	opened func(c *engine.Conn) (engine.Handler, error) // instead of the door; may be nil
	away   bool                                         // nobody gets through
	dials  int
	wrap   func(engine.Handler) engine.Handler
	served sync.WaitGroup
}

func newWorld(t testing.TB, clk clock.Clock, door amqpdoor.Config, change ...func(*eventhub.Config)) *world {
	t.Helper()
	return newWorldIn(t, eventhubtest.NewFiles(), clk, door, change...)
}

func newWorldIn(t testing.TB, files *eventhubtest.Files, clk clock.Clock, door amqpdoor.Config, change ...func(*eventhub.Config)) *world {
	t.Helper()
	w := &world{t: t, clock: clk, ns: eventhubtest.Start(t, eventhubtest.Options{Clock: clk, Files: files, Change: func(c *eventhub.Config) {
		for _, f := range change {
			f(c)
		}
	}}), host: eventhubtest.Host, conns: map[net.Conn]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	w.ctx, w.cancel = ctx, cancel
	w.door, w.engine, w.dir = amqpdoor.New(door, silent, clk, nil), engine.New(engine.Config{}, silent, clk, nil), w.ns.Namespace
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{eventhubtest.Host, "contoso.azure-devices.net", "elsewhere.servicebus.windows.net"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	w.must(err)
	root, err := x509.ParseCertificate(der)
	w.must(err)
	roots := x509.NewCertPool()
	roots.AddCert(root)
	w.secure = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			raw, err := ln.Accept()
			if err != nil {
				return
			}
			w.serve(tls.Server(raw, w.secure))
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = ln.Close()
		accepting.Wait()
		w.cut()
		w.served.Wait()
	})
	w.end = &end.End{
		BridgeEnd: plan.BridgeEnd{Name: "ot/ot-cloud/lake", Open: true, Type: resource.TypeEventHubs, HostName: w.host, Ports: []uint16{5671, 443}, Served: true},
		TLS:       &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		Connect: func(ctx context.Context, port uint16) (net.Conn, error) {
			w.mu.Lock()
			w.dials++
			away := w.away
			w.mu.Unlock()
			if away || port != 5671 {
				return nil, errors.New("nobody is there")
			}
			return (&net.Dialer{}).DialContext(ctx, "tcp", ln.Addr().String())
		},
	}
	w.end.Secret = w.secret("", eventhub.PolicyRoot)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// secret is the connection string of a policy, of an event hub when one is named.
func (w *world) secret(entity, policy string) string {
	return sas.EventHubs{HostName: w.host, Policy: policy, Key: w.ns.Key(entity, policy), Entity: entity}.String()
}

func (w *world) serve(conn net.Conn) {
	w.mu.Lock()
	w.conns[conn] = true
	w.mu.Unlock()
	w.served.Go(func() {
		_ = w.engine.Serve(w.ctx, conn, w)
		_ = conn.Close()
		w.mu.Lock()
		delete(w.conns, conn)
		w.mu.Unlock()
	})
}

// cut breaks all connections as a power failure does.
func (w *world) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		_ = c.(*tls.Conn).NetConn().Close()
	}
}

func (w *world) setAway(away bool) {
	w.mu.Lock()
	w.away = away
	w.mu.Unlock()
}

// Mechanisms and the others make the world the acceptor of its connections.
func (w *world) Mechanisms() []amqp.Symbol { return []amqp.Symbol{"MSSBCBS", "ANONYMOUS"} }

func (w *world) Authenticate(context.Context, *engine.SASL) (any, error) { return nil, nil }

func (w *world) Open(_ context.Context, c *engine.Conn) (engine.Handler, error) {
	if w.opened != nil {
		if h, err := w.opened(c); h != nil || err != nil {
			return h, err
		}
	}
	if host := c.PeerOpen().Hostname; host != eventhubtest.Host && host != "elsewhere.servicebus.windows.net" {
		return nil, fmt.Errorf("nobody is called %s", host)
	}
	var h engine.Handler = w.door.Converse(c, w.dir, func(string, error) {})
	if w.wrap != nil {
		h = w.wrap(h)
	}
	return h, nil
}

func (w *world) source(hub string) bridge.Source {
	w.t.Helper()
	s, err := eventhubs.NewSource(w.end, resource.BridgeSource{EventHub: hub}, silent, w.clock)
	w.must(err)
	w.t.Cleanup(func() { _ = s.Close() })
	return s
}

func (w *world) destination(hub string) bridge.Destination {
	w.t.Helper()
	d, err := eventhubs.NewDestination(w.end, "b1", resource.EventHubDestination{Name: hub}, silent, w.clock)
	w.must(err)
	w.t.Cleanup(func() { _ = d.Close() })
	return d
}

func (w *world) read(s bridge.Source, partition string, from bridge.Position, epoch int64) bridge.Reader {
	w.t.Helper()
	r, err := s.Read(w.t.Context(), partition, from, epoch)
	w.must(err)
	return r
}

// next reads n events.
func (w *world) next(r bridge.Reader, n int) []*event.Event {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	var all []*event.Event
	for len(all) < n {
		list, err := r.Next(ctx, n-len(all), 1<<20)
		if err != nil {
			w.t.Fatalf("after %d events: %v", len(all), err)
		}
		all = append(all, list...)
	}
	return all
}

// everything reads what an event hub has, partition by partition, until it has n events.
func (w *world) everything(hub string, partitions, n int) map[string][]*event.Event {
	w.t.Helper()
	s := w.source(hub)
	out := map[string][]*event.Event{}
	for p := range partitions {
		name := fmt.Sprint(p)
		r := w.read(s, name, bridge.Earliest(), 1)
		next, _ := r.End()
		if next > 0 {
			out[name] = w.next(r, int(next))
			n -= int(next)
		}
		_ = r.Close()
	}
	if n != 0 {
		w.t.Errorf("%d events are missing", n)
	}
	return out
}

func wantKind(t testing.TB, err error, kind fault.Kind, words ...string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Errorf("got %v, want %v", err, kind)
		return
	}
	for _, text := range words {
		if !strings.Contains(fault.Message(err)+fault.Next(err), text) {
			t.Errorf("%q says nothing of %q (advice: %q)", fault.Message(err), text, fault.Next(err))
		}
	}
}

func events(n int, key func(i int) string) []*event.Event {
	out := make([]*event.Event, n)
	for i := range out {
		out[i] = &event.Event{Origin: event.Origin{Partition: "0", Sequence: int64(i)}, Body: fmt.Appendf(nil, "e%d", i), Key: key(i)}
	}
	return out
}
