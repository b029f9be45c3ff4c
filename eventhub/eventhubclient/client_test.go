package eventhubclient_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventhub/eventhubclient"
	et "github.com/isthmus-io/isthmus/eventhub/eventhubtest"
	"github.com/isthmus-io/isthmus/eventhub/httpdoor"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a namespace that can be reached both ways.
type world struct {
	*et.World
	t      *testing.T
	near   string // socket
	far    string // address
	server *httptest.Server
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{World: et.Start(t, et.Options{}), t: t, near: filepath.Join(t.TempDir(), "s")}
	handler := func(local bool) http.Handler {
		return httpdoor.New(httpdoor.Config{Namespace: func(*http.Request) (*eventhub.Namespace, error) { return w.Namespace, nil }, Local: local}, hubtest.Silent(), w.Clock)
	}
	w.server = httptest.NewTLSServer(handler(false))
	t.Cleanup(w.server.Close)
	ln, err := net.Listen("unix", w.near)
	must(t, err)
	local := &httptest.Server{Listener: ln, Config: &http.Server{Handler: handler(true), ReadHeaderTimeout: time.Minute}}
	local.Start()
	t.Cleanup(local.Close)
	w.far = w.server.Listener.Addr().String()
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refused(t *testing.T, err error, kind fault.Kind) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Errorf("%v, want a fault %s", err, kind)
	}
}

func (w *world) local() *eventhubclient.Client {
	return w.client(eventhubclient.Config{Socket: w.near})
}

// with is a client with the connection string of a policy, of the namespace when eventHub is empty.
func (w *world) with(eventHub, policy string) *eventhubclient.Client {
	w.t.Helper()
	c, err := w.Namespace.ConnectionString(eventHub, policy, eventhub.Secondary)
	must(w.t, err)
	c.HostName = "127.0.0.1" // one of the namespace's names, and in httptest's certificate
	roots := x509.NewCertPool()
	roots.AddCert(w.server.Certificate())
	return w.client(eventhubclient.Config{Connection: c, Address: w.far, Roots: roots})
}

func (w *world) client(cfg eventhubclient.Config) *eventhubclient.Client {
	w.t.Helper()
	c, err := eventhubclient.New(cfg, w.Clock)
	must(w.t, err)
	w.t.Cleanup(c.Close)
	return c
}

func TestBothWays(t *testing.T) {
	w := start(t)
	for name, c := range map[string]*eventhubclient.Client{"socket": w.local(), "https": w.with("", eventhub.PolicyRoot)} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			two, hours, bytes, off := 2, 48, int64(1<<20), eventhubclient.Disabled
			h, err := c.CreateEventHub(ctx, name, eventhubclient.Settings{Partitions: &two, RetentionHours: &hours})
			if err != nil || h.Name != name || h.Partitions != 2 || h.RetentionHours != 48 || h.Status != eventhubclient.Active || h.Created.IsZero() {
				t.Fatalf("%+v, %v", h, err)
			}
			_, err = c.CreateEventHub(ctx, name, eventhubclient.Settings{})
			refused(t, err, fault.Conflict)
			p, err := c.CreatePolicy(ctx, name, "machines", []string{"Send"})
			if err != nil || p.EventHub != name || p.Rights[0] != "Send" {
				t.Errorf("%+v, %v", p, err)
			}
			_, err = c.CreatePolicy(ctx, "", name, []string{"Listen"})
			must(t, err)
			must(t, c.RenewPolicyKey(ctx, name, "machines", eventhubclient.Swap))
			if list, err := c.Policies(ctx, ""); err != nil || len(list) < 2 {
				t.Errorf("%+v, %v", list, err)
			}
			if list, err := c.Policies(ctx, name); err != nil || len(list) != 1 || list[0].Name != "machines" {
				t.Errorf("%+v, %v", list, err)
			}
			_, err = c.CreateGroup(ctx, name, "g")
			must(t, err)
			if list, err := c.Groups(ctx, name); err != nil || len(list) != 2 {
				t.Errorf("%+v, %v", list, err)
			}
			sent, err := c.Send(ctx, name, 1, "", []eventhubclient.Message{{Body: []byte("a"), Properties: map[string]string{"line": "7"}, ContentType: "x/y"}, {}})
			if err != nil || sent.Partition != 1 || sent.Sequence != 0 || sent.Events != 2 {
				t.Errorf("%+v, %v", sent, err)
			}
			if sent, err = c.Send(ctx, name, -1, "pk1", []eventhubclient.Message{{Body: []byte("\x00b")}}); err != nil || sent.Partition != 1 || sent.Sequence != 2 {
				t.Errorf("%+v, %v", sent, err)
			}
			var got []eventhubclient.Event
			must(t, c.Events(ctx, eventhubclient.Query{EventHub: name, Only: true, Partition: 1}, func(e eventhubclient.Event) error {
				got = append(got, e)
				return nil
			}))
			if len(got) != 3 || string(got[0].Body) != "a" || got[0].Properties["line"] != "7" || got[0].System["content-type"] != "x/y" || len(got[1].Body) != 0 || string(got[2].Body) != "\x00b" || got[2].PartitionKey != "pk1" {
				t.Errorf("%+v", got)
			}
			cp, err := c.SetCheckpoint(ctx, name, "g", eventhubclient.Checkpoint{Partition: 1, Sequence: 1, Owner: "me"}, "")
			if err != nil || cp.Waiting != 1 || cp.Owner != "me" {
				t.Errorf("%+v, %v", cp, err)
			}
			_, err = c.SetCheckpoint(ctx, name, "g", eventhubclient.Checkpoint{Partition: 1}, "old")
			refused(t, err, fault.Precondition)
			if list, err := c.Checkpoints(ctx, name, "g"); err != nil || len(list) != 1 || list[0] != cp {
				t.Errorf("%+v, %v", list, err)
			}
			o, err := c.ClaimOwnership(ctx, name, "g", 0, "one", "")
			must(t, err)
			_, err = c.ClaimOwnership(ctx, name, "g", 0, "two", "")
			refused(t, err, fault.Precondition)
			o, err = c.ClaimOwnership(ctx, name, "g", 0, "two", o.ETag)
			must(t, err)
			if list, err := c.Ownerships(ctx, name, "g"); err != nil || len(list) != 1 || list[0] != o {
				t.Errorf("%+v, %v", list, err)
			}
			h, err = c.ChangeEventHub(ctx, name, eventhubclient.Settings{RetentionBytes: &bytes, Status: &off})
			if err != nil || h.RetentionBytes != 1<<20 || h.Status != off {
				t.Errorf("%+v, %v", h, err)
			}
			if h, err = c.EventHub(ctx, name); err != nil || len(h.Ends) != 2 || h.Ends[1].Next != 3 || h.Ends[1].LastEnqueued.IsZero() || !h.Ends[0].LastEnqueued.IsZero() {
				t.Errorf("%+v, %v", h, err)
			}
			if n, err := c.Namespace(ctx); err != nil || n.Name != "ot/ot-cloud/lake" || n.HostNames[0] != et.Host || len(n.Policies) == 0 {
				t.Errorf("%+v, %v", n, err)
			}
			must(t, c.DeleteGroup(ctx, name, "g"))
			must(t, c.DeletePolicy(ctx, name, "machines"))
			must(t, c.DeleteEventHub(ctx, name))
			if list, err := c.EventHubs(ctx); err != nil || len(list) != 0 {
				t.Errorf("%+v, %v", list, err)
			}
			_, err = c.EventHub(ctx, name)
			refused(t, err, fault.NotFound)
		})
	}
}

