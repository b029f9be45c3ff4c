package eventhubs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/node"
)

const (
	rootPolicy = "RootManageSharedAccessKey"
	testToken  = "Sanitized" // what the credential of Microsoft's tests says
)

// options change what a world is.
type options struct {
	frame uint32        // the largest frame it takes and sends
	idle  time.Duration // its idle timeout
	azure bool          // it refuses what only Azure's service refuses
	who   node.LocalIdentities
}

// world is a running hub process with a namespace of event hubs, on a loopback address of its own.
type world struct {
	address   string // also a name of the namespace's
	namespace string // host name
	amqps     string // host:port
	plain     string // host:port of AMQP without TLS
	wss       string // host:port of WebSockets
	iotAMQPS  string // host:port of the hub, which has an address of its own: clients say in TLS which one they dial
	ca        string // file

	iot    *hub.Hub
	events *eventhub.Namespace
	hubs   atomic.Int32 // made so far
}

var worlds atomic.Int32 // made so far by this process

// ownAddress is a loopback address of this process, on which nobody else listens at the ports that clients dial unasked.
func ownAddress() string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 10+pid%240, pid/240%250, worlds.Add(1))
}

// start runs a world until the test ends.
func start(t *testing.T, o options) *world {
	t.Helper()
	address, iot := ownAddress(), ownAddress()
	at := func(port string) string { return net.JoinHostPort(address, port) }
	w := &world{address: address, namespace: "lake.servicebus.windows.net", amqps: at("5671"), plain: at("5672"), wss: at("8443"), iotAMQPS: net.JoinHostPort(iot, "5671")}
	cfg := node.LocalHubConfig{
		HubConfig:      node.HubConfig{DataDir: t.TempDir(), MQTT: []string{at("8883")}, HTTPS: []string{w.wss}, AMQP: []string{w.amqps, w.iotAMQPS}},
		Hosts:          []string{"contoso.azure-devices.net", "iothub-ns-contoso-1.servicebus.windows.net", iot},
		NamespaceHosts: []string{w.namespace, address},
		PlainAMQP:      []string{w.plain},
		TestToken:      testToken,
		Identities:     o.who,
	}
	cfg.Log.FS = vfs.NewMem() // what is on disk afterwards is for others to show
	cfg.Engine.MaxFrame, cfg.Engine.IdleTimeout, cfg.EventDoor.OneClaimsLink = o.frame, o.idle, o.azure
	ready := make(chan node.LocalServices, 1)
	cfg.Ready = func(s node.LocalServices) { ready <- s }
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("ISTHMUS_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	go func() { ended <- node.LocalHub(ctx, cfg, log, clock.System{}, nil) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case s := <-ready:
		w.iot, w.events, w.ca = s.Hub, s.Namespace, s.AuthorityFile
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	return w
}

// hub makes an event hub.
func (w *world) hub(t *testing.T, partitions int) string {
	t.Helper()
	name := fmt.Sprint("Hub-", w.hubs.Add(1))
	if _, err := w.events.CreateEventHub(t.Context(), name, eventhub.Settings{Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
	return name
}

// key is that of a policy of an event hub, or of the namespace when it is empty.
func (w *world) key(t *testing.T, hub, policy string) string {
	t.Helper()
	key, _, err := w.events.Keys(hub, policy)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// policy makes a policy, unless there is one of that name, and returns its key. The name of an event hub's own is HUB/NAME.
func (w *world) policy(t *testing.T, name string, rights ...string) string {
	t.Helper()
	of, policy, ok := strings.Cut(name, "/")
	if !ok {
		of, policy = "", name
	}
	var r eventhub.Right
	for _, right := range rights {
		r |= map[string]eventhub.Right{"Send": eventhub.Send, "Listen": eventhub.Listen, "Manage": eventhub.Manage}[right]
	}
	if _, _, err := w.events.Keys(of, policy); err != nil {
		if _, err := w.events.CreatePolicy(t.Context(), of, policy, r); err != nil {
			t.Fatal(err)
		}
	}
	return w.key(t, of, policy)
}

// token is a token of a policy of the namespace for an event hub, or for all when it is empty. A negative life is one that is over.
func (w *world) token(t *testing.T, hub, policy string, life time.Duration) string {
	t.Helper()
	text, err := sas.SignText(strings.TrimSuffix("sb://"+w.namespace+"/"+hub, "/"), w.key(t, "", policy), policy, time.Now().Add(life))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// at is a connection string for an endpoint; hub may be empty.
func (w *world) at(endpoint, hub, policy, key string) string {
	s := "Endpoint=sb://" + endpoint + "/;SharedAccessKeyName=" + policy + ";SharedAccessKey=" + key
	if hub != "" {
		s += ";EntityPath=" + hub
	}
	return s
}

func (w *world) connection(hub, policy, key string) string {
	return w.at(w.namespace, hub, policy, key)
}

// ready is a connection string with a ready-made token.
func (w *world) ready(token, hub string) string {
	return "Endpoint=sb://" + w.namespace + "/;SharedAccessSignature=" + token + ";EntityPath=" + hub
}

// driver starts an sdk that trusts the world.
func (w *world) driver(t *testing.T, s sdk) *driver {
	t.Helper()
	return s.start(t, "NODE_EXTRA_CA_CERTS="+w.ca, "NODE_NO_WARNINGS=1") // of addresses for server names
}

// by is what it takes to open a client that comes in by a way, with a policy that may do everything.
func (w *world) by(t *testing.T, way string, s sdk, hub string) m {
	t.Helper()
	key := w.key(t, "", rootPolicy)
	q := m{"connection": w.connection(hub, rootPolicy, key), "namespace": w.namespace}
	switch {
	case way == "plain TCP":
		return m{"connection": w.at(w.plain, hub, rootPolicy, key) + ";UseDevelopmentEmulator=true"}
	case way == "TLS":
		q["endpoint"], q["ca"] = w.amqps, w.ca
	case s.name == js.name:
		q["endpoint"], q["webSocket"] = w.wss, "ws"
	default:
		q["webSocket"], q["ca"] = "wss://"+w.wss+"/$servicebus/websocket", w.ca
	}
	return q
}

// trust is how a client of our own connects to the namespace.
func (w *world) trust(t *testing.T) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(w.ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: roots, ServerName: w.namespace, MinVersion: tls.VersionTLS12}
}

// user is a driver with an event hub, and a producer for it called p.
type user struct {
	*driver
	w   *world
	hub string
}

// user makes an event hub, and a driver with a producer for it.
func (w *world) user(t *testing.T, s sdk, partitions int) *user {
	t.Helper()
	return w.userOf(t, s, w.hub(t, partitions))
}

func (w *world) userOf(t *testing.T, s sdk, hub string) *user {
	t.Helper()
	u := &user{w.driver(t, s), w, hub}
	u.must("open", u.by("TLS"), m{"client": "p", "kind": "producer"})
	return u
}

// in is the same user in the hands of a subtest.
func (u *user) in(t *testing.T) *user { return &user{u.driver.in(t), u.w, u.hub} }

func (u *user) by(way string) m { return u.w.by(u.t, way, u.sdk, u.hub) }

// read begins to read a partition with a client of the reader's own, as one client reads a partition once.
func (u *user) read(reader, partition string, more ...m) {
	u.t.Helper()
	u.must("open", u.by("TLS"), m{"client": reader, "kind": "consumer"})
	u.must("read", append([]m{{"client": reader, "reader": reader, "partition": partition}}, more...)...)
}

func (u *user) stop(reader string) {
	u.t.Helper()
	u.must("stop", m{"reader": reader})
	u.must("close", m{"client": reader})
}

// protonIn connects Proton, as a client called c, by a policy's key.
func (w *world) protonIn(t *testing.T, d *driver, hub string) {
	t.Helper()
	d.must("connect", m{"client": "c", "host": w.namespace, "mechanisms": "PLAIN", "url": "amqps://" + w.amqps, "ca": w.ca, "user": rootPolicy, "password": w.key(t, "", rootPolicy)})
}

// tick waits until the clock shows another millisecond than at.
func (w *world) tick(t *testing.T, at int64) {
	t.Helper()
	for time.Now().UnixMilli() <= at {
		time.Sleep(time.Millisecond) // that is what it is for
	}
}
