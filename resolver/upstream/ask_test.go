package upstream_test

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resolver/upstream"
)

func TestAnswer(t *testing.T) {
	f := newFake(t, nil, (*asked).ok)
	w := start(t, upstream.Config{})
	a := w.must(group(w, f), "www.Elsewhere.example", "www.elsewhere.example. A 192.0.2.1")
	if a.Server == nil || a.Server.Address != f.addr || a.Truncated || a.Joined {
		t.Errorf("answer %+v", a)
	}
	// Nothing of what makes forging hard is handed on.
	m := new(dns.Msg)
	if err := m.Unpack(a.Message); err != nil || m.Id != 0 || m.Question[0].Name != "www.elsewhere.example." || m.IsEdns0() == nil {
		t.Errorf("message %v, %v", m, err)
	}
}

func TestEqualQuestionsAreJoined(t *testing.T) {
	f, came := silent(t)
	w := start(t, upstream.Config{})
	g := group(w, f)
	var got []<-chan upstream.Answer
	for _, name := range []string{"a.example", "A.example", "a.EXAMPLE."} {
		got = append(got, w.ask(g, name))
	}
	<-came
	rest := make(chan bool, 6)
	// Not the same: another name, type, group, or way of asking.
	others := []upstream.Query{question(t, "b.example"), question(t, "a.example"), question(t, "a.example"), question(t, "a.example"), question(t, "a.example")}
	others[1].Type = dns.TypeAAAA
	others[2].CD, others[3].DO, others[4].AD = true, true, true
	for _, q := range others {
		w.Ask(context.Background(), g, q, func(upstream.Answer) { rest <- true })
		<-came
	}
	w.Ask(context.Background(), group(w, f), question(t, "a.example"), func(upstream.Answer) { rest <- true })
	<-came
	if n := f.count("udp"); n != 7 {
		t.Errorf("%d queries, want 7", n)
	}
	f.does((*asked).ok)
	w.clk.Advance(try)
	joined := 0
	for _, c := range got {
		a := <-c
		if recordsOf(t, a) != good {
			t.Errorf("got %q", recordsOf(t, a))
		}
		if a.Joined {
			joined++
		}
	}
	for range 6 {
		<-rest
	}
	if joined != 2 {
		t.Errorf("%d were joined, want 2", joined)
	}
	// Once answered, it is asked anew.
	before := f.count("udp")
	w.must(g, "a.example", good)
	if f.count("udp") != before+1 {
		t.Error("an old answer was given")
	}
}

