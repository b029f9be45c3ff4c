package journal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("JOURNAL_TEST_DIR"); dir != "" {
		os.Exit(childWriter(dir))
	}
	goleak.VerifyTestMain(m)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const patient = time.Minute

// plane is a control plane that takes what it wants.
type plane struct {
	mu      sync.Mutex
	changed chan struct{} // closed and made anew with each arrival
	records []session.Record
	files   map[string][]byte
	before  map[string]int // how many records were there when a recording came
	calls   int
	refuse  func(session.Record) error
	away    error
	file    func(session string) error
}

func newPlane() *plane {
	return &plane{changed: make(chan struct{}), files: map[string][]byte{}, before: map[string]int{}}
}

func (p *plane) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *plane) Sessions(_ context.Context, records []session.Record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	close(p.changed)
	p.changed = make(chan struct{})
	if p.away != nil {
		return p.away
	}
	for _, r := range records {
		if p.refuse != nil {
			if err := p.refuse(r); err != nil {
				return err
			}
		}
	}
	p.records = append(p.records, records...)
	return nil
}

func (p *plane) Recording(_ context.Context, session string, size int64, sum string, content io.Reader) error {
	b, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	close(p.changed)
	p.changed = make(chan struct{})
	if p.away != nil {
		return p.away
	}
	if p.file != nil {
		if err := p.file(session); err != nil {
			return err
		}
	}
	if hash := sha256.Sum256(b); int64(len(b)) != size || hex.EncodeToString(hash[:]) != sum {
		return fault.New("plane", fault.Invalid, "another content was announced")
	}
	p.files[session] = b
	p.before[session] = len(p.records)
	return nil
}

// until waits until cond holds, which is asked with the lock held after each arrival.
func (p *plane) until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	end := time.After(patient)
	for {
		p.mu.Lock()
		ok, changed := cond(), p.changed
		p.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-time.After(5 * time.Millisecond): // conditions beside what arrives
		case <-end:
			t.Fatalf("never: %s", what)
		}
	}
}

// first returns each record once, in the order of their first arrivals.
func (p *plane) first() []session.Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := map[string]bool{}
	var list []session.Record
	for _, r := range p.records {
		if k := r.Session + string(r.Phase); !seen[k] {
			seen[k] = true
			list = append(list, r)
		}
	}
	return list
}

// living is a journal whose Run is under way.
type living struct {
	*Journal
	t    testing.TB
	stop func()
}

func start(t testing.TB, cfg Config, to Sender, clk clock.Clock) *living {
	t.Helper()
	j, err := Open(cfg, quiet(), clk)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx, to) }()
	l := &living{Journal: j, t: t}
	l.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		must(t, j.Close())
	})
	t.Cleanup(l.stop)
	return l
}

func id(i int) string { return fmt.Sprintf("%032x", i) }

func opened(i int) session.Record {
	return session.Record{Session: id(i), Phase: session.Opened, At: time.Unix(int64(i), 0).UTC(), Grant: "g", Target: "t", Person: "spiffe://d/tenant/a/person/p/1"}
}

func ended(i int) session.Record {
	r := opened(i)
	r.Phase, r.End, r.Opened = session.Ended, session.EndClosed, r.At
	return r
}

// settled waits until everything noted is on disk.
func (j *Journal) settled(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(patient); ; {
		j.writing.Lock()
		j.mu.Lock()
		n := len(j.waiting)
		j.mu.Unlock()
		j.writing.Unlock()
		if n == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d records do not come to the disk", n)
		}
		<-time.After(time.Millisecond)
	}
}
