package clocktest

import (
	"testing"
	"time"
)

func TestTimeWithoutABeatDoesNotCount(t *testing.T) {
	began := time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)
	w := &Stopwatch{began: began, beaten: began}
	at := began
	for _, milliseconds := range []int{5, 5, 300, 5, 10, 2000, 5} {
		at = at.Add(time.Duration(milliseconds) * time.Millisecond)
		w.beat(at)
	}
	if took := at.Sub(began) - w.lost; took != 40*time.Millisecond {
		t.Errorf("it took %v", took)
	}
}

func TestTimeThatPassesCounts(t *testing.T) {
	w := Start(t)
	since := time.Now()
	for time.Since(since) < 50*time.Millisecond {
		<-time.After(time.Millisecond)
	}
	took := w.Took()
	w.mu.Lock()
	defer w.mu.Unlock()
	if took+w.lost < 50*time.Millisecond || took > time.Since(since)+time.Second {
		t.Errorf("it took %v, and %v were lost", took, w.lost)
	}
}
