package eventhubs

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestPositions: where reading begins.
func TestPositions(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	for _, s := range both {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			d := w.user(t, s, 1)
			d.must("send", m{"client": "p", "partition": "0"}, texts("0", "1", "2"))
			afterFirst := d.must("partition", m{"client": "p", "partition": "0"}).number("time")
			w.tick(t, afterFirst)
			d.must("send", m{"client": "p", "partition": "0"}, texts("3", "4"))
			d.read("all", "0", m{"position": m{"earliest": true}})
			all := d.receives("all", "0", 5)
			d.stop("all")
			for name, c := range map[string]struct {
				at    m
				first int
			}{
				"the first event":                 {m{"position": m{"earliest": true}}, 0},
				"after an offset":                 {m{"position": m{"offset": all[1].text("offset")}}, 2},
				"an offset and after":             {m{"position": m{"offset": all[1].text("offset"), "inclusive": true}}, 1},
				"after a sequence number":         {m{"position": m{"sequence": 1}}, 2},
				"a sequence number and after":     {m{"position": m{"sequence": 1, "inclusive": true}}, 1},
				"after the last sequence number":  {m{"position": m{"sequence": 4}}, 5},
				"after a time":                    {m{"position": m{"time": afterFirst}}, 3},
				"a time long ago":                 {m{"position": m{"time": 1000}}, 0},
				"the latest":                      {m{"position": m{"latest": true}}, 5},
				"nothing said, which is latest":   {nil, 5},
				"the last event by its offset":    {m{"position": m{"offset": all[4].text("offset"), "inclusive": true}}, 4},
				"everything by a negative offset": {m{"position": m{"offset": "-1"}}, 0},
			} {
				t.Run(name, func(t *testing.T) {
					covers(t, "EH17", s.with)
					d := d.in(t)
					d.read(name, "0", c.at)
					if c.first < 5 {
						if e := d.receives(name, "0", 1)[0]; e.text("body") != fmt.Sprint(c.first) {
							t.Errorf("it begins with %v", e)
						}
					} else if a := d.must("receive", m{"reader": name, "partition": "0", "count": 1, "wait": 500}); len(a.events()) > 0 || len(a.errs()) > 0 {
						t.Errorf("it begins with %v", a)
					}
					d.stop(name)
				})
			}
			for name, c := range map[string]struct {
				at    m
				words string
			}{
				"an offset beyond the end":         {m{"position": m{"offset": fmt.Sprint(offset(t, all[4]) + 1000000)}}, "The supplied offset"},
				"a sequence number beyond the end": {m{"position": m{"sequence": 7}}, "The supplied sequence number '7' is invalid. The last sequence number in the system is '4'"},
			} {
				t.Run(name, func(t *testing.T) {
					covers(t, "EH17", s.with)
					d := d.in(t)
					d.read(name, "0", c.at)
					e := d.loses(name, "0")
					if !strings.Contains(e.text("message"), c.words) || s.name == js.name && e.text("code") != "ArgumentError" {
						t.Errorf("the error is %v", e)
					}
				})
			}
		})
	}
}

// TestPrefetch: the Go SDK settles nothing, so it reads on only where deliveries come settled.
func TestPrefetch(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	d := w.user(t, golang, 1)
	const count = 1000
	d.must("pour", m{"client": "p", "partition": "0", "count": count, "atOnce": 20})
	for _, prefetch := range []int{10, -1, 0} {
		t.Run(fmt.Sprint("prefetch ", prefetch), func(t *testing.T) {
			t.Parallel()
			covers(t, "EH18", golang.with)
			d := d.in(t)
			reader := fmt.Sprint("r", prefetch)
			d.read(reader, "0", m{"position": m{"earliest": true}, "prefetch": prefetch})
			for i := range count / 100 {
				got := d.receives(reader, "0", 100, m{"brief": true})
				if first := got[0].number("sequence"); first != int64(i*100) {
					t.Fatalf("it goes on with %d", first)
				}
			}
		})
	}
	t.Run("Proton", func(t *testing.T) {
		t.Parallel()
		covers(t, "EH18", withProton)
		hub := w.hub(t, 1)
		d := w.driver(t, proton)
		w.protonIn(t, d, hub)
		d.must("send", m{"client": "c", "address": hub, "messages": []m{{"data": bytesOf("a")}, {"data": bytesOf("b")}}})
		for _, e := range d.must("receive", m{"client": "c", "address": hub + "/ConsumerGroups/$Default/Partitions/0", "count": 2}).events() {
			if e.number("unsettled") != 0 {
				t.Errorf("it is to be settled: %v", e)
			}
		}
	})
}

// TestGrowingCredit: a reader that has nothing to read asks for more at every look, and then gets what comes, once.
func TestGrowingCredit(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	covers(t, "EH19", js.with)
	d := w.user(t, js, 1)
	d.read("r", "0", m{"position": m{"earliest": true}, "batch": 5000, "maxWait": 0.01, "brief": true})
	const rounds, each = 5, 100
	for i := range rounds {
		time.Sleep(300 * time.Millisecond) // in which it looks some thirty times
		d.must("send", m{"client": "p", "partition": "0"}, texts(numbered(fmt.Sprint("round ", i, " "), each)...))
		wantBodies(t, d.receives("r", "0", each), numbered(fmt.Sprint("round ", i, " "), each)...)
	}
}

