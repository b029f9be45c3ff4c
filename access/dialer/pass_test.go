package dialer

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

var errAway = fault.New("test", fault.Unavailable, "the control plane is away")

func TestNoPass(t *testing.T) {
	w := newWorld(t)
	w.away = errAway
	d, err := New(Config{Pass: w.pass}, logger(t), clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	kind(t, d.Run(t.Context()), fault.Unavailable, "the control plane is away")
	_, err = d.Dial(t.Context(), "g-1")
	kind(t, err, fault.Unavailable, "the control plane is away")
	if fault.KindOf(d.Run(t.Context())) != fault.Internal {
		t.Error("it ran twice")
	}
}

// Whoever asks while an answer is on its way gets that one.
func TestPassesAreAskedForOnce(t *testing.T) {
	w := newWorld(t)
	gate := make(chan struct{})
	d, err := New(Config{Pass: func(ctx context.Context) (Pass, error) { <-gate; return w.pass(ctx) }}, logger(t), clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if p, err := d.Renew(t.Context()); err != nil || p.Certificate == "" {
				t.Error(err)
			}
		})
	}
	eventually(t, "somebody asks", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return d.asking != nil })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Renew(ctx); fault.KindOf(err) != fault.Timeout {
		t.Errorf("got %v", err)
	}
	close(gate)
	all.Wait()
	if n := w.given(); n > 10 || n < 1 {
		t.Errorf("%d passes", n)
	}
}

// After half its life the pass is renewed; while nobody answers, it goes on for the other half and is asked for again and again.
func TestRenewal(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", machine(t, echo))
	clk := clock.NewFake(time.Now())
	d, _ := w.dialerOn(Config{}, clk)
	eventually(t, "it has a pass", func() bool { return ready(d) })
	before := d.creds.Leaf()
	w.set(func() { w.away = errAway })
	advance := func(by time.Duration, what string, ok func() bool) {
		t.Helper()
		clk.Advance(by)
		eventually(t, what, func() bool { clk.Advance(time.Second); return ok() })
	}
	asked := 0
	d.cfg.Pass = func(ctx context.Context) (Pass, error) { // under the test's hand: Run is waiting for the clock
		w.set(func() { asked++ })
		return w.pass(ctx)
	}
	advance(29*time.Minute, "it is asked for twice, in vain", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return asked >= 2 })
	if d.creds.Leaf() != before {
		t.Fatal("the pass changed")
	}
	w.set(func() { w.away = nil })
	advance(time.Minute, "it is renewed", func() bool { return d.creds.Leaf() != before })
}

