package simulate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/simulate"
	"github.com/isthmus-io/isthmus/simulate/bulk"
	"github.com/isthmus-io/isthmus/simulate/settings"
	"github.com/isthmus-io/isthmus/simulate/signin"
)

// hubWorld is a real hub with a client of its owner.
type hubWorld struct {
	*hubtest.World
	client *hubclient.Client
	owner  string
}

func startHub(t *testing.T, o hubtest.Options) *hubWorld {
	t.Helper()
	w := &hubWorld{World: hubtest.Start(t, o)}
	var err error
	if w.owner, err = w.Hub(hubtest.Contoso).PolicyConnectionString("iothubowner"); err != nil {
		t.Fatal(err)
	}
	cs, err := sas.ParseConnectionString(w.owner)
	if err != nil {
		t.Fatal(err)
	}
	if w.client, err = hubclient.New(hubclient.Config{Connection: cs, Address: w.HTTPS, Roots: w.Roots}, clock.System{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.Close)
	return w
}

// settings reads settings for the hub.
func (w *hubWorld) settings(t *testing.T, environ ...string) *settings.Settings {
	t.Helper()
	s, err := settings.Read(settings.Input{Environ: append([]string{
		"IotHubConnectionString=" + w.owner, "ISTHMUS_SIMULATE_CA=" + w.CAFile, "ISTHMUS_SIMULATE_ADDRESS=" + w.MQTT, "ISTHMUS_SIMULATE_API_ADDRESS=" + w.HTTPS,
	}, environ...)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *hubWorld) create(t *testing.T, s *settings.Settings) {
	t.Helper()
	var keys bulk.Keys
	if s.SignIn == settings.Group {
		keys = func(id string) (*hubclient.Auth, error) {
			key, err := signin.Derive(s.GroupKey, id)
			return &hubclient.Auth{Type: "sas", Keys: &hubclient.Keys{Primary: key, Secondary: key}}, err
		}
	}
	if res, err := bulk.Create(t.Context(), w.client, s.Devices, keys, nil); err != nil || res.Failed > 0 {
		t.Fatalf("%+v, %v", res, err)
	}
}

func (w *hubWorld) fleet(t *testing.T, s *settings.Settings) *simulate.Fleet {
	t.Helper()
	method, err := signin.New(s, w.client, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := simulate.NewFleet(s, method, w.client, slog.New(slog.DiscardHandler), clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (w *hubWorld) run(t *testing.T, s *settings.Settings) *simulate.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	r, err := w.fleet(t, s).Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// show renders a result for a failed test.
func show(r *simulate.Result) string {
	b, _ := json.MarshalIndent(r, "", "  ")
	return string(b)
}

// TestFleet drives 500 devices through reconnect storms and proves that a real hub has every
// message, once and in order.
func TestFleet(t *testing.T) {
	n := 500
	w := startHub(t, hubtest.Options{Front: front.Config{MaxConnections: 4 * n, MaxPerSource: 4 * n}})
	s := w.settings(t, fmt.Sprint("DeviceCount=", n), "MessageCount=10", "Interval=300", "DuplicateEvery=20", `Header={"line": "$.Counter"}`,
		"ISTHMUS_SIMULATE_STORM=every=1500ms,share=0.3", "ISTHMUS_SIMULATE_VERIFY=true", "ISTHMUS_SIMULATE_RAMP=2000")
	w.create(t, s)
	r := w.run(t, s)
	if !r.OK() || r.Devices.Finished != int64(n) || r.Messages.Acknowledged != int64(10*n) || r.Verified.Received != uint64(10*n) {
		t.Fatalf("%s", show(r))
	}
	if r.Connections.Stormed == 0 || r.Messages.Duplicated == 0 || r.Verified.Repeated == 0 || r.Connections.Made < int64(n) || r.Connections.Made > int64(n)+r.Connections.Stormed {
		t.Errorf("%s", show(r))
	}
	if l := r.Messages.Acknowledge; l.Count != int64(10*n) || l.P50 <= 0 || l.P99 < l.P50 || l.Max < l.P99 {
		t.Errorf("latencies %+v", l)
	}
}

func TestSignIns(t *testing.T) {
	w := startHub(t, withAMQP(hubtest.Options{}))
	key := "Z3JvdXAta2V5LWdyb3VwLWtleS1ncm91cC1rZXk="
	d := w.Device(hubtest.Contoso, "press-1")
	own := sas.ConnectionString{HostName: hubtest.Contoso, DeviceID: d.ID, Key: d.PrimaryKey}
	for _, protocol := range []string{"mqtt", "amqp", "https"} {
		for name, environ := range map[string][]string{
			"policy":      {"DevicePrefix=p"},
			"device-keys": {"DevicePrefix=k", "ISTHMUS_SIMULATE_SIGN_IN=device-keys"},
			"group":       {"DevicePrefix=g", "ISTHMUS_SIMULATE_GROUP_KEY=" + key},
		} {
			s := w.settings(t, append(append(environ, w.speaking(protocol)...), "DeviceCount=3", "MessageCount=2", "Intervals=1,2", "ISTHMUS_SIMULATE_VERIFY=1")...)
			if string(s.SignIn) != name {
				t.Errorf("%s became %s", name, s.SignIn)
			}
			w.create(t, s)
			if r := w.run(t, s); !r.OK() || r.Verified.Received != 6 {
				t.Errorf("%s, %s: %s", protocol, name, show(r))
			}
		}
		s := w.settings(t, append(w.speaking(protocol), "IotHubConnectionString="+own.String(), "MessageCount=2", "Interval=1")...)
		if r := w.run(t, s); !r.OK() || r.Messages.Acknowledged != 2 {
			t.Errorf("%s, own key: %s", protocol, show(r))
		}
	}
}

func TestWhoIsRefusedIsCounted(t *testing.T) {
	w := startHub(t, withAMQP(hubtest.Options{}))
	w.Device(hubtest.Contoso, "there")
	for protocol, says := range map[string]string{"mqtt": "CONNACK code 5", "amqp": "the hub refused the device: ", "https": "the hub refused the device: 404"} {
		r := w.run(t, w.settings(t, append(w.speaking(protocol), "DeviceList=there,nobody", "MessageCount=2", "Interval=1")...))
		if r.OK() || r.Devices.Refused != 1 || r.Devices.Finished != 1 || len(r.Troubles) != 1 || r.Troubles[0].First != "nobody" || !strings.Contains(r.Troubles[0].What, says) {
			t.Errorf("%s: %s", protocol, show(r))
		}
	}
	s := w.settings(t, "DeviceList=nobody", "ISTHMUS_SIMULATE_SIGN_IN=device-keys")
	if _, err := w.fleet(t, s).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "the registry has no device nobody") {
		t.Errorf("%v", err)
	}
}

func TestARunEndsByItsDurationAndItsContext(t *testing.T) {
	w := startHub(t, hubtest.Options{})
	s := w.settings(t, "DeviceCount=5", "MessageCount=0", "Interval=5", "ISTHMUS_SIMULATE_DURATION=300ms", "ISTHMUS_SIMULATE_VERIFY=1")
	w.create(t, s)
	if r := w.run(t, s); !r.OK() || r.Messages.Acknowledged < 5 || r.Seconds < 0.3 || r.Seconds > 10 {
		t.Errorf("%s", show(r))
	}
	s.Duration = 0
	f := w.fleet(t, s)
	reg := prometheus.NewRegistry()
	reg.MustRegister(simulate.NewCollector(f))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for f.Counts().Acknowledged < 20 {
			<-time.After(time.Millisecond)
		}
		families, err := reg.Gather()
		if err != nil || len(families) != 7 {
			t.Errorf("%d families, %v", len(families), err)
		}
		cancel()
	}()
	r, err := f.Run(ctx)
	if err != nil || !r.OK() || r.Messages.Acknowledged < 20 {
		t.Errorf("%v, %s", err, show(r))
	}
}

func TestHubThatIsNotThere(t *testing.T) {
	w := startHub(t, hubtest.Options{})
	s := w.settings(t, "DeviceCount=3", "ISTHMUS_SIMULATE_ADDRESS=127.0.0.1:1", "ISTHMUS_SIMULATE_GIVE_UP=1ms")
	r := w.run(t, s)
	if r.OK() || r.Devices.GaveUp != 3 || r.Devices.Begun != 0 || !strings.Contains(r.Troubles[0].What, "cannot be reached") || r.Troubles[0].Next == "" {
		t.Errorf("%s", show(r))
	}
	s = w.settings(t, "DeviceCount=1")
	s.Roots = nil // this machine's, which do not know the hub's
	if r := w.run(t, s); r.OK() || r.Devices.Refused != 1 || !strings.Contains(r.Troubles[0].What, "is not trusted") {
		t.Errorf("%s", show(r))
	}
}
