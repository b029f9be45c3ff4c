package handover_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/gateway/handover"
)

// asSystemd has the test binary play a program that systemd starts.
const asSystemd = "HANDOVER_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(asSystemd) != "" {
		os.Exit(child())
	}
	goleak.VerifyTestMain(m)
}

const patient = 10 * time.Second

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// old is a process that has sockets.
type old struct {
	path       string
	listeners  []*net.TCPListener
	took, kept atomic.Int32
	ended      chan bool
	cancel     func()
}

func start(t *testing.T, sockets int) *old {
	t.Helper()
	o := &old{path: filepath.Join(t.TempDir(), "handover.sock"), ended: make(chan bool, 1)}
	for range sockets {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		t.Cleanup(func() { _ = l.Close() })
		o.listeners = append(o.listeners, l.(*net.TCPListener))
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &handover.Server{
		Path: o.path, Log: slog.New(slog.DiscardHandler), Give: o.give,
		Took: func() { o.took.Add(1) }, Kept: func() { o.kept.Add(1) },
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		took, err := s.Run(ctx)
		if err != nil {
			t.Error(err)
		}
		o.ended <- took
	})
	o.cancel = cancel
	t.Cleanup(func() { cancel(); wg.Wait() })
	await(t, func() bool { _, err := os.Stat(o.path); return err == nil })
	return o
}

// give puts all sockets but the last under one address.
func (o *old) give() ([]handover.Socket, error) {
	var out []handover.Socket
	for i, l := range o.listeners {
		f, err := l.File()
		if err != nil {
			return nil, err
		}
		key := handover.Key(l.Addr().(*net.TCPAddr).AddrPort())
		if i > 0 && i < len(o.listeners)-1 {
			out[0].Files = append(out[0].Files, f)
			continue
		}
		out = append(out, handover.Socket{Name: fmt.Sprint("listener-", i), Address: key, Files: []*os.File{f}})
	}
	return out, nil
}

func await(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.After(patient); !ok(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("waited too long")
		}
	}
}

func TestSocketsPassWithTheirQueue(t *testing.T) {
	o := start(t, 2)
	waiting, err := net.Dial("tcp", o.listeners[1].Addr().String()) // nobody accepted it yet
	must(t, err)
	defer waiting.Close()

	taken, err := handover.Take(context.Background(), o.path)
	must(t, err)
	if len(taken.Sockets) != 2 || taken.PID != os.Getpid() || taken.Sockets[1].Name != "listener-1" {
		t.Fatalf("%+v", taken)
	}
	if got, want := taken.Sockets[1].Address, o.listeners[1].Addr().String(); got != want {
		t.Errorf("address %s, want %s", got, want)
	}
	l, err := net.FileListener(taken.Sockets[1].Files[0])
	must(t, err)
	defer l.Close()
	if o.took.Load() != 0 {
		t.Error("the old process let go before the new one was ready")
	}
	must(t, taken.Ready(context.Background()))
	if o.took.Load() != 1 || o.kept.Load() != 0 {
		t.Error("the old process did not let go")
	}
	if !<-o.ended {
		t.Error("Run does not tell")
	}
	_ = o.listeners[1].Close()
	c, err := l.Accept()
	must(t, err)
	defer c.Close()
	if c.RemoteAddr().String() != waiting.LocalAddr().String() {
		t.Error("another connection")
	}
	handover.CloseAll(taken.Sockets)
	if _, err := os.Stat(o.path); err == nil {
		t.Error("the path is not free")
	}
}

func TestManySocketsPass(t *testing.T) {
	o := start(t, 300)
	taken, err := handover.Take(context.Background(), o.path)
	must(t, err)
	if len(taken.Sockets) != 2 || len(taken.Sockets[0].Files) != 299 {
		t.Fatal(len(taken.Sockets), len(taken.Sockets[0].Files))
	}
	for i, f := range taken.Sockets[0].Files {
		l, err := net.FileListener(f)
		must(t, err)
		if l.Addr().String() != o.listeners[i].Addr().String() {
			t.Fatalf("socket %d is another", i)
		}
		_ = l.Close()
	}
	taken.Close()
	await(t, func() bool { return o.kept.Load() == 1 })
}

func TestTheOldOneGoesOnWhenTheNewOneDies(t *testing.T) {
	o := start(t, 1)
	for range 3 {
		taken, err := handover.Take(context.Background(), o.path)
		must(t, err)
		kept := o.kept.Load()
		taken.Close()
		await(t, func() bool { return o.kept.Load() == kept+1 })
	}
	taken, err := handover.Take(context.Background(), o.path)
	must(t, err)
	must(t, taken.Ready(context.Background()))
	handover.CloseAll(taken.Sockets)
}

func TestOneAtATime(t *testing.T) {
	o := start(t, 1)
	first, err := handover.Take(context.Background(), o.path)
	must(t, err)
	_, err = handover.Take(context.Background(), o.path)
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Message(err), "another process is taking over") {
		t.Error(err)
	}
	must(t, first.Ready(context.Background()))
	handover.CloseAll(first.Sockets)
}

