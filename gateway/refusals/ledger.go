package refusals

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
)

// Config bounds what is kept and said. The zero value works.
type Config struct {
	Every  time.Duration // between two lines of one reason; 10 s
	Recent int           // refusals kept whole; 1024
	Series int           // pairs of rule and name that are counted apart; 2048
	Top    int           // that a line names; 3
}

// Bounds that are nobody's business.
const (
	mostReasons = 64   // they come from code, so there are some twenty
	tracked     = 128  // sources, and as many names and rules, that one reason's line can tell apart
	culprits    = 1024 // combinations of reason, rule, name and source counted since the start
)

const other = "other" // stands for all that there was no room for

// Refusal is one connection that was turned away.
type Refusal struct {
	At       time.Time  `json:"at"`
	Gateway  string     `json:"gateway"` // ot/ot-cloud/front
	Listener string     `json:"listener,omitempty"`
	Reason   string     `json:"reason"`           // one short word, out of a list in the code
	Detail   string     `json:"detail,omitempty"` // another one, of what was wrong with what the client said
	Rule     string     `json:"rule,omitempty"`   // the rule that denied it, or whose limit was reached: allowlist and rule
	Name     string     `json:"name,omitempty"`   // what the client asked for; "" when it did not say, or was not asked
	Pattern  string     `json:"-"`                // the name of a route which that fits, for metrics; "" is none
	Source   netip.Addr `json:"source"`
}

// Ledger keeps account of refusals.
type Ledger struct {
	cfg     Config
	log     *slog.Logger
	clk     clock.Clock
	counter *prometheus.CounterVec

	mu       sync.Mutex // guards the fields below
	reasons  map[string]*reason
	series   map[series]*tally
	culprits *frequent[culprit]
	recent   []Refusal // a ring of Config.Recent
	next     int       // where the next goes
}

// series is what a metric is labelled with.
type series struct{ gateway, reason, rule, pattern string }

type tally struct {
	n       uint64
	counter prometheus.Counter
}

type culprit struct {
	reason, rule, name string
	source             netip.Addr
}

// New returns a Ledger in which nothing stands. The registerer may be nil.
func New(cfg Config, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) *Ledger {
	cfg.Every = cmp.Or(cfg.Every, 10*time.Second)
	cfg.Recent = cmp.Or(cfg.Recent, 1024)
	cfg.Series = cmp.Or(cfg.Series, 2048)
	cfg.Top = cmp.Or(cfg.Top, 3)
	l := &Ledger{
		cfg: cfg, log: log, clk: clk,
		counter: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "isthmus", Subsystem: "gateway", Name: "refusals_total",
			Help: "Connections turned away, by reason, rule and name of a route.",
		}, []string{"gateway", "reason", "rule", "name"}),
		reasons: map[string]*reason{}, series: map[series]*tally{}, culprits: newFrequent[culprit](culprits),
	}
	if reg != nil {
		reg.MustRegister(l.counter)
	}
	return l
}

// Refused takes account of one refusal; At is set to now when it is zero. It writes a line when the reason is new or has been quiet.
func (l *Ledger) Refused(r Refusal) {
	if r.At.IsZero() {
		r.At = l.clk.Now()
	}
	if l.account(&r) {
		attrs := []any{"gateway", r.Gateway, "listener", r.Listener, "reason", r.Reason, "source", r.Source}
		if r.Name != "" {
			attrs = append(attrs, "name", r.Name)
		}
		if r.Rule != "" {
			attrs = append(attrs, "rule", r.Rule)
		}
		if r.Detail != "" {
			attrs = append(attrs, "detail", r.Detail)
		}
		l.log.Warn("gateway refused a connection", attrs...)
	}
}

// account counts, and tells whether the refusal is to be logged at once.
func (l *Ledger) account(r *Refusal) (first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.recent) < l.cfg.Recent {
		l.recent = append(l.recent, *r)
	} else {
		l.recent[l.next] = *r
	}
	l.next = (l.next + 1) % l.cfg.Recent

	l.culprits.add(culprit{r.Reason, r.Rule, r.Name, r.Source})

	s := l.tally(r)
	s.n++
	s.counter.Inc()

	return l.reason(r.Reason).add(r)
}

