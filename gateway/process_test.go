package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/gateway"
	"github.com/isthmus-io/isthmus/gateway/decide"
	"github.com/isthmus-io/isthmus/gateway/handover"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// childDir has the test binary play a gateway process with this data directory, in which plan.json stands.
const childDir = "GATEWAY_TEST_DIR"

func child(dir string) int {
	var p plan.Gateway
	b, err := os.ReadFile(filepath.Join(dir, "plan.json"))
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	g := gateway.New(gateway.Config{Dir: dir, Systemd: os.Getenv("NOTIFY_SOCKET") != ""}, nil, log, clock.System{}, nil)
	g.Set([]plan.Gateway{p})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test lets go, or is gone
		cancel()
	}()
	go func() {
		<-g.Ready()
		fmt.Println("ready")
	}()
	switch err := g.Run(ctx); {
	case errors.Is(err, gateway.ErrHandedOver):
		fmt.Println("handed over")
	case err != nil:
		fmt.Println(err)
		return 1
	}
	return 0
}

// process is a gateway in a process of its own.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	lines chan string // that it printed; closed at its end
}

func spawn(t *testing.T, dir string, p plan.Gateway) *process {
	t.Helper()
	return spawnAs(t, exec.Command(os.Args[0]), dir, p)
}

func spawnAs(t *testing.T, cmd *exec.Cmd, dir string, p plan.Gateway) *process {
	t.Helper()
	b, err := json.Marshal(p)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "plan.json"), b, 0o600))
	cmd.Env = append(append(os.Environ(), cmd.Env...), childDir+"="+dir, "GORACE=atexit_sleep_ms=0")
	if testing.Verbose() {
		cmd.Stderr = os.Stderr
	}
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	x := &process{cmd: cmd, stdin: stdin, lines: make(chan string, 10)}
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(x.lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			x.lines <- s.Text()
		}
	})
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		reading.Wait()
		_ = cmd.Wait()
	})
	return x
}

func (x *process) says(t *testing.T, want string) {
	t.Helper()
	select {
	case line := <-x.lines:
		if line != want {
			t.Fatalf("it says %q, want %q", line, want)
		}
	case <-time.After(patient):
		t.Fatalf("it never says %q", want)
	}
}

// load has clients connect, talk and hang up, one after the other each, until stop.
type load struct {
	stop   func()
	done   atomic.Int64
	failed atomic.Int64
	first  atomic.Pointer[error]
}

func startLoad(t *testing.T, clients int, visit func(i int) error) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{}
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := visit(i); err != nil {
					l.failed.Add(1)
					l.first.CompareAndSwap(nil, &err)
				} else {
					l.done.Add(1)
				}
			}
		})
	}
	l.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(l.stop)
	return l
}

// more waits for n more visits.
func (l *load) more(t *testing.T, n int64) {
	t.Helper()
	want := l.done.Load() + n
	await(t, "visits", func() bool { return l.done.Load() >= want || l.failed.Load() > 0 })
}

func (l *load) wantNoFailure(t *testing.T) {
	t.Helper()
	if n := l.failed.Load(); n > 0 {
		t.Errorf("%d connections failed, %d did not; the first: %v", n, l.done.Load(), *l.first.Load())
	}
	t.Logf("%d connections, none failed", l.done.Load())
}