// Keys leave the process over the socket only.
func TestKeys(t *testing.T) {
	w := start(t)
	k, err := w.local().PolicyKeys(t.Context(), "", eventhub.PolicyRoot)
	if err != nil || k.Primary != w.Key("", eventhub.PolicyRoot) || !strings.Contains(k.PrimaryConnectionString, k.Primary) || !strings.Contains(k.SecondaryConnectionString, k.Secondary) {
		t.Errorf("%+v, %v", k, err)
	}
	_, err = w.with("", eventhub.PolicyRoot).PolicyKeys(t.Context(), "", eventhub.PolicyRoot)
	refused(t, err, fault.Invalid)
}

// The connection string of one event hub's policy is good for that one.
func TestAPolicyOfOneEventHub(t *testing.T) {
	w := start(t)
	w.Create("Telemetry", 1)
	w.Create("other", 1)
	_, err := w.Namespace.CreatePolicy(t.Context(), "telemetry", "reader", eventhub.Listen)
	must(t, err)
	c := w.with("telemetry", "reader")
	_, err = c.EventHub(t.Context(), "telemetry")
	must(t, err)
	_, err = c.EventHub(t.Context(), "other")
	refused(t, err, fault.Denied)
	_, err = c.EventHubs(t.Context())
	refused(t, err, fault.Denied)
	_, err = c.Send(t.Context(), "telemetry", 0, "", []eventhubclient.Message{{}})
	refused(t, err, fault.Denied)
	if _, err := eventhubclient.New(eventhubclient.Config{Connection: sas.EventHubs{HostName: "x"}}, w.Clock); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no policy: %v", err)
	}
}

// A reader who follows goes on where he was when the way breaks, and ends when there is nothing more to come.
func TestFollowing(t *testing.T) {
	w := start(t)
	e := w.Create("telemetry", 1)
	w.Append(e, 0, "a")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	came := make(chan string)
	ended := make(chan error, 1)
	go func() {
		ended <- w.with("", eventhub.PolicyRoot).Events(ctx, eventhubclient.Query{EventHub: "telemetry", Follow: true}, func(e eventhubclient.Event) error {
			came <- string(e.Body)
			return nil
		})
	}()
	if got := <-came; got != "a" {
		t.Error(got)
	}
	w.server.CloseClientConnections()
	w.Append(e, 0, "b")
	if got := <-came; got != "b" {
		t.Error(got)
	}
	cancel()
	must(t, <-ended)

	own := errors.New("enough")
	if err := w.local().Events(t.Context(), eventhubclient.Query{EventHub: "telemetry", Follow: true}, func(eventhubclient.Event) error { return own }); !errors.Is(err, own) {
		t.Error(err)
	}
	err := w.local().Events(t.Context(), eventhubclient.Query{EventHub: "nothing", Follow: true}, nil)
	refused(t, err, fault.NotFound)
	n := 0
	err = w.local().Events(t.Context(), eventhubclient.Query{EventHub: "telemetry", Follow: true}, func(eventhubclient.Event) error {
		if n++; n == 2 {
			return w.Namespace.DeleteEventHub(context.Background(), "telemetry")
		}
		return nil
	})
	refused(t, err, fault.NotFound)
}
