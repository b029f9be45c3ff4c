package gate_test

import (
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-io/isthmus/access/gate"
	"github.com/isthmus-io/isthmus/plan"
)

// Two who take all they get, in both directions, and one who types: he does not notice them, and they get the same.
func TestBytesAreSharedFairly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 1 << 20
		w := newWorld(t, gate.Config{BytesPerSecond: rate}, nil)
		w.gate.Set([]plan.Target{w.target()})
		var got [2]atomic.Int64
		s, m := w.enter("grant-1")
		go func() { _, _ = io.Copy(m, zeros{}) }()
		go count(&got[0], s)
		s, m = w.enter("grant-1")
		go func() { _, _ = io.Copy(struct{ io.Writer }{s}, zeros{}) }()
		go count(&got[1], m)

		s, m = w.enter("grant-1")
		worst := time.Duration(0)
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			asked := time.Now()
			send(t, s, "k")
			expect(t, m, "k")
			send(t, m, "K")
			expect(t, s, "K")
			worst = max(worst, time.Since(asked))
		}
		if worst > 0 {
			t.Error("a keystroke took", worst)
		}
		a, b := float64(got[0].Load()), float64(got[1].Load())
		if all := 10.0 * rate; a+b < 0.9*all || a+b > 1.1*all || a/b > 1.1 || b/a > 1.1 {
			t.Errorf("%.0f and %.0f bytes in ten seconds of %d", a, b, rate)
		}
		w.gate.Set(nil)
	})
}

func count(n *atomic.Int64, r io.Reader) {
	b := make([]byte, 64<<10)
	for {
		m, err := r.Read(b)
		n.Add(int64(m))
		if err != nil {
			return
		}
	}
}

// A limit that comes holds for sessions that are open, and one that goes lets them run.
func TestALimitMayComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, gate.Config{}, nil)
		p := w.target()
		w.gate.Set([]plan.Target{p})
		s, m := w.enter("grant-1")
		carry := func() time.Duration {
			began := time.Now()
			go func() { _, _ = io.CopyN(m, zeros{}, 1<<20) }()
			if n, err := io.CopyN(io.Discard, s, 1<<20); err != nil {
				t.Fatal(n, err)
			}
			return time.Since(began)
		}
		if took := carry(); took > 0 {
			t.Error("without a limit it took", took)
		}
		for _, kib := range []int64{100, 200} {
			p.Limits.BytesPerSecond = kib << 10
			w.gate.Set([]plan.Target{p})
			want := time.Duration(1024/kib) * time.Second
			if took := carry(); took < want-want/8 || took > want+want/8 {
				t.Errorf("a MiB at %d KiB a second took %s", kib, took)
			}
		}
		p.Limits.BytesPerSecond = 0
		w.gate.Set([]plan.Target{p})
		if took := carry(); took > 100*time.Millisecond {
			t.Error("when the limit had gone it took", took)
		}
	})
}
