package virtualdevice_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/access/virtualdevice"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/wire/socketstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// world is a hub, and a host that reaches it.
type world struct {
	*hubtest.World
	t    testing.TB
	host *virtualdevice.Host
	run  func() // starts host; its end is the test's

	mu   sync.Mutex
	shut map[string]bool // ports that nobody reaches
	way  map[string]int  // how often each was dialled
}

func newWorld(t testing.TB, change func(*virtualdevice.Config)) *world {
	t.Helper()
	w := &world{World: hubtest.Start(t, hubtest.Options{Full: true}), t: t, shut: map[string]bool{}, way: map[string]int{}}
	cfg := virtualdevice.Config{Roots: w.Roots, Dial: w.dial}
	if change != nil {
		change(&cfg)
	}
	w.host = virtualdevice.New(cfg, hubtest.Silent(), clock.System{})
	w.run = sync.OnceFunc(func() {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- w.host.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	})
	return w
}

// dial leads the hub's names to its doors.
func (w *world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, _ := net.SplitHostPort(address)
	w.mu.Lock()
	w.way[port]++
	shut := w.shut[port]
	w.mu.Unlock()
	if shut {
		return nil, errors.New("a firewall says no")
	}
	to := map[string]string{"8883": w.MQTT, "443": w.HTTPS}[port]
	return new(net.Dialer).DialContext(ctx, network, to)
}

// dials is how often a port was dialled.
func (w *world) dials(port string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.way[port]
}

func (w *world) connection(d hub.Device) string {
	return sas.ConnectionString{HostName: hubtest.Contoso, DeviceID: d.ID, ModuleID: d.Module, Key: d.PrimaryKey}.String()
}

// settings are those of a new device that leads to addresses.
func (w *world) settings(id string, streams map[string]string) virtualdevice.Device {
	w.t.Helper()
	return virtualdevice.Device{ConnectionString: w.connection(w.Device(hubtest.Contoso, id)), Streams: streams}
}

// status waits until a device is as it should be.
func (w *world) status(name string, is func(virtualdevice.Status) bool) virtualdevice.Status {
	w.t.Helper()
	var last virtualdevice.Status
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		for _, s := range w.host.Status() {
			if s.Name == name {
				if last = s; is(s) {
					return s
				}
			}
		}
		select { // somebody else may take the news
		case <-w.host.News():
		case <-time.After(20 * time.Millisecond):
		}
	}
	w.t.Fatalf("%s is %+v", name, last)
	return last
}

func isConnected(s virtualdevice.Status) bool { return s.Connected }

// ask asks for a stream as a service does; the answer's status, whether the device accepted, and where the stream is.
func (w *world) ask(device, stream string) (status int, accepted bool, url, token string) {
	w.t.Helper()
	return w.askFor(device, stream, 0)
}

// askFor waits so many seconds for a device that does not listen yet: one is connected a moment before it listens.
func (w *world) askFor(device, stream string, seconds int) (status int, accepted bool, url, token string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, "https://"+hubtest.Contoso+"/twins/"+device+"/streams/"+stream+"?api-version=2020-09-30", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", w.ServiceToken(hubtest.Contoso, hub.PolicyService))
	r.Header.Set("iothub-streaming-connect-timeout-in-seconds", strconv.Itoa(seconds))
	c := w.client()
	defer c.CloseIdleConnections()
	a, err := c.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer a.Body.Close()
	return a.StatusCode, a.Header.Get("iothub-streaming-is-accepted") == "True", a.Header.Get("iothub-streaming-url"), a.Header.Get("iothub-streaming-auth-token")
}

func (w *world) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: w.Roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, n, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, n, w.HTTPS)
		},
	}}
}

// open is the service's end of a stream that has to come about. The hub begins no more than some in a second.
func (w *world) open(device, stream string, subprotocols ...string) socketstream.Stream {
	w.t.Helper()
	status, accepted, url, token := w.askFor(device, stream, 10)
	if status != http.StatusOK || !accepted {
		w.t.Fatalf("%s of %s: %d, accepted %t", stream, device, status, accepted)
	}
	c, _, err := websocket.Dial(w.t.Context(), url, &websocket.DialOptions{ //nolint:bodyclose // it is the connection's
		HTTPClient: w.client(), HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}, Subprotocols: subprotocols,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	s := socketstream.New(w.t.Context(), c, func() { _ = c.CloseNow() })
	w.t.Cleanup(func() { s.Cut("") })
	return s
}

// target is something to lead to, which answers as serve does.
func target(t testing.TB, network string, serve func(net.Conn)) string {
	t.Helper()
	at := "127.0.0.1:0"
	if network == "unix" {
		at = filepath.Join(t.TempDir(), "socket")
	}
	ln, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); all.Wait() })
	if network == "unix" {
		return "unix:" + at
	}
	return ln.Addr().String()
}

func echo(c net.Conn) { _, _ = io.Copy(c, c) }

// says writes words and ends.
func says(words string) func(net.Conn) {
	return func(c net.Conn) { _, _ = io.WriteString(c, words) }
}

// exchange writes to an end and reads as much back.
func exchange(t *testing.T, s net.Conn, text string) {
	t.Helper()
	done := make(chan error, 1)
	go func() { _, err := io.WriteString(s, text); done <- err }()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(s, got); err != nil || string(got) != text {
		t.Fatalf("%.40q came back as %.40q, %v", text, got, err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func reject(w *world, device, stream string) {
	w.t.Helper()
	if status, accepted, _, _ := w.ask(device, stream); status != http.StatusOK || accepted {
		w.t.Errorf("%s of %s: %d, accepted %t", stream, device, status, accepted)
	}
}

func hasProblem(words string) func(virtualdevice.Status) bool {
	return func(s virtualdevice.Status) bool { return strings.Contains(s.Problem, words) }
}
