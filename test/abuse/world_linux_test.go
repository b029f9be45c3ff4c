package abuse

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/test/processes"
)

// patient is how long a test waits for what should come at once.
const patient = 30 * time.Second

// soak tells whether there is time.
var soak = os.Getenv("ISTHMUS_SOAK") != "" //nolint:gochecknoglobals // of the environment

// more is n, or more than that where there is time.
func more(n, soaked int) int {
	if soak {
		return soaked
	}
	return n
}

// program is built once, by the first who asks.
var program = sync.OnceValues(func() (path string, err error) { //nolint:gochecknoglobals // built once for the package
	if programDir, err = os.MkdirTemp("", "isthmus-abuse-"); err != nil {
		return "", err
	}
	return processes.Build(context.Background(), programDir, "isthmus")
})

var programDir string //nolint:gochecknoglobals // removed by TestMain

func TestMain(m *testing.M) {
	// Those that run side by side wait more than they do. Whoever measures has the machine for himself.
	if err := flag.Set("test.parallel", "9"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if programDir != "" {
			_ = os.RemoveAll(programDir)
		}
		os.Exit(code)
	}))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// await polls for what only another process's answer can show.
func await(t testing.TB, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	if err := processes.Until(ctx, check); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// deployment is where the processes of a test run.
func deployment(t testing.TB) *processes.Deployment {
	t.Helper()
	path, err := program()
	must(t, err)
	d := processes.New(t.TempDir(), path)
	t.Cleanup(d.Stop)
	return d
}

// running is a process under test.
type running struct {
	*processes.Process
	t testing.TB
}

// after starts a process and waits until its log says so.
func after(t testing.TB, d *processes.Deployment, ready, role string, args ...string) (r *running, line string) {
	t.Helper()
	p, err := d.Start(role, "", nil, args...)
	must(t, err)
	r = &running{p, t}
	return r, r.says(ready)
}

// says waits for a line of the log.
func (r *running) says(text string) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patient)
	defer cancel()
	line, err := r.WaitLog(ctx, text)
	must(r.t, err)
	return line
}

// lines are those of the log which hold all the texts.
func (r *running) lines(texts ...string) (out []string) {
lines:
	for line := range strings.Lines(r.Log()) {
		for _, text := range texts {
			if !strings.Contains(line, text) {
				continue lines
			}
		}
		out = append(out, strings.TrimSpace(line))
	}
	return out
}

// says how many times must have n lines at most, and one at least.
func (r *running) saysOnce(most int, texts ...string) {
	r.t.Helper()
	if n := len(r.lines(texts...)); n == 0 || n > most {
		r.t.Errorf("%d lines of the log hold %q, and there should be 1 to %d:\n%s", n, texts, most, r.tail())
	}
}

func (r *running) tail() string {
	log := r.Log()
	return log[max(0, len(log)-3000):]
}

// hangUp has the process read its files again, and waits for the line which says what came of it, the n-th of its sort.
func (r *running) hangUp(says string, n int) string {
	r.t.Helper()
	must(r.t, syscall.Kill(r.PID(), syscall.SIGHUP))
	await(r.t, "a reload", func() error {
		if got := len(r.lines(says)); got < n {
			return fmt.Errorf("%d lines of the log say %q:\n%s", got, says, r.tail())
		}
		return nil
	})
	return r.lines(says)[n-1]
}

// end ends the process as Ctrl-C does, so that the log is complete.
func (r *running) end() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	must(r.t, r.Interrupt(ctx))
}

var residentSet = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// rss is the memory that the process has at the moment, in bytes.
func (r *running) rss() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.PID()))
	if err != nil {
		return 0
	}
	m := residentSet.FindSubmatch(b)
	if m == nil {
		return 0
	}
	n, _ := strconv.ParseInt(string(m[1]), 10, 64)
	return n << 10
}

// memory is what a process held before, at most, and after.
type memory struct{ before, peak, after int64 }

// watchMemory looks at the process's memory until the end is asked for.
func (r *running) watchMemory() (end func() memory) {
	m := memory{before: r.rss()}
	m.peak = m.before
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				m.peak = max(m.peak, r.rss())
			case <-ctx.Done():
				return
			}
		}
	})
	stop := sync.OnceFunc(func() { cancel(); watching.Wait() })
	r.t.Cleanup(stop)
	return func() memory {
		stop()
		m.after = r.rss()
		return m
	}
}

// within checks that the process never held more than that many MiB beyond what it had.
func (m memory) within(t testing.TB, mib int64) {
	t.Helper()
	t.Logf("memory: %d MiB before, %d at the most, %d after; %d more are allowed", m.before>>20, m.peak>>20, m.after>>20, mib)
	if m.before == 0 || m.peak-m.before > mib<<20 {
		t.Errorf("the process came to hold %d MiB more than before, and %d are allowed", (m.peak-m.before)>>20, mib)
	}
}

// freePort is a port of 127.0.0.1 that nobody listens on.
func freePort(t testing.TB) string {
	t.Helper()
	at, err := processes.FreePort(t.Context())
	must(t, err)
	_, port, err := net.SplitHostPort(at)
	must(t, err)
	return port
}

func write(t testing.TB, file, text string) {
	t.Helper()
	must(t, os.WriteFile(file, []byte(text), 0o600))
}
