package restart

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/test/device"
	"github.com/isthmus-io/isthmus/test/processes"
)

// patient is how long a test waits for what should come at once.
const patient = 60 * time.Second

// soak tells whether there is time.
var soak = os.Getenv("ISTHMUS_SOAK") != "" //nolint:gochecknoglobals // of the environment

var program, programDir string //nolint:gochecknoglobals // built once for the package

func TestMain(m *testing.M) {
	var err error
	if programDir, err = os.MkdirTemp("", "isthmus-restart-"); err == nil {
		program, err = processes.Build(context.Background(), programDir, "isthmus")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(programDir)
		os.Exit(code)
	}))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a hub process that comes and goes, and everybody who uses it meanwhile.
type world struct {
	*processes.Hub
	t      *testing.T
	ctx    context.Context //nolint:containedctx // of everybody who uses it
	stop   context.CancelFunc
	users  sync.WaitGroup
	hub    *hubclient.Client    // the owner of Contoso
	policy sas.ConnectionString // the owner's
	web    *processes.Web       // of those who speak HTTPS by themselves

	mu    sync.Mutex // guards the fields below
	done  map[string]int
	need  map[string]int // instead of enough
	wrong int
}

func start(t *testing.T) *world {
	t.Helper()
	d := processes.New(t.TempDir(), program)
	t.Cleanup(func() {
		d.Stop()
		if t.Failed() {
			t.Log(d.Logs())
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	w := &world{t: t, ctx: ctx, stop: stop, done: map[string]int{}, need: map[string]int{}}
	t.Cleanup(w.end)
	var err error
	w.Hub, err = d.StartHub(ctx)
	must(t, err)
	w.policy, err = w.Policy(ctx, processes.Contoso, "iothubowner")
	must(t, err)
	w.hub, err = hubclient.New(hubclient.Config{Connection: w.policy, Address: w.HTTPS, Roots: w.Roots}, clock.System{})
	must(t, err)
	t.Cleanup(w.hub.Close)
	w.web = w.Web("")
	t.Cleanup(w.web.CloseIdleConnections)
	return w
}

// end ends everybody who uses the hub.
func (w *world) end() {
	w.stop()
	w.users.Wait()
}

// use has somebody whose progress is waited for do something again and again, with a pause between, until ctx ends. What is done counts when once returns true.
func (w *world) use(ctx context.Context, name string, pause time.Duration, once func(context.Context) bool) {
	w.joins(name)
	w.users.Go(func() {
		for ctx.Err() == nil {
			if once(ctx) {
				w.count(name)
			}
			w.rest(ctx, pause)
		}
	})
}

func (w *world) count(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done[name]++
}

// until polls for what only the hub's answers can show.
func (w *world) until(check func() error) error {
	ctx, cancel := context.WithTimeout(w.ctx, patient)
	defer cancel()
	return processes.Until(ctx, check)
}

func (w *world) rest(ctx context.Context, pause time.Duration) {
	select {
	case <-time.After(pause):
	case <-ctx.Done():
	}
}

// wrongly notes a failure, and only the first few in words.
func (w *world) wrongly(format string, args ...any) {
	w.mu.Lock()
	w.wrong++
	n := w.wrong
	w.mu.Unlock()
	if n <= 20 {
		w.t.Errorf(format, args...)
	}
}

// away tells whether an error says that the hub was not there, or went before it answered: nobody knows whether it did what it was asked.
func away(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Timeout:
		return true
	default:
		return errors.Is(err, context.Canceled)
	}
}

// awayUnlessRefused is an error of a device that dials, in the words of again.
func awayUnlessRefused(err error) error {
	var refused device.Refused
	if errors.As(err, &refused) && refused != 3 {
		return fmt.Errorf("%w; SDKs do not try again after that", err)
	}
	return fault.New("restart", fault.Unavailable, err.Error())
}

// owner makes a token of the owner of Contoso.
func (w *world) owner() (string, error) {
	return sas.Sign(processes.Contoso, w.policy.Key, w.policy.Policy, time.Now().Add(time.Hour))
}

// again repeats what may be repeated until the hub has answered. It tells whether it did, and notes every error but that of a hub that is
// away.
func (w *world) again(ctx context.Context, what string, do func(context.Context) error) bool {
	for ctx.Err() == nil {
		err := do(ctx)
		if err == nil {
			return true
		}
		if ctx.Err() == nil && !away(err) {
			w.wrongly("%s: %v", what, err)
			return false
		}
		w.rest(ctx, 20*time.Millisecond)
	}
	return false
}

// rounds ends the process again and again, each time after everybody has got something done since the last, and brings it back.
func (w *world) rounds(n int, end func(round int)) {
	w.t.Helper()
	var slowest time.Duration
	for round := range n {
		w.progress(fmt.Sprintf("round %d", round))
		began := time.Now()
		end(round)
		must(w.t, w.Restart())
		ctx, cancel := context.WithTimeout(w.ctx, patient)
		_, err := w.WaitLog(ctx, "the hub is ready")
		cancel()
		must(w.t, err)
		took := time.Since(began)
		if took > 10*time.Second {
			w.t.Errorf("round %d: the hub needed %v to end and be back", round, took)
		}
		slowest = max(slowest, took)
	}
	w.progress("after the last round")
	w.t.Logf("%d rounds; the hub needed %v at most to end and be back", n, slowest.Round(time.Millisecond))
}

// enough is how often everybody has to get something done between two ends of the process.
const enough = 5

// progress waits until everybody has got something done.
func (w *world) progress(when string) {
	w.t.Helper()
	w.mu.Lock()
	before := map[string]int{}
	for name, n := range w.done {
		before[name] = n
	}
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(w.ctx, patient)
	defer cancel()
	if err := processes.Until(ctx, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		var idle []string
		for name, n := range before {
			need, other := w.need[name]
			if !other {
				need = enough
			}
			if w.done[name] < n+need {
				idle = append(idle, name)
			}
		}
		if len(idle) > 0 {
			return fmt.Errorf("too little is done by %s", strings.Join(idle, ", "))
		}
		return nil
	}); err != nil {
		w.t.Fatalf("%s: %v", when, err)
	}
}

// joins makes somebody one whose progress is waited for.
func (w *world) joins(names ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range names {
		w.done[name] += 0
	}
}