// TestRuntimeMetric: what is known of the partition's end comes along when it is asked for, and otherwise does not.
func TestRuntimeMetric(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	covers(t, "EH22", js.with)
	d := w.user(t, js, 1)
	d.must("send", m{"client": "p", "partition": "0"}, texts("a", "b", "c"))
	d.read("with", "0", m{"position": m{"earliest": true}, "metric": true})
	d.read("without", "0", m{"position": m{"earliest": true}})
	for _, e := range d.receives("with", "0", 3) {
		last, _ := e["last"].(m)
		l := answer(last)
		if l.number("sequence") != 2 || l.text("offset") == "" || !recent(l.number("time")) || !recent(l.number("retrieved")) {
			t.Errorf("with %v comes %v", e.text("body"), e["last"])
		}
	}
	for _, e := range d.receives("without", "0", 3) {
		if e["last"] != nil {
			t.Errorf("unasked comes %v", e["last"])
		}
	}
}

var (
	givenName  = regexp.MustCompile(`'[0-9a-f]{8}-[0-9a-f-]{27}'`)
	quotedName = regexp.MustCompile(`'[a-z]+'`)
)

// TestEpochs: who owns a partition.
func TestEpochs(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	for _, s := range both {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			hub := w.hub(t, 1)
			d := w.driver(t, s)
			// client is a consumer of its own, as somebody else's would be.
			client := func(name string) string {
				d.must("open", w.by(t, "TLS", d.sdk, hub), m{"client": name, "kind": "consumer", "identifier": name})
				return name
			}
			read := func(name string, more ...m) {
				d.must("read", append([]m{{"client": client(name), "reader": name, "partition": "0", "position": m{"earliest": true}}}, more...)...)
			}
			refused := func(t *testing.T, name, words string) {
				t.Helper()
				e := d.loses(name, "0")
				said := e.text("message")
				if s.name == js.name { // which gives each reader a name of its own
					said, words = givenName.ReplaceAllString(said, "'x'"), quotedName.ReplaceAllString(words, "'x'")
				}
				if code := e.text("code"); !strings.Contains(said, words) || s.name == js.name && code != "ReceiverDisconnectedError" {
					t.Errorf("%s gets %v, want %q", name, e, words)
				}
			}
			d.must("open", w.by(t, "TLS", d.sdk, hub), m{"client": "p", "kind": "producer"})
			d.must("send", m{"client": "p", "partition": "0"}, texts("a"))
			covers(t, "EH20", s.with)
			covers(t, "EH21", s.with)
			for i := range 5 {
				name := fmt.Sprint("plain-", i)
				read(name)
				d.receives(name, "0", 1)
			}
			read("plain-5")
			if e := d.loses("plain-5", "0"); s.name == js.name && e.text("code") != "QuotaExceededError" || s.name == golang.name && e.text("condition") != "amqp:resource-limit-exceeded" {
				t.Errorf("the sixth reader gets %v", e)
			}
			read("first", m{"epoch": 1})
			d.receives("first", "0", 1)
			for i := range 5 {
				refused(t, fmt.Sprint("plain-", i), "disconnected")
			}
			read("again", m{"epoch": 1})
			d.receives("again", "0", 1)
			refused(t, "first", "New receiver 'again' with higher epoch of '1' is created hence current receiver 'first' with epoch '1' is getting disconnected.")
			read("higher", m{"epoch": 5})
			d.receives("higher", "0", 1)
			refused(t, "again", "New receiver 'higher' with higher epoch of '5' is created hence current receiver 'again' with epoch '1' is getting disconnected.")
			read("lower", m{"epoch": 4})
			refused(t, "lower", "Receiver 'higher' with a higher epoch '5' already exists. Receiver 'lower' with epoch 4 cannot be created.")
			read("none")
			refused(t, "none", "At least one receiver for the endpoint is created with epoch of '5', and so non-epoch receiver is not allowed.")
			d.must("send", m{"client": "p", "partition": "0"}, texts("b")) // who has the epoch noticed nothing
			wantBodies(t, d.receives("higher", "0", 1), "b")
			d.must("stop", m{"reader": "higher"})
			read("after")
			d.receives("after", "0", 2)
		})
	}
}

// TestDeadOwner: an owner that is killed holds nothing.
func TestDeadOwner(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	covers(t, "EH21", golang.with)
	d := w.user(t, golang, 1)
	d.must("send", m{"client": "p", "partition": "0"}, texts("a"))
	owner := w.driver(t, golang)
	owner.must("open", w.by(t, "TLS", owner.sdk, d.hub), m{"client": "c", "kind": "consumer"})
	owner.must("read", m{"client": "c", "reader": "r", "partition": "0", "epoch": 7, "position": m{"earliest": true}})
	owner.receives("r", "0", 1)
	owner.kill()
	end := time.Now().Add(patience)
	for i := 0; ; i++ {
		reader := fmt.Sprint("r", i)
		d.read(reader, "0", m{"position": m{"earliest": true}})
		a := d.must("receive", m{"reader": reader, "partition": "0", "count": 1})
		if len(a.events()) == 1 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the partition is not free: %v", a)
		}
	}
}