// A pass that lapsed, with the machine asleep, is renewed before it is used, and not used if that cannot be.
func TestALapsedPassIsNotUsed(t *testing.T) {
	w := newWorld(t)
	w.life = 200 * time.Millisecond
	w.grant("g-1", machine(t, echo))
	d, err := New(Config{Pass: w.pass}, logger(t), clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := d.Pass(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it lapses", func() bool { return !p.Good(time.Now()) })
	w.set(func() { w.away = errAway })
	_, err = d.Pass(t.Context())
	kind(t, err, fault.Unavailable, "the control plane is away")
	w.set(func() { w.away, w.life = nil, time.Hour })
	if q, err := d.Pass(t.Context()); err != nil || q.is(&p) {
		t.Errorf("%v", err)
	}
}

func TestAPassForAnotherTime(t *testing.T) {
	w := newWorld(t)
	d, err := New(Config{Pass: w.pass}, logger(t), clock.NewFake(time.Now().Add(2*time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Pass(t.Context())
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Next(err), "clock") {
		t.Errorf("got %v", err)
	}
}

func TestAPassThatIsNone(t *testing.T) {
	w := newWorld(t)
	for name, spoil := range map[string]func(*Pass){
		"no certificate":   func(p *Pass) { p.Certificate = "" },
		"no key":           func(p *Pass) { p.Key = "" },
		"another's key":    func(p *Pass) { q, _ := w.pass(t.Context()); p.Key = q.Key },
		"no authorities":   func(p *Pass) { p.Roots = "" },
		"no time at all":   func(p *Pass) { p.Expires = time.Time{} },
		"a lapsed one":     func(p *Pass) { p.Expires = time.Now().Add(-time.Minute) },
		"a key in no form": func(p *Pass) { p.Key = "-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n" },
	} {
		d, err := New(Config{Pass: func(ctx context.Context) (Pass, error) { p, err := w.pass(ctx); spoil(&p); return p, err }}, logger(t), clock.System{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Pass(t.Context()); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A pass outlives the process, so that people come in while the control plane is away.
func TestThePassIsKept(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", machine(t, echo))
	file := filepath.Join(t.TempDir(), "passes", "lab.json")
	first, stop := w.dialerOn(Config{File: file, Holder: "alice"}, clock.System{})
	if _, err := first.Dial(t.Context(), "g-1"); err != nil {
		t.Fatal(err)
	}
	stop()
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	w.set(func() { w.away = errAway })
	second := w.dialer(Config{File: file, Holder: "alice"})
	c, err := second.Dial(t.Context(), "g-1")
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := talk(c, "still"); got != "still" {
		t.Errorf("got %q", got)
	}
	// What another process of the person fetched is as good as what this one would fetch.
	third, err := New(Config{File: file, Holder: "alice", Pass: w.pass}, logger(t), clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	third.pass = nil
	if _, err := third.Pass(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := third.Renew(t.Context()); !errors.Is(err, errAway) {
		t.Errorf("Renew did not ask: %v", err)
	}
}

// What was kept and cannot be used is no obstacle: another pass is asked for.
func TestAKeptPassThatIsNotUsed(t *testing.T) {
	w := newWorld(t)
	good, err := w.pass(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	good.Issued = time.Now()
	write := func(mode os.FileMode, k any) func(string) {
		return func(file string) {
			b, _ := json.Marshal(k)
			if err := errors.Join(os.WriteFile(file, b, mode), os.Chmod(file, mode)); err != nil {
				t.Fatal(err)
			}
		}
	}
	lapsed, spoilt := good, good
	lapsed.Expires = time.Now().Add(-time.Second)
	spoilt.Key = ""
	cases := map[string]func(string){
		"another's": write(0o600, kept{"bob", good}),
		"lapsed":    write(0o600, kept{"alice", lapsed}),
		"spoilt":    write(0o600, kept{"alice", spoilt}),
		"no JSON":   func(file string) { _ = os.WriteFile(file, []byte("{"), 0o600) },
		"a folder":  func(file string) { _ = os.Mkdir(file, 0o700) },
		"too long":  func(file string) { _ = os.WriteFile(file, make([]byte, maxFile+1), 0o600) },
	}
	if runtime.GOOS != "windows" {
		cases["open to others"] = write(0o640, kept{"alice", good})
	}
	for name, lay := range cases {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "lab.json")
			lay(file)
			d, err := New(Config{File: file, Holder: "alice", Pass: w.pass}, logger(t), clock.System{})
			if err != nil {
				t.Fatal(err)
			}
			before := w.given()
			if p, err := d.Pass(t.Context()); err != nil || p.is(&good) || w.given() != before+1 {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("as it should be", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "lab.json")
		write(0o600, kept{"alice", good})(file)
		d, err := New(Config{File: file, Holder: "alice", Pass: w.pass}, logger(t), clock.System{})
		if err != nil {
			t.Fatal(err)
		}
		if p, err := d.Pass(t.Context()); err != nil || !p.is(&good) {
			t.Errorf("%v", err)
		}
	})
}

// Nothing of the file is a secret beyond the pass itself.
func TestWhatIsKept(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "lab.json")
	d, err := New(Config{File: file, Holder: "alice", Pass: w.pass}, logger(t), clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]map[string]any
	_ = json.Unmarshal(b, &doc) // holder is a string, and stays out
	for field := range doc["pass"] {
		switch field {
		case "certificate", "key", "roots", "relays", "issued", "expires", "grants":
		default:
			t.Errorf("the file has %s", field)
		}
	}
}

func TestWhichGrantLeadsIn(t *testing.T) {
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC) // a Monday
	at := func(id string, from, until time.Duration) PassGrant {
		return PassGrant{ID: id, Target: "ot/plant-7/ssh", From: now.Add(from), Until: now.Add(until)}
	}
	night := at("night", -time.Hour, 100*time.Hour)
	night.Hours = &resource.WorkingHours{Days: []string{"Mon", "Tue"}, From: "20:00", To: "23:00", TimeZone: "UTC"}
	day := night
	day.ID, day.Hours = "day", &resource.WorkingHours{Days: []string{"Mon"}, From: "08:00", To: "17:00", TimeZone: "UTC"}
	other := at("other", -time.Hour, time.Hour)
	other.Target = "ot/plant-7/rdp"
	for name, c := range map[string]struct {
		grants []PassGrant
		want   string
	}{
		"none":                                 {nil, ""},
		"the only one":                         {[]PassGrant{at("a", -time.Hour, time.Hour)}, "a"},
		"the longest":                          {[]PassGrant{at("a", -time.Hour, time.Hour), at("b", -time.Hour, 2*time.Hour), at("c", -time.Hour, time.Minute)}, "b"},
		"later":                                {[]PassGrant{at("a", time.Minute, time.Hour)}, ""},
		"over":                                 {[]PassGrant{at("a", -time.Hour, 0)}, ""},
		"of another":                           {[]PassGrant{other}, ""},
		"outside of hours":                     {[]PassGrant{night}, ""},
		"within hours":                         {[]PassGrant{night, day}, "day"},
		"hours that end after an hour's grant": {[]PassGrant{at("a", -time.Hour, time.Hour), day}, "day"},
	} {
		p := Pass{Grants: c.grants}
		if g, ok := p.For("ot/plant-7/ssh", now); g.ID != c.want || ok != (c.want != "") {
			t.Errorf("%s: got %q, %v", name, g.ID, ok)
		}
	}
}
