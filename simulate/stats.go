package simulate

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/isthmus-io/isthmus/fault"
)

// stats counts what members do. All are counted from the beginning of the run but online and inFlight, which are now.
type stats struct {
	online, inFlight         atomic.Int64
	begun                    atomic.Int64 // members that were online at least once
	finished, refused, gone  atomic.Int64 // members that sent all, that the hub turned away, that gave up
	connects, failedConnects atomic.Int64
	cutOff, stormed, renewed atomic.Int64 // connections that ended by themselves, in a storm, for a new token
	sent, acknowledged       atomic.Int64 // different messages
	resent, duplicated       atomic.Int64 // sent again after a cut, on purpose
	deferred                 atomic.Int64 // turned down by a hub that may take them later
	bytes                    atomic.Int64 // of bodies, acknowledged

	connect, reconnect, acknowledge latency

	troubles troubles
}

// latency is a histogram that many record into. Its zero value works.
type latency struct {
	parts [8]struct {
		mu sync.Mutex
		h  *hdrhistogram.Histogram // guarded by mu
		_  [64]byte                // parts do not share a cache line
	}
}

// Latencies are tracked from a microsecond to an hour with three digits.
const (
	latencyMax    = int64(time.Hour / time.Microsecond)
	latencyDigits = 3
)

// record notes a duration; who spreads the recorders.
func (l *latency) record(who int, d time.Duration) {
	p := &l.parts[who%len(l.parts)]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.h == nil {
		p.h = hdrhistogram.New(1, latencyMax, latencyDigits)
	}
	_ = p.h.RecordValue(min(max(int64(d/time.Microsecond), 1), latencyMax)) // within bounds
}

// Latency is a distribution in milliseconds.
type Latency struct {
	Count int64   `json:"count"`
	Min   float64 `json:"min"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Max   float64 `json:"max"`
}

func (l *latency) summary() Latency {
	all := hdrhistogram.New(1, latencyMax, latencyDigits)
	for i := range l.parts {
		p := &l.parts[i]
		p.mu.Lock()
		if p.h != nil {
			all.Merge(p.h)
		}
		p.mu.Unlock()
	}
	if all.TotalCount() == 0 {
		return Latency{}
	}
	ms := func(us int64) float64 { return float64(us) / 1000 }
	v := all.ValueAtPercentilesSlice([]float64{50, 90, 99, 99.9})
	return Latency{
		Count: all.TotalCount(), Min: ms(all.Min()), Mean: float64(int64(all.Mean())) / 1000, Max: ms(all.Max()),
		P50: ms(v[0]), P90: ms(v[1]), P99: ms(v[2]), P999: ms(v[3]),
	}
}

// troubles counts what went wrong by its words, and logs each the first time.
type troubles struct {
	mu    sync.Mutex // guards the fields below
	of    map[string]*Trouble
	other int64
}

// Trouble is something that went wrong, and how often.
type Trouble struct {
	What  string `json:"what"`
	Next  string `json:"next,omitempty"`
	First string `json:"firstDevice"`
	Count int64  `json:"count"`
}

// maxTroubles bounds how many different ones are kept.
const maxTroubles = 50

func (t *troubles) note(log *slog.Logger, device string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	what := fault.Message(err)
	if one := t.of[what]; one != nil {
		one.Count++
		return
	}
	if len(t.of) >= maxTroubles {
		t.other++
		return
	}
	if t.of == nil {
		t.of = map[string]*Trouble{}
	}
	t.of[what] = &Trouble{What: what, Next: fault.Next(err), First: device, Count: 1}
	log.Warn("simulate: "+what, "device", device, "next", fault.Next(err), "err", err)
}

// list returns them, the most frequent first.
func (t *troubles) list() []Trouble {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Trouble, 0, len(t.of)+1)
	for _, one := range t.of {
		out = append(out, *one)
	}
	slices.SortFunc(out, func(a, b Trouble) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.What, b.What)) })
	if t.other > 0 {
		out = append(out, Trouble{What: "other troubles", Count: t.other})
	}
	return out
}