func TestNobodyToTakeFrom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "handover.sock")
	if taken, err := handover.Take(context.Background(), path); taken != nil || err != nil {
		t.Error(taken, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	l.SetUnlinkOnClose(false)
	_ = l.Close() // as a process that was killed leaves it
	if taken, err := handover.Take(context.Background(), path); taken != nil || err != nil {
		t.Error(taken, err)
	}
}

func TestWhatIsNotUnderstoodChangesNothing(t *testing.T) {
	o := start(t, 1)
	for _, b := range []string{"", "\x00\x00\x00\x02{}", "\xff\xff\xff\xff", "\x00\x00\x00\x10{\"say\":\"take.9\"}", "GET / HTTP/1.1\r\n\r\n", "\x00\x00\x00\x02}{"} {
		c, err := net.Dial("unix", o.path)
		must(t, err)
		_, _ = io.WriteString(c, b)
		_ = c.(*net.UnixConn).CloseWrite()
		_ = c.SetDeadline(time.Now().Add(patient))
		_, err = io.ReadAll(c) // until it hangs up
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q is not hung up on", b)
		}
		_ = c.Close()
	}
	if o.took.Load() != 0 || o.kept.Load() != 0 {
		t.Error("something was given")
	}
}

// A process that gives and breaks off leaves no file open with the taker.
func TestBrokenOffers(t *testing.T) {
	before := descriptors(t)
	for _, say := range []string{`{"say":"socket","files":2}`, `{"say":"socket","files":-1}`, `{"say":"socket","files":99999}`, `{"say":"what"}`, `{`, ``} {
		path := filepath.Join(t.TempDir(), "handover.sock")
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		must(t, err)
		var wg sync.WaitGroup
		wg.Go(func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 100))
			_, _ = c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(say))), say...))
			_, _ = c.Write([]byte{0}) // where a socket should come
			_ = c.Close()
		})
		if taken, err := handover.Take(context.Background(), path); taken != nil || fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v %v", say, taken, err)
		}
		wg.Wait()
		_ = l.Close()
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func descriptors(t *testing.T) int {
	d, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(d)
}

func TestKeys(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1:443": "192.0.2.1:443", "[::ffff:192.0.2.1]:443": "192.0.2.1:443", "0.0.0.0:443": ":443", "[::]:443": ":443",
		"[2001:db8::1]:443": "[2001:db8::1]:443",
	} {
		if got := handover.Key(netip.MustParseAddrPort(in)); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// child prints what it inherited. LISTEN_PID must be its own, which only it knows: systemd sets it between fork and exec.
func child() int {
	env := map[string]string{"LISTEN_PID": fmt.Sprint(os.Getpid()), "LISTEN_FDS": os.Getenv("LISTEN_FDS"), "LISTEN_FDNAMES": os.Getenv("LISTEN_FDNAMES")}
	all, err := handover.Inherited(func(k string) string { return env[k] }, func(k string) error { delete(env, k); return nil })
	if err != nil {
		fmt.Println("error:", fault.Message(err))
		return 0
	}
	for _, s := range all {
		fmt.Println(s.Name, s.Address, len(s.Files))
	}
	fmt.Println("left:", len(env))
	return 0
}

func TestInheritedFromSystemd(t *testing.T) {
	listen := func(at string) (*os.File, string) {
		l, err := net.Listen("tcp", at)
		must(t, err)
		defer l.Close()
		f, err := l.(*net.TCPListener).File()
		must(t, err)
		t.Cleanup(func() { _ = f.Close() })
		return f, handover.Key(l.Addr().(*net.TCPAddr).AddrPort())
	}
	one, oneAt := listen("127.0.0.1:0")
	all, allAt := listen(":0")
	plain, err := os.Open(os.DevNull)
	must(t, err)
	defer plain.Close()
	run := func(files []*os.File, env ...string) string {
		c := exec.Command(os.Args[0])
		c.Env = append(append(os.Environ(), asSystemd+"=1", "GORACE=atexit_sleep_ms=0"), env...)
		c.ExtraFiles = files
		out, err := c.CombinedOutput()
		must(t, err)
		return string(out)
	}
	got := run([]*os.File{one, all, one}, "LISTEN_FDS=3", "LISTEN_FDNAMES=mqtt::mqtt")
	if want := fmt.Sprintf("mqtt %s 2\nsystemd %s 1\nleft: 0\n", oneAt, allAt); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := run(nil, "LISTEN_FDS=0"); got != "left: 0\n" {
		t.Errorf("got %q", got)
	}
	for _, bad := range []string{run([]*os.File{plain}, "LISTEN_FDS=1"), run(nil, "LISTEN_FDS=x"), run(nil, "LISTEN_FDS=9999999"), run(nil, "LISTEN_FDS=1")} {
		if !strings.HasPrefix(bad, "error: ") {
			t.Errorf("got %q", bad)
		}
	}
	if all, err := handover.Inherited(func(k string) string { return map[string]string{"LISTEN_PID": "1", "LISTEN_FDS": "5"}[k] }, os.Unsetenv); all != nil || err != nil {
		t.Error("what was for another process:", all, err)
	}
}

func TestNotify(t *testing.T) {
	must(t, handover.Notify(func(string) string { return "" }, "READY=1"))
	for _, path := range []string{filepath.Join(t.TempDir(), "notify"), "@isthmus-handover-test"} {
		l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		must(t, err)
		must(t, handover.Notify(func(string) string { return path }, "READY=1", "MAINPID=42"))
		b := make([]byte, 100)
		_ = l.SetDeadline(time.Now().Add(patient))
		n, err := l.Read(b)
		must(t, err)
		if !slices.Equal(strings.Split(string(b[:n]), "\n"), []string{"READY=1", "MAINPID=42"}) {
			t.Errorf("%q", b[:n])
		}
		_ = l.Close()
	}
	if err := handover.Notify(func(string) string { return "/nowhere/at/all" }, "READY=1"); fault.KindOf(err) != fault.Unavailable {
		t.Error(err)
	}
}