// tally returns what counts a refusal, that of all others when there are too many.
func (l *Ledger) tally(r *Refusal) *tally {
	key := series{r.Gateway, r.Reason, r.Rule, r.Pattern}
	if r.Pattern == "" && r.Name != "" {
		key.pattern = other
	}
	if t := l.series[key]; t != nil {
		return t
	}
	if len(l.series) >= l.cfg.Series {
		key.rule, key.pattern = other, other
		if len(l.reasons) >= mostReasons {
			key.reason = other
		}
		if t := l.series[key]; t != nil {
			return t
		}
	}
	t := &tally{counter: l.counter.WithLabelValues(key.gateway, key.reason, key.rule, key.pattern)}
	l.series[key] = t
	return t
}

func (l *Ledger) reason(name string) *reason {
	if r := l.reasons[name]; r != nil {
		return r
	}
	if len(l.reasons) >= mostReasons {
		name = other
		if r := l.reasons[name]; r != nil {
			return r
		}
	}
	r := newReason()
	l.reasons[name] = r
	return r
}

// Run writes lines about what has been refused again, until ctx ends.
func (l *Ledger) Run(ctx context.Context) error {
	for {
		fired, stop := l.clk.After(l.cfg.Every)
		select {
		case <-fired:
			l.summarise()
		case <-ctx.Done():
			stop()
			l.summarise()
			return nil
		}
	}
}

// summarise writes one line for each reason with refusals since the last, and lets those without be new again.
func (l *Ledger) summarise() {
	type line struct {
		reason string
		attrs  []any
	}
	var lines []line
	l.mu.Lock()
	for name, r := range l.reasons {
		if attrs := r.summary(l.cfg.Top); attrs != nil {
			lines = append(lines, line{name, attrs})
		}
	}
	l.mu.Unlock()
	slices.SortFunc(lines, func(a, b line) int { return strings.Compare(a.reason, b.reason) })
	for _, x := range lines {
		l.log.Warn("gateway refused more connections", append([]any{"reason", x.reason}, x.attrs...)...)
	}
}

// Recent returns the latest refusals, the latest first, at most n and Config.Recent.
func (l *Ledger) Recent(n int) []Refusal {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = min(n, len(l.recent))
	out := make([]Refusal, n)
	for i := range out {
		out[i] = l.recent[(l.next-1-i+len(l.recent))%len(l.recent)]
	}
	return out
}

// Count is how often something was refused.
type Count struct {
	Gateway string `json:"gateway"`
	Reason  string `json:"reason"`
	Rule    string `json:"rule,omitempty"`
	Name    string `json:"name,omitempty"` // of a route, or "other"
	N       uint64 `json:"count"`
}

// Counts returns all that was counted since the start, the most frequent first.
func (l *Ledger) Counts() []Count {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Count, 0, len(l.series))
	for k, t := range l.series {
		out = append(out, Count{k.gateway, k.reason, k.rule, k.pattern, t.n})
	}
	slices.SortFunc(out, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.N, a.N), strings.Compare(a.Gateway, b.Gateway), strings.Compare(a.Reason, b.Reason),
			strings.Compare(a.Rule, b.Rule), strings.Compare(a.Name, b.Name))
	})
	return out
}

// Culprit is who is refused often.
type Culprit struct {
	Reason string     `json:"reason"`
	Rule   string     `json:"rule,omitempty"`
	Name   string     `json:"name,omitempty"` // as the client sends it
	Source netip.Addr `json:"source"`
	N      uint64     `json:"count"` // at least
}

// Culprits returns who has been refused most often since the start, at most n.
func (l *Ledger) Culprits(n int) []Culprit {
	l.mu.Lock()
	top := l.culprits.top(n, func(a, b culprit) int {
		return cmp.Or(a.source.Compare(b.source), strings.Compare(a.reason, b.reason), strings.Compare(a.name, b.name), strings.Compare(a.rule, b.rule))
	})
	l.mu.Unlock()
	out := make([]Culprit, len(top))
	for i, c := range top {
		out[i] = Culprit{c.what.reason, c.what.rule, c.what.name, c.what.source, c.n}
	}
	return out
}
