package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isthmus-io/isthmus/test/processes"
)

var binary, slim string //nolint:gochecknoglobals // built once for the package

func TestMain(m *testing.M) {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "the end-to-end tests make network namespaces: run them as root (sudo make e2e)")
		os.Exit(1)
	}
	dir, err := os.MkdirTemp("", "isthmus-e2e-")
	if err == nil {
		binary, err = processes.Build(context.Background(), dir, "isthmus")
	}
	if err == nil {
		slim, err = processes.Build(context.Background(), dir, "isthmus-agent")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

const manifests = `
apiVersion: isthmus/v1
kind: Tenant
metadata: {name: ot}
spec: {displayName: Operations}
---
apiVersion: isthmus/v1
kind: Tenant
metadata: {name: it}
spec: {displayName: Office}
---
apiVersion: isthmus/v1
kind: Network
metadata: {tenant: ot, name: plant-7}
spec: {addressRanges: [10.7.0.0/24]}
---
apiVersion: isthmus/v1
kind: Network
metadata: {tenant: ot, name: ot-cloud}
spec: {addressRanges: [10.7.0.0/24]}
---
apiVersion: isthmus/v1
kind: Network
metadata: {tenant: it, name: it-cloud}
spec: {addressRanges: [10.7.0.0/24]}
---
apiVersion: isthmus/v1
kind: Service
metadata: {tenant: ot, network: ot-cloud, name: contoso}
spec:
  type: iothub
  hostName: contoso.azure-devices.net
  target: 10.20.0.5
  visibility: [it]
  autoApprove: [ot]
  publicNetworkAccess: Disabled
  proxyProtocol: true
  servedBy: hub-1
---
apiVersion: isthmus/v1
kind: Service
metadata: {tenant: ot, network: ot-cloud, name: historian}
spec:
  type: tcp
  hostName: historian.plant.example
  target: 10.20.0.6
  ports: [{port: 4000}]
  visibility: [it]
  autoApprove: [ot]
---
apiVersion: isthmus/v1
kind: PrivateEndpoint
metadata: {tenant: ot, network: plant-7, name: hub}
spec: {service: ot/ot-cloud/contoso, requestMessage: sensors of hall 3}
---
apiVersion: isthmus/v1
kind: PrivateEndpoint
metadata: {tenant: ot, network: plant-7, name: historian}
spec: {service: ot/ot-cloud/historian}
---
apiVersion: isthmus/v1
kind: PrivateEndpoint
metadata: {tenant: it, network: it-cloud, name: historian}
spec: {service: ot/ot-cloud/historian, requestMessage: reports for the office}
`

// world is the deployment of these tests: server and relay in the internet (the server on its loopback only), three sites.
type world struct {
	*processes.Deployment
	t       *testing.T
	sites   *processes.Sites
	control *processes.Control
	roles   map[string]*processes.Process

	echoEnded chan time.Time // when connections to the historian ended, at its side
}

func start(t *testing.T, prefix string) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	sites, err := processes.NewSites(ctx, prefix)
	t.Cleanup(func() { sites.Close() })
	must(t, err)
	for site, dns := range map[string]string{"plant7": "10.7.0.2", "otcloud": "", "itcloud": "10.7.0.2"} {
		must(t, sites.Add(ctx, site, dns))
		lan(t, sites.Name(site))
	}
	for _, a := range []string{"10.20.0.5/32", "10.20.0.6/32"} {
		ip(t, "-n", sites.Name("otcloud"), "addr", "add", a, "dev", "lan")
	}
	w := &world{Deployment: processes.New(t.TempDir(), binary), t: t, sites: sites, roles: map[string]*processes.Process{}, echoEnded: make(chan time.Time, 64)}
	t.Cleanup(func() {
		w.Stop()
		if t.Failed() {
			t.Log(w.Logs())
		}
	})
	inet, relay := sites.Internet(), sites.RelayIP+":443"
	w.control, err = w.StartControl(ctx, inet, "127.0.0.1:7444", relay)
	must(t, err)
	w.roles["server"] = w.control.Process
	w.apply(ctx, manifests)
	must(t, w.Join(ctx, inet, inet, "relay", "", "r1", "--address", relay, "--control", "127.0.0.1:7444"))
	w.run(ctx, "relay", inet, "the relay is ready", "relay", "run", "--data-dir", w.Data("r1"), "--listen", sites.RelayIP+":443", "--control", "127.0.0.1:7444")
	for _, a := range []struct{ role, site, network string }{
		{"agent-plant7", "plant7", "ot/plant-7"}, {"agent-otcloud", "otcloud", "ot/ot-cloud"},
	} {
		must(t, w.Join(ctx, inet, sites.Name(a.site), "agent", a.network, a.role))
		w.run(ctx, a.role, sites.Name(a.site), "the agent is ready", "agent", "run", "--data-dir", w.Data(a.role), "--interface", "lan", "--dns", "10.7.0.2:53")
	}
	// The office's agent is the slim one.
	token, err := w.JoinToken(ctx, inet, "agent", "it/it-cloud")
	must(t, err)
	small := processes.New(w.Dir, slim)
	t.Cleanup(small.Stop)
	_, err = small.CLI(ctx, sites.Name("itcloud"), token, "join", "--data-dir", w.Data("agent-itcloud"), "--name", "agent-itcloud")
	must(t, err)
	office, err := small.Start("agent-itcloud", sites.Name("itcloud"), nil, "run", "--data-dir", w.Data("agent-itcloud"), "--interface", "lan", "--dns", "10.7.0.2:53")
	must(t, err)
	w.roles["agent-itcloud"] = office
	_, err = office.WaitLog(ctx, "the agent is ready")
	must(t, err)
	must(t, w.Join(ctx, inet, sites.Name("otcloud"), "hub", "ot/ot-cloud", "hub-1"))
	w.run(ctx, "hub", sites.Name("otcloud"), "the hub is ready", "hub", "serve", "--data-dir", w.Data("hub-1"), "--mqtt", "10.20.0.5:8883", "--https", "10.20.0.5:443", "--amqp", "10.20.0.5:5671")
	must(t, processes.Until(ctx, func() error { return w.dialSite("plant7", "10.7.0.4:8883") }))
	return w
}

