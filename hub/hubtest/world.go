package hubtest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/file"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/hub/httpdoor"
	"github.com/isthmus-io/isthmus/hub/mqttdoor"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/hub/stream"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store/hubstore"
	"github.com/isthmus-io/isthmus/wire/proxyproto"
	"github.com/isthmus-io/isthmus/workload"
)

// Host names of the two hubs every world has.
const (
	Contoso  = "contoso.azure-devices.net"
	Fabrikam = "fabrikam.azure-devices.net"
)

// Link ids of the approved connections of the two hubs.
const (
	ContosoLink  uint32 = 7
	FabrikamLink uint32 = 8
)

// Options change what a world is made of.
type Options struct {
	Log    hub.EventLog // instead of an eventlog.Log in memory
	Clock  clock.Clock  // instead of the system's
	Front  front.Config
	MQTT   mqttdoor.Config
	Logger *slog.Logger // instead of silence
	// Workloads checks tokens of workloads; nil refuses all of them.
	Workloads *workload.Verifier
	Full      bool           // with jobs and configurations, which otherwise are not carried out
	Journal   stream.Journal // is told of device streams, with Full; may be nil
	MQTTOn    string         // address of the MQTT door; 127.0.0.1:0
	HTTPSOn   string         // address of the HTTPS door; 127.0.0.1:0
	AMQPOn    string         // address of the door for AMQP, with AMQP; 127.0.0.1:0
	// Rooms returns what the HTTPS door serves besides the hub's own, when the world has a Server and a Front; may be nil.
	Rooms func(*World) httpdoor.Config
	// AMQP returns what speaks AMQP, on a port of its own and over WebSockets, when the world has a Server, a Front and its rooms; may be nil.
	AMQP func(*World) AMQP
}

// AMQP is what speaks it.
type AMQP interface {
	Handle(ctx context.Context, conn *front.Conn)
	Recheck() // a plan was carried out
}

// World is a running hub process.
type World struct {
	Server *hub.Server
	Front  *front.Front
	Log    hub.EventLog
	Roots  *x509.CertPool
	CAFile string // PEM
	Admin  string // path of the local socket
	MQTT   string // address
	HTTPS  string // address
	AMQP   string // address, with Options.AMQP
	Plans  []plan.Hub
	// Streams carries device streams, with Options.Full. They are asked for by keys unless Change says otherwise.
	Streams *stream.Gateway
	// Files are those that devices send, with Options.Full or by Options.Rooms; else nil.
	Files *file.Service

	t    testing.TB
	amqp AMQP
}