func TestQuestionsAreTakenBack(t *testing.T) {
	f, came := silent(t)
	w := start(t, upstream.Config{MaxInFlight: 2})
	g := group(w, f)
	type result struct {
		who int
		a   upstream.Answer
	}
	got := make(chan result, 4)
	var cancels []context.CancelFunc
	for i := range 2 {
		ctx, cancel := context.WithCancel(context.Background())
		cancels = append(cancels, cancel)
		w.Ask(ctx, g, question(t, "a.example"), func(a upstream.Answer) { got <- result{i, a} })
	}
	<-came
	// Full: refused, and that from another goroutine too.
	if a := <-w.ask(g, "b.example"); fault.KindOf(a.Err) != fault.Exhausted {
		t.Errorf("answer %+v", a)
	}
	cancels[0]()
	if r := <-got; r.who != 0 || fault.KindOf(r.a.Err) != fault.Unavailable {
		t.Errorf("got %+v", r)
	}
	cancels[1]()
	if r := <-got; r.who != 1 || fault.KindOf(r.a.Err) != fault.Unavailable {
		t.Errorf("got %+v", r)
	}
	if st := g.Status()[0]; st.Fails != 0 {
		t.Errorf("the server is blamed: %+v", st)
	}
	// There is room again, and the question starts anew.
	f.does((*asked).ok)
	w.must(g, "a.example", good)
	// A context that has ended already, and one that ends by its deadline.
	ctx, cancel := context.WithDeadline(context.Background(), time.Unix(1, 0))
	defer cancel()
	f.does(nil)
	if _, err := w.Exchange(ctx, g, question(t, "a.example")); fault.KindOf(err) != fault.Timeout {
		t.Errorf("err = %v", err)
	}
	if len(got) != 0 {
		t.Error("somebody was answered twice")
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	clk := clock.NewFake(time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC))
	p := upstream.New(upstream.Config{Timeout: 50 * time.Millisecond}, slog.New(slog.DiscardHandler), clk, reg)
	run(t, p)
	f, came := silent(t)
	g := p.Group([]upstream.Server{f.server()})
	got := make(chan upstream.Answer, 2)
	for range 2 {
		p.Ask(context.Background(), g, question(t, "a.example"), func(a upstream.Answer) { got <- a })
	}
	<-came
	values := func() map[string]float64 {
		all, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]float64{}
		for _, f := range all {
			for _, m := range f.Metric {
				out[f.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
		return out
	}
	if v := values(); v["isthmus_upstream_in_flight"] != 2 || v["isthmus_upstream_joined_total"] != 1 || len(v) != 6 {
		t.Errorf("metrics %v", v)
	}
	f.does((*asked).ok)
	clk.Advance(50 * time.Millisecond) // the second try
	for range 2 {
		if a := <-got; a.Err != nil {
			t.Error(a.Err)
		}
	}
	if v := values(); v["isthmus_upstream_in_flight"] != 0 || v["isthmus_upstream_failures_total"] != 1 {
		t.Errorf("metrics %v", v)
	}
	// A second pool of the process does not disturb.
	upstream.New(upstream.Config{}, slog.New(slog.DiscardHandler), clock.System{}, reg)
}

// counted is a context that never ends and counts who listens for that.
type counted struct {
	context.Context //nolint:containedctx // it is one
	ended           chan struct{}
	listeners       atomic.Int32
}

func (c *counted) Done() <-chan struct{} { return c.ended }

func (c *counted) AfterFunc(func()) func() bool {
	c.listeners.Add(1)
	return func() bool { c.listeners.Add(-1); return true }
}

func TestAnsweredQuestionsLeaveTheirContext(t *testing.T) {
	f := newFake(t, nil, (*asked).ok)
	w := start(t, upstream.Config{})
	ctx := &counted{Context: context.Background(), ended: make(chan struct{})}
	for range 3 {
		if _, err := w.Exchange(ctx, group(w, f), question(t, "a.example")); err != nil {
			t.Fatal(err)
		}
	}
	if n := ctx.listeners.Load(); n != 0 {
		t.Errorf("%d still listen", n)
	}
}

func TestRunEnds(t *testing.T) {
	f, came := silent(t)
	conf, roots := authority(t, "127.0.0.1")
	secure, cameTLS := newFake(t, conf, nil), make(chan bool, 10)
	secure.does(func(*asked) { cameTLS <- true })
	p := upstream.New(upstream.Config{Roots: roots}, slog.New(slog.DiscardHandler), clock.System{}, prometheus.NewRegistry())
	g := p.Group([]upstream.Server{f.server()})
	g2 := p.Group([]upstream.Server{{Address: secure.addr, Transport: upstream.TLS}})
	if _, err := p.Exchange(context.Background(), g, question(t, "a.example")); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("before Run: %v", err)
	}
	for range 2 { // it can run again
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- p.Run(ctx) }()
		eventually(t, func() bool {
			_, err := p.Exchange(context.Background(), p.Group(nil), question(t, "a.example"))
			return err != nil && fault.Message(err) != "the resolver is stopping"
		})
		if err := p.Run(ctx); fault.KindOf(err) != fault.Conflict {
			t.Errorf("a second Run: %v", err)
		}
		var answers atomic.Int32
		done := func(a upstream.Answer) {
			if fault.KindOf(a.Err) != fault.Unavailable {
				t.Errorf("answer %+v", a)
			}
			answers.Add(1)
		}
		p.Ask(context.Background(), g, question(t, "a.example"), done)
		p.Ask(context.Background(), g, question(t, "a.example"), done)
		p.Ask(context.Background(), g2, question(t, "a.example"), done)
		<-came
		<-cameTLS
		cancel()
		if err := <-ended; err != nil || answers.Load() != 3 {
			t.Errorf("Run: %v after %d answers", err, answers.Load())
		}
		if _, err := p.Exchange(context.Background(), g, question(t, "a.example")); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("after Run: %v", err)
		}
	}
}

func TestQuestionsThatAreNone(t *testing.T) {
	w := start(t, upstream.Config{})
	f := newFake(t, nil, (*asked).ok)
	g := group(w, f)
	for _, name := range []string{"", "\x03abc", "\x03ab", "\x00x", "\xc0\x0c", "\x40" + string(make([]byte, 64)) + "\x00", string(make([]byte, 300))} {
		if _, err := w.Exchange(context.Background(), g, upstream.Query{Name: []byte(name), Type: 1}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, g := range []*upstream.Group{nil, w.Group(nil)} {
		if _, err := w.Exchange(context.Background(), g, question(t, "a.example")); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("without servers: %v", err)
		}
	}
}

// Every question is answered exactly once, whatever happens meanwhile.
func TestManyAtOnce(t *testing.T) {
	good := newFake(t, nil, func(a *asked) {
		switch a.n % 7 {
		case 0: // lost
		case 1:
			m := a.say("@ 60 IN A 192.0.2.1")
			m.Truncated = true
			a.send(m)
		case 2:
			says(dns.RcodeServerFailure)(a)
		case 3:
			a.ok()
			a.ok()
		default:
			a.ok()
		}
	})
	p := upstream.New(upstream.Config{Timeout: 30 * time.Millisecond, QueryTimeout: 100 * time.Millisecond, DeadFor: time.Millisecond, MaxDead: 20 * time.Millisecond, MaxInFlight: 100, SocketUses: 20},
		slog.New(slog.DiscardHandler), clock.System{}, nil)
	run(t, p)
	nobody := closed(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 150 {
				// Groups come and go.
				g := p.Group([]upstream.Server{nobody, good.server(), {Address: good.addr, Transport: upstream.TCP}})
				ctx, cancel := context.WithCancel(context.Background())
				var answers atomic.Int32
				got := make(chan struct{}, 2)
				q := question(t, string(rune('a'+(i+j)%20))+".example")
				p.Ask(ctx, g, q, func(upstream.Answer) { answers.Add(1); got <- struct{}{} })
				if j%5 == 0 {
					cancel()
				}
				<-got
				cancel()
				if answers.Load() != 1 {
					t.Errorf("answered %d times", answers.Load())
				}
				if j%50 == 0 {
					runtime.GC()
				}
			}
		})
	}
	all.Wait()
}