// lan lays a second cable, whose both ends are in the site: it holds the site's own addresses. Every site uses the same 10.7.0.0/24.
func lan(t *testing.T, ns string) {
	t.Helper()
	for _, args := range [][]string{
		{"-n", ns, "link", "add", "lan", "type", "veth", "peer", "name", "lan-end"}, {"-n", ns, "link", "set", "lan", "up"}, {"-n", ns, "link", "set", "lan-end", "up"},
		{"-n", ns, "addr", "add", "10.7.0.2/24", "dev", "lan"},
	} {
		ip(t, args...)
	}
}

func (w *world) run(ctx context.Context, role, netns, ready string, args ...string) {
	w.t.Helper()
	p, err := w.Start(role, netns, nil, args...)
	must(w.t, err)
	w.roles[role] = p
	_, err = p.WaitLog(ctx, ready)
	must(w.t, err)
}

func (w *world) apply(ctx context.Context, text string) {
	w.t.Helper()
	_, err := w.CLI(ctx, w.sites.Internet(), text, "apply", "-f", "-")
	must(w.t, err)
}

func (w *world) cli(ctx context.Context, args ...string) string {
	w.t.Helper()
	out, err := w.CLI(ctx, w.sites.Internet(), "", args...)
	must(w.t, err)
	return out
}

// device creates a device on the hub and returns a file with its connection string.
func (w *world) device(ctx context.Context, id string) string {
	w.t.Helper()
	ns := w.sites.Name("otcloud")
	_, err := w.CLI(ctx, ns, "", "hub", "device", "create", id, "--data-dir", w.Data("hub-1"))
	must(w.t, err)
	out, err := w.CLI(ctx, ns, "", "hub", "device", "connection-string", id, "--data-dir", w.Data("hub-1"))
	must(w.t, err)
	file := filepath.Join(w.Dir, id+".txt")
	must(w.t, os.WriteFile(file, []byte(out), 0o600))
	return file
}

// event is one line of `isthmus hub events -o json`.
type event struct {
	Body       string            `json:"body"` // base64
	Properties map[string]string `json:"properties"`
	System     map[string]string `json:"system"`
	Partition  int               `json:"partition"`
	Sequence   int64             `json:"sequence"`
}

func (w *world) events(ctx context.Context) []event { return w.eventsOf(ctx, "hub-1") }

// eventsOf reads everything a hub process has.
func (w *world) eventsOf(ctx context.Context, process string) []event {
	w.t.Helper()
	out, err := w.CLI(ctx, w.sites.Name("otcloud"), "", "hub", "events", "--data-dir", w.Data(process), "-o", "json")
	must(w.t, err)
	var evs []event
	for line := range strings.Lines(out) {
		var e event
		must(w.t, json.Unmarshal([]byte(line), &e))
		evs = append(evs, e)
	}
	return evs
}

// decoded is the body as text.
func (e event) decoded() string {
	b, _ := base64.StdEncoding.DecodeString(e.Body)
	return string(b)
}

// wantBody is what send.js puts into message id.
func wantBody(run, id string) []byte {
	sum := sha256.Sum256([]byte(run + id))
	return append(sum[:], []byte(" "+id+" ü\x00\n")...)
}