// Start makes a world and runs it until the test ends.
func Start(t testing.TB, o Options) *World {
	t.Helper()
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Logger == nil {
		o.Logger = Silent()
	}
	dir := t.TempDir()
	w := &World{t: t, CAFile: filepath.Join(dir, "ca.pem"), Admin: filepath.Join(dir, "admin.sock")}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	run := func(name string, f func(context.Context) error) {
		all.Go(func() {
			if err := f(ctx); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	stopLog := func() {}
	if w.Log = o.Log; w.Log == nil {
		log, err := eventlog.Open(eventlog.Config{Dir: "log", FS: vfs.NewMem()}, o.Logger, o.Clock, nil)
		must(t, err)
		w.Log = log
		logCtx, cancelLog := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- log.Run(logCtx) }()
		stopLog = func() {
			cancelLog()
			must(t, <-ended)
			must(t, log.Close())
		}
	}
	var err error
	w.Server, err = hub.New(ctx, hub.Config{Dir: filepath.Join(dir, "hub"), Workloads: o.Workloads}, w.Log, o.Logger, o.Clock, nil)
	must(t, err)
	w.Plans = []plan.Hub{
		{ID: "uid-contoso", Name: "ot/ot-cloud/contoso", HostNames: []string{Contoso}, LinkKey: []byte("contoso-key-contoso-key"), Links: []uint32{ContosoLink}, Public: resource.PublicEnabled, DeviceStreams: resource.StreamsByKey},
		{ID: "uid-fabrikam", Name: "it/it-cloud/fabrikam", HostNames: []string{Fabrikam}, LinkKey: []byte("fabrikam-key-fabrikam-k"), Links: []uint32{FabrikamLink}, Public: resource.PublicEnabled, DeviceStreams: resource.StreamsByKey},
	}
	must(t, w.Server.SetHubs(w.Plans))
	w.Front = front.New(o.Front, w.Server, w.certificates(o.Clock.Now()), o.Logger, o.Clock)
	run("hub", w.Server.Run)
	mqttLn, httpsLn := listen(t, o.MQTTOn), listen(t, o.HTTPSOn)
	w.MQTT, w.HTTPS = mqttLn.Addr().String(), httpsLn.Addr().String()
	md := mqttdoor.New(o.MQTT, w.Server, w.Front, o.Logger, o.Clock)
	rooms := httpdoor.Config{}
	if o.Rooms != nil {
		rooms = o.Rooms(w)
	}
	if o.Full {
		w.fill(&rooms, o, run)
	}
	w.Files = rooms.Files
	if rooms.WebSocket == nil {
		rooms.WebSocket = map[string]func(context.Context, *front.Conn){httpdoor.MQTTOverWebSocket: md.Handle}
	}
	if o.AMQP != nil {
		w.amqp = o.AMQP(w)
		rooms.WebSocket[httpdoor.AMQPOverWebSocket], rooms.WebSocket[httpdoor.AMQPOverWebSocket2] = w.amqp.Handle, w.amqp.Handle
		ln := listen(t, o.AMQPOn)
		w.AMQP = ln.Addr().String()
		run("amqp", func(ctx context.Context) error { return w.Front.Serve(ctx, ln, "amqp", w.amqp.Handle) })
	}
	hd := httpdoor.New(rooms, w.Server, w.Front, o.Logger, o.Clock)
	run("mqtt", func(ctx context.Context) error { return md.Serve(ctx, mqttLn) })
	run("https", func(ctx context.Context) error { return hd.Serve(ctx, httpsLn) })
	run("admin", func(ctx context.Context) error { return hd.ServeAdmin(ctx, w.Admin) })
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() { // it is made by a goroutine above, soon
		if c, err := net.Dial("unix", w.Admin); err == nil {
			_ = c.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the local socket does not appear")
		}
	}
	t.Cleanup(func() {
		cancel()
		all.Wait()
		stopLog()
		must(t, w.Server.Close())
	})
	return w
}

// Silent returns a logger nobody reads.
func Silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func listen(t testing.TB, on string) net.Listener {
	t.Helper()
	if on == "" {
		on = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", on)
	must(t, err)
	return ln
}

func (w *World) certificates(now time.Time) front.Certificate {
	authority, _, err := identity.NewAuthority("test", now)
	must(w.t, err)
	w.Roots = x509.NewCertPool()
	w.Roots.AddCert(authority.Certificate())
	must(w.t, os.WriteFile(w.CAFile, authority.CertificatePEM(), 0o600))
	key, keyPEM, err := identity.NewKey()
	must(w.t, err)
	byHost := map[string]*tls.Certificate{}
	for _, p := range w.Plans {
		csr, err := identity.NewRequest(key, "", p.HostNames...)
		must(w.t, err)
		pem, err := authority.IssueServer(csr, now, 24*time.Hour, p.HostNames...)
		must(w.t, err)
		cert, err := tls.X509KeyPair(pem, keyPEM)
		must(w.t, err)
		for _, h := range p.HostNames {
			byHost[h] = &cert
		}
	}
	return func(host string) (*tls.Certificate, error) { return byHost[host], nil }
}

// Hub returns one of the hubs by its host name.
func (w *World) Hub(host string) *hub.Hub {
	w.t.Helper()
	h, ok := w.Server.ByHost(host)
	if !ok {
		w.t.Fatalf("no hub %s", host)
	}
	return h
}

// Device creates a device with made keys.
func (w *World) Device(host, id string) hub.Device {
	w.t.Helper()
	d, err := w.Hub(host).CreateDevice(context.Background(), hubstore.Device{ID: id})
	must(w.t, err)
	return d
}

// Token makes a token of a device for an hour.
func (w *World) Token(host string, d hub.Device) string {
	w.t.Helper()
	text, err := sas.Sign(host+"/devices/"+d.ID, d.PrimaryKey, "", time.Now().Add(time.Hour))
	must(w.t, err)
	return text
}

// ServiceToken makes a token of a policy for an hour.
func (w *World) ServiceToken(host, policy string) string {
	w.t.Helper()
	text, err := w.Hub(host).PolicyConnectionString(policy)
	must(w.t, err)
	c, err := sas.ParseConnectionString(text)
	must(w.t, err)
	token, err := sas.Sign(host, c.Key, policy, time.Now().Add(time.Hour))
	must(w.t, err)
	return token
}

// Change sets one hub's plan as change leaves it.
func (w *World) Change(host string, change func(*plan.Hub)) {
	w.t.Helper()
	for i := range w.Plans {
		if w.Plans[i].HostNames[0] == host {
			change(&w.Plans[i])
		}
	}
	must(w.t, w.Server.SetHubs(w.Plans))
	if w.amqp != nil {
		w.amqp.Recheck()
	}
}

// Header returns a PROXY header as the provider's agent of a hub writes it, for a device at 10.7.0.9.
func (w *World) Header(host string, link uint32) []byte {
	w.t.Helper()
	h := proxyproto.New(netip.MustParseAddrPort("10.7.0.9:40000"), netip.MustParseAddrPort("10.8.0.2:8883"))
	h.SetLinkID(link)
	for _, p := range w.Plans {
		if p.HostNames[0] == host {
			must(w.t, proxyproto.Sign(p.LinkKey, &h, time.Now()))
		}
	}
	b, err := proxyproto.Append(nil, h)
	must(w.t, err)
	return b
}

// Dial connects to a door, writes prefix (such as a PROXY header), and does TLS with the server name.
func (w *World) Dial(address string, prefix []byte, serverName string) (*tls.Conn, error) {
	raw, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	if _, err := raw.Write(prefix); err != nil {
		return nil, err
	}
	c := tls.Client(raw, &tls.Config{RootCAs: w.Roots, ServerName: serverName, MinVersion: tls.VersionTLS12})
	if err := c.Handshake(); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return c, nil
}

// Events reads every event of a hub, waiting until there are n of them.
func (w *World) Events(host string, n int) []eventlog.Event {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	h := w.Hub(host)
	parts, err := h.Partitions(ctx)
	must(w.t, err)
	got := make(chan eventlog.Event)
	own, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	for p := range parts {
		all.Go(func() {
			next, _ := h.Bounds(p)
			for h.WaitEvent(own, p, next) == nil {
				batch, err := h.Events(own, p, next, 1000)
				if err != nil {
					return
				}
				for _, e := range batch {
					next = e.Sequence + 1
					select {
					case got <- e:
					case <-own.Done():
						return
					}
				}
			}
		})
	}
	defer all.Wait()
	defer stop()
	var out []eventlog.Event
	for len(out) < n {
		select {
		case e := <-got:
			out = append(out, e)
		case <-ctx.Done():
			w.t.Fatalf("%d events of %d came", len(out), n)
		}
	}
	return out
}