// visitor dials, talks and hangs up.
func visitor(address, name string) func(int) error {
	return func(int) error {
		c, err := dial(address, plant, name)
		if err != nil {
			return err
		}
		err = c.lives()
		_ = c.raw.SetLinger(0) // thousands of them: none may wait in this machine
		_ = c.raw.Close()
		return err
	}
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func TestAReloadOfEverythingUnderLoad(t *testing.T) {
	p, _ := threeWays(t)
	w := start(t, p)
	stays := w.dial(plant, "a.example")
	l := startLoad(t, 8, visitor(w.address(), "a.example"))
	for i := range 15 {
		l.more(t, 12)
		// Everything changes but what the clients need.
		w.plan.Listeners[0].Name = fmt.Sprint("mqtt-", i)
		w.plan.Limits.HelloSeconds = 5 + i%3
		w.plan.Limits.Source.PerSecond = 1_000_000 + i
		w.plan.Routes[0].Names = []string{"a.example", fmt.Sprintf("c-%d.example", i)}
		w.plan.Groups[0].Name = fmt.Sprint("exact-", i)
		w.plan.Routes[0].Group = w.plan.Groups[0].Name
		w.plan.Groups[0].Balance = []resource.Balance{resource.LeastConnections, resource.BySource}[i%2]
		w.plan.Allowlists = []plan.Allowlist{{Name: fmt.Sprint("ot/cloud/list-", i), Rules: []resource.AllowRule{
			rule("plant", "203.0.113.0/24"), rule(fmt.Sprint("more-", i), fmt.Sprintf("10.%d.0.0/16", i)),
		}}}
		w.set()
	}
	l.more(t, 20)
	l.stop()
	l.wantNoFailure(t)
	stays.wantAlive(t)

	// Nothing is counted that is not there any more, whatever it was when it came.
	_ = stays.raw.Close()
	await(t, "counts of nothing", func() bool {
		s := w.g.Status()
		f := s.Gateways[0]
		n := f.Connections + s.Carrier.Open + f.Limiter.Sources - f.Limiter.IdleSources + f.Limiter.Rules - f.Limiter.IdleRules
		for _, u := range append(f.Busiest, f.Names...) {
			n += u.Connections
		}
		for _, g := range s.Groups {
			for _, x := range g.Targets {
				n += x.Connections
			}
		}
		return n == 0
	})
}

func TestAnUpgradeUnderLoad(t *testing.T) {
	if !canHandOver {
		t.Skip("sockets are handed over on Linux only")
	}
	p, _ := threeWays(t)
	p.Listeners[0].Port = freePort(t)
	p.Limits.DrainSeconds = 30
	address := netip.AddrPortFrom(p.Listeners[0].Address, p.Listeners[0].Port).String()
	dir := t.TempDir()
	old := spawn(t, dir, p)
	old.says(t, "ready")
	l := startLoad(t, 8, visitor(address, "a.example"))
	for range 2 {
		l.more(t, 60)
		stays, err := dial(address, plant, "b.example")
		if err == nil {
			t.Fatal("b leads nowhere, and is let in to", stays.hi)
		}
		stays, err = dial(address, plant, "x.hub.example")
		must(t, err)
		next := spawn(t, dir, p)
		next.says(t, "ready")
		l.more(t, 60)
		stays.wantAlive(t) // in the old process
		_ = stays.raw.Close()
		old.says(t, "handed over")
		must(t, old.cmd.Wait())
		old = next
	}
	l.more(t, 60)
	l.stop()
	l.wantNoFailure(t)
}

// A new process need not have the configuration of the old one.
func TestAnUpgradeWithOtherListeners(t *testing.T) {
	if !canHandOver {
		t.Skip("sockets are handed over on Linux only")
	}
	p, _ := threeWays(t)
	with := func(ports ...uint16) plan.Gateway {
		q := p
		q.Listeners = nil
		for i, port := range ports {
			l := p.Listeners[0]
			l.Name, l.Port = fmt.Sprint("l-", i), port
			q.Listeners = append(q.Listeners, l)
		}
		return q
	}
	goes, stays, comes := freePort(t), freePort(t), freePort(t)
	at := func(port uint16) string { return netip.AddrPortFrom(p.Listeners[0].Address, port).String() }
	dir := t.TempDir()
	old := spawn(t, dir, with(goes, stays))
	old.says(t, "ready")
	l := startLoad(t, 4, visitor(at(stays), "a.example"))
	l.more(t, 50)
	next := spawn(t, dir, with(stays, comes))
	next.says(t, "ready")
	old.says(t, "handed over")
	l.more(t, 50)
	l.stop()
	l.wantNoFailure(t)
	must(t, visitor(at(comes), "a.example")(0))
	if c, err := net.Dial("tcp", at(goes)); err == nil {
		_ = c.Close()
		t.Error("the listener that went is still there")
	}
}

func TestTheOldProcessGoesOnWhenTheNewOneFails(t *testing.T) {
	if !canHandOver {
		t.Skip("sockets are handed over on Linux only")
	}
	p, _ := threeWays(t)
	dir := t.TempDir()
	w := startWith(t, gateway.Config{Dir: dir}, nil, clock.System{}, p)
	l := startLoad(t, 4, visitor(w.address(), "a.example"))
	await(t, "the socket", func() bool { _, err := os.Stat(handover.Path(dir)); return err == nil })
	for range 3 {
		l.more(t, 20)
		taken, err := handover.Take(context.Background(), handover.Path(dir))
		must(t, err)
		l.more(t, 20)
		taken.Close() // it died before it was ready
	}
	w.set() // waits for the hand-over that failed, and no longer
	l.more(t, 50)
	l.stop()
	l.wantNoFailure(t)
}

func TestDrainEndsInOrder(t *testing.T) {
	p, _ := threeWays(t)
	w := start(t, p)
	a, b := w.dial(plant, "a.example"), w.dial(plant, "a.example")
	address := w.address()
	w.g.Drain(time.Minute)
	await(t, "the end of listening", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	a.wantAlive(t)
	w.plan.Allowlists = nil
	w.plan.OpenToAll = true
	w.set() // rules hold while it drains
	a.wantAlive(t)
	_ = a.raw.Close()
	_ = b.raw.Close()
	select {
	case err := <-w.done:
		must(t, err)
	case <-time.After(patient):
		t.Fatal("it does not end")
	}
}

func TestADrainHasADeadline(t *testing.T) {
	clk := clock.NewFake(time.Now())
	p, _ := threeWays(t)
	p.Limits.DrainSeconds = 60
	w := startWith(t, gateway.Config{}, nil, clk, p)
	a := w.dial(plant, "a.example")
	w.g.Drain(0)
	await(t, "draining", func() bool { return w.g.Status().Phase == "draining" })
	clk.Advance(59 * time.Second)
	a.wantAlive(t)
	if s := w.g.Status().Gateways[0].Listeners[0]; s.Problem != "closed: the process drains" {
		t.Errorf("the listener is said to be: %+v", s)
	}
	if x, _ := w.g.Why("", decide.Question{Source: netip.MustParseAddr(plant), Name: "a.example"}); x.Allowed || x.Reason != "draining" {
		t.Errorf("a new connection is said to be: %+v", x.Explanation)
	}
	await(t, "the end", func() bool { clk.Advance(time.Second); return w.g.Status().Phase == "over" })
	a.wantCut(t)
}

// systemd listens before the process is there, keeps the queue, and is told how the process is.
func TestStartedBySystemd(t *testing.T) {
	if !canHandOver {
		t.Skip("there is no systemd")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	inherited, err := l.(*net.TCPListener).File()
	must(t, err)
	p, _ := threeWays(t)
	p.Listeners[0].Port = uint16(l.Addr().(*net.TCPAddr).Port)
	waiting, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer waiting.Close()
	_ = l.Close()

	dir := t.TempDir()
	path := filepath.Join(dir, "notify.sock")
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	defer told.Close()
	wantTold := func(want string) {
		t.Helper()
		b := make([]byte, 1000)
		_ = told.SetDeadline(time.Now().Add(patient))
		n, err := told.Read(b)
		must(t, err)
		if string(b[:n]) != want {
			t.Errorf("systemd is told %q, want %q", b[:n], want)
		}
	}
	// Only between fork and exec is the number of the process known, as systemd knows it.
	cmd := exec.Command("/bin/sh", "-c", "LISTEN_PID=$$ exec \"$0\"", os.Args[0])
	cmd.Env = []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=mqtt", "NOTIFY_SOCKET=" + path}
	cmd.ExtraFiles = []*os.File{inherited}
	x := spawnAs(t, cmd, dir, p)
	_ = inherited.Close()
	x.says(t, "ready")
	wantTold(fmt.Sprintf("READY=1\nMAINPID=%d", x.cmd.Process.Pid))
	must(t, visitor(waiting.RemoteAddr().String(), "a.example")(0))
	_, err = waiting.Write(append(header(plant), "no hello"...))
	must(t, err)
	_ = waiting.SetDeadline(time.Now().Add(patient))
	if _, err := waiting.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("who waited in the queue is not served:", err)
	}
	_ = x.stdin.Close()
	wantTold("STOPPING=1")
}

// Two processes carry one gateway, and share nothing. Clients that try again find the one that is left.
func TestOneOfTwoIsKilled(t *testing.T) {
	p, _ := threeWays(t)
	var addresses []string
	var both []*process
	for range 2 {
		p.Listeners[0].Port = freePort(t)
		addresses = append(addresses, netip.AddrPortFrom(p.Listeners[0].Address, p.Listeners[0].Port).String())
		x := spawn(t, t.TempDir(), p)
		x.says(t, "ready")
		both = append(both, x)
	}
	l := startLoad(t, 8, func(i int) error {
		var err error
		for try := range 2 { // each client has its favourite, and goes to the other when that fails
			if err = visitor(addresses[(i+try)%2], "a.example")(i); err == nil {
				return nil
			}
		}
		return err
	})
	l.more(t, 100)
	must(t, both[0].cmd.Process.Kill())
	l.more(t, 100)
	l.stop()
	l.wantNoFailure(t)
}

func TestTheAdminDoor(t *testing.T) {
	p, _ := threeWays(t)
	dir := t.TempDir()
	w := startWith(t, gateway.Config{Dir: dir}, nil, clock.System{}, p)
	w.dial(plant, "a.example")
	w.refused("192.0.2.77", "a.example", "no-rule")
	path := filepath.Join(dir, "gateway.sock")
	await(t, "the door", func() bool { _, err := os.Stat(path); return err == nil })
	if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", i.Mode(), err)
	}
	h := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	ask := func(method, what string, status int, into any) {
		t.Helper()
		req, err := http.NewRequest(method, "http://gateway"+what, nil)
		must(t, err)
		r, err := h.Do(req)
		must(t, err)
		defer r.Body.Close()
		if r.StatusCode != status {
			t.Errorf("%s: %s", what, r.Status)
		}
		must(t, json.NewDecoder(r.Body).Decode(into))
	}
	var s gateway.Status
	ask("GET", "/status", 200, &s)
	if s.Gateways[0].Connections != 1 || s.Gateways[0].Listeners[0].Address.String() != w.address() {
		t.Errorf("%+v", s)
	}
	var r gateway.Refusals
	ask("GET", "/refusals?n=5", 200, &r)
	if len(r.Recent) != 1 || r.Recent[0].Source.String() != "192.0.2.77" || r.Recent[0].Reason != "no-rule" {
		t.Errorf("%+v", r)
	}
	var why gateway.Explanation
	ask("GET", "/why?source=203.0.113.9&name=A.example", 200, &why)
	steps := strings.Join(why.Steps, "\n")
	if !why.Allowed || why.Rule != "ot/cloud/fabrikam/plant" || !strings.Contains(steps, "is up, with 1 connections") || len(why.Uses) != 2 || len(why.Targets) != 1 {
		t.Errorf("%+v", why)
	}
	why = gateway.Explanation{}
	ask("GET", "/why?source=192.0.2.77&name=a.example&gateway=front", 200, &why)
	if why.Allowed || why.Reason != "no-rule" {
		t.Errorf("%+v", why)
	}
	for what, status := range map[string]int{
		"/why?source=x": 400, "/why?source=::1&port=99999": 400, "/why?source=::1&gateway=none": 404, "/refusals?n=-1": 400,
	} {
		var no struct{ Error, Next, Kind string }
		if ask("GET", what, status, &no); no.Error == "" || no.Next == "" {
			t.Errorf("%s: %+v", what, no)
		}
	}
	var left map[string]int
	ask("POST", "/drain?seconds=1", 200, &left)
	select {
	case err := <-w.done:
		must(t, err)
	case <-time.After(patient):
		t.Fatal("it does not end")
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket stays")
	}
}

func TestADataDirectoryIsOneProcesss(t *testing.T) {
	p, _ := threeWays(t)
	dir := t.TempDir()
	w := startWith(t, gateway.Config{Dir: dir}, nil, clock.System{}, p)
	path := filepath.Join(dir, "gateway.sock")
	await(t, "the doors", func() bool {
		_, one := os.Stat(path)
		_, two := os.Stat(handover.Path(dir))
		return one == nil && (two == nil || !canHandOver)
	})
	// A process that has the directory but does not hand over: an older version, say.
	other := gateway.New(gateway.Config{Dir: filepath.Join(dir, ".")}, nil, logger(t), clock.System{}, nil)
	_ = os.Remove(handover.Path(dir))
	if err := other.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "another process serves") {
		t.Error(err)
	}
	w.dial(plant, "a.example")
}