func checkEvent(t *testing.T, e event, run string) (id string) {
	t.Helper()
	id = e.Properties["seq"]
	body, err := base64.StdEncoding.DecodeString(e.Body)
	must(t, err)
	if !bytes.Equal(body, wantBody(run, id)) {
		t.Errorf("message %s arrived changed: %q", id, body)
	}
	if e.Properties["unit"] != "kPa & °C = 100%" {
		t.Errorf("message %s: property unit = %q", id, e.Properties["unit"])
	}
	return id
}

// sender is a running send.js.
type sender struct {
	cmd   *exec.Cmd
	stdin io.Closer

	mu      sync.Mutex // guards the fields below
	acked   map[string]bool
	said    []string
	changed chan struct{}
	ended   bool
}

// line is what send.js says.
type line struct {
	Acked   *int   `json:"acked"`
	Failed  *int   `json:"failed"`
	Open    string `json:"open"`
	Message string `json:"message"`
}

// node prepares a script with the real SDKs at hand and the deployment's authority trusted.
func (w *world) node(ctx context.Context, site string, args ...string) *exec.Cmd {
	w.t.Helper()
	modules, err := filepath.Abs("../conformance/node_modules")
	must(w.t, err)
	if _, err := os.Stat(filepath.Join(modules, "azure-iot-device")); err != nil {
		w.t.Fatalf("the SDKs are not installed: run make deps (%v)", err)
	}
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", w.sites.Name(site), "node"}, args...)...)
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules, "NODE_EXTRA_CA_CERTS="+filepath.Join(w.Dir, "server", "ca.pem"))
	cmd.Stderr = os.Stderr
	return cmd
}

func (w *world) sender(site, connectionFile, run string, count, window int, env ...string) *sender {
	w.t.Helper()
	cmd := w.node(context.Background(), site, "send.js", connectionFile, fmt.Sprint(count), fmt.Sprint(window))
	cmd.Env = append(append(cmd.Env, "RUN="+run), env...)
	in, err := cmd.StdinPipe()
	must(w.t, err)
	out, err := cmd.StdoutPipe()
	must(w.t, err)
	must(w.t, cmd.Start())
	s := &sender{cmd: cmd, stdin: in, acked: map[string]bool{}, changed: make(chan struct{})}
	go func() {
		r := bufio.NewScanner(out)
		for r.Scan() {
			var l line
			_ = json.Unmarshal(r.Bytes(), &l)
			s.mu.Lock()
			s.said = append(s.said, r.Text())
			if l.Acked != nil {
				s.acked[fmt.Sprint(*l.Acked)] = true
			}
			s.wakeLocked()
			s.mu.Unlock()
		}
		s.mu.Lock()
		s.ended = true
		s.wakeLocked()
		s.mu.Unlock()
	}()
	w.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return s
}

func (s *sender) wakeLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// wait returns once ok holds of the number acknowledged and of whether the process has ended.
func (s *sender) wait(ctx context.Context, ok func(acked int, ended bool) bool) error {
	for {
		s.mu.Lock()
		n, ended, changed, tail := len(s.acked), s.ended, s.changed, s.said[max(0, len(s.said)-5):]
		s.mu.Unlock()
		if ok(n, ended) {
			return nil
		}
		if ended {
			return fmt.Errorf("the device ended after %d messages; it last said %v", n, tail)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %d messages acknowledged; the device last said %v", ctx.Err(), n, tail)
		}
	}
}

func (s *sender) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.acked)
}

// more waits until n more messages are acknowledged.
func (s *sender) more(ctx context.Context, n int) error {
	want := s.count() + n
	return s.wait(ctx, func(acked int, _ bool) bool { return acked >= want })
}

// inSite calls f on a thread that is in the site's network namespace meanwhile: sockets it makes stay there. The thread goes back
// afterwards and lives on, because processes it started would die with it (PR_SET_PDEATHSIG).
func (w *world) inSite(site string, f func() error) error {
	errc := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			errc <- err
			return
		}
		defer home.Close()
		ns, err := os.Open(filepath.Join("/var/run/netns", w.sites.Name(site)))
		if err != nil {
			errc <- err
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			errc <- err
			return
		}
		result := f()
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			errc <- err
			return // the thread stays locked, and ends here
		}
		runtime.UnlockOSThread()
		errc <- result
	}()
	return <-errc
}

func (w *world) dial(site, addr string) (c net.Conn, err error) {
	err = w.inSite(site, func() error {
		c, err = (&net.Dialer{Timeout: 3 * time.Second}).Dial("tcp", addr)
		return err
	})
	return c, err
}

func (w *world) dialSite(site, addr string) error {
	c, err := w.dial(site, addr)
	if err == nil {
		c.Close()
	}
	return err
}

func (w *world) listen(site, addr string) net.Listener {
	w.t.Helper()
	var l net.Listener
	must(w.t, w.inSite(site, func() (err error) { l, err = net.Listen("tcp", addr); return err }))
	w.t.Cleanup(func() { l.Close() })
	return l
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
