package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/control/jointoken"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// screen collects output and wakes whoever waits for a text in it.
type screen struct {
	mu   sync.Mutex
	cond *sync.Cond
	text bytes.Buffer // guarded by mu
}

func newScreen() *screen {
	s := &screen{}
	s.cond = sync.NewCond(&s.mu)
	return s
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.cond.Broadcast()
	return s.text.Write(p)
}

// await returns the output once it holds the text; the test's own time limit is the bound.
func (s *screen) await(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !strings.Contains(s.text.String(), text) {
		s.cond.Wait()
	}
	return s.text.String()
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func testWorld(env map[string]string) (w *world, out, errs *screen) {
	out, errs = newScreen(), newScreen()
	return &world{in: strings.NewReader(""), out: out, err: errs, getenv: func(k string) string { return env[k] }, clock: clock.System{}}, out, errs
}

func TestWatchPrintsWhatChanges(t *testing.T) {
	defer goleak.VerifyNone(t)
	p, err := startPlane(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	env := map[string]string{"ISTHMUS_SERVER": p.address, "ISTHMUS_PIN": jointoken.Pin(p.authority.Certificate()), "ISTHMUS_TOKEN": p.admin}
	apply := func(name, display string) {
		t.Helper()
		w, _, errs := testWorld(env)
		w.in = strings.NewReader("apiVersion: isthmus/v1\nkind: Tenant\nmetadata: {name: " + name + "}\nspec: {displayName: " + display + "}\n")
		if code := run(t.Context(), w, []string{"apply", "-f", "-"}); code != exitDone {
			t.Fatal(errs)
		}
	}
	apply("ot", "one")
	fake := clock.NewFake(time.Now())
	w, out, errs := testWorld(env)
	w.clock = fake
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() { done <- run(ctx, w, []string{"get", "tenants", "--watch", "-o", "json"}) }()
	until := func(text string) {
		t.Helper()
		stop := make(chan struct{})
		moved := make(chan struct{})
		go func() { // time goes on until the change was seen
			defer close(moved)
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
					fake.Advance(time.Second)
				}
			}
		}()
		out.await(text)
		close(stop)
		<-moved
	}
	out.await(`{"event":"added","object":{"apiVersion":"isthmus/v1","kind":"Tenant","metadata":{"name":"ot"`)
	apply("it", "two")
	until(`"name":"it"`)
	apply("ot", "three")
	until(`{"event":"changed"`)
	other, _, _ := testWorld(env)
	if code := run(t.Context(), other, []string{"delete", "tenant", "it", "--reason", "test"}); code != exitDone {
		t.Fatal("not deleted")
	}
	until(`{"event":"removed"`)
	cancel()
	if code := <-done; code != exitDone || errs.String() != "" {
		t.Errorf("code %d, errors %s", code, errs)
	}
	if lines := strings.Count(out.String(), "\n"); lines != 4 {
		t.Errorf("%d lines:\n%s", lines, out)
	}
}

func TestANoteAfterASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, errs := testWorld(nil)
		done := w.waiting("relay.example.net:443")
		time.Sleep(900 * time.Millisecond) // the bubble's time
		if errs.String() != "" {
			t.Errorf("too early: %s", errs)
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if errs.String() != "waiting for relay.example.net:443 …\n" {
			t.Errorf("got %q", errs)
		}
		done()
		w.waiting("nothing")()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if strings.Contains(errs.String(), "nothing") {
			t.Error("it was over in time")
		}
	})
}

func TestErrorsAreTwoLines(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		code int
		want string
	}{
		"none":     {nil, 0, ""},
		"silent":   {errSilent, 1, ""},
		"fault":    {fault.New("x.Y", fault.NotFound, "no service ot/a/b").Advise("isthmus get services"), 1, "error: no service ot/a/b\nnext: isthmus get services\n"},
		"usage":    {usagef("-f is missing").advise("name a file"), 2, "error: -f is missing\nnext: name a file\n"},
		"internal": {fault.Wrap("x.Y", fault.Internal, io.ErrUnexpectedEOF, ""), 1, "error: x.Y: internal: unexpected EOF\n"},
		"foreign":  {errors.New("disk on fire"), 1, "error: disk on fire\n"},
	} {
		w, _, errs := testWorld(nil)
		if code := w.fail(newRoot(w), c.err); code != c.code || errs.String() != c.want {
			t.Errorf("%s: code %d, %q, want %d, %q", name, code, errs, c.code, c.want)
		}
	}
}

func TestTablesAreAlignedAndHarmless(t *testing.T) {
	w, out, _ := testWorld(nil)
	w.table([]string{"NAME", "STATE", "WHY"}, [][]cell{
		{{"ot/plant-7/hub", plain}, {"Pending", yellow}, {"two\nlines \x1b[2J", plain}},
		{{"工場", plain}, {"Approved", green}, {"", plain}},
	})
	want := "NAME            STATE     WHY\not/plant-7/hub  Pending   two lines ?[2J\n工場            Approved  -\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	for _, c := range []struct {
		terminal bool
		env      map[string]string
		coloured bool
	}{{true, nil, true}, {false, nil, false}, {true, map[string]string{"NO_COLOR": "1"}, false}, {true, map[string]string{"TERM": "dumb"}, false}} {
		w, out, _ := testWorld(c.env)
		w.terminal = c.terminal
		w.table([]string{"STATE"}, [][]cell{{{"Pending", yellow}}})
		if got := strings.Contains(out.String(), "\x1b[33mPending\x1b[0m"); got != c.coloured {
			t.Errorf("%+v: %q", c, out)
		}
	}
}

func TestAges(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "now", 0: "0s", 90 * time.Second: "90s", 2 * time.Minute: "2m", 59 * time.Minute: "59m", time.Hour: "1h", 200 * time.Minute: "3h20m",
		10 * time.Hour: "10h", 47 * time.Hour: "47h", 48 * time.Hour: "2d", 400 * 24 * time.Hour: "400d", 800 * 24 * time.Hour: "2y",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %s, want %s", d, got, want)
		}
	}
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	w := &world{clock: clock.NewFake(now)}
	for at, want := range map[time.Time]string{
		{}: "", now.Add(-time.Minute): "2026-11-22 02:59:00 UTC (60s ago)", now.Add(2 * time.Hour): "2026-11-22 05:00:00 UTC (in 2h)",
	} {
		if got := w.at(at); got != want {
			t.Errorf("at(%v) = %q, want %q", at, got, want)
		}
	}
}

func TestKindsInEverySpelling(t *testing.T) {
	for word, want := range map[string]resource.Kind{
		"ep": resource.KindPrivateEndpoint, "endpoints": resource.KindPrivateEndpoint, "PrivateEndpoint": resource.KindPrivateEndpoint, "svc": resource.KindService,
		"Services": resource.KindService, "net": resource.KindNetwork, "rs": resource.KindRecordSet, "recordsets": resource.KindRecordSet, "TENANT": resource.KindTenant,
	} {
		if k, err := findKind(word); err != nil || k.kind != want {
			t.Errorf("%s is %v, %v", word, k.kind, err)
		}
	}
	seen := map[string]resource.Kind{}
	for _, k := range kindTable() {
		for _, n := range k.names() {
			if other, taken := seen[n]; taken && other != k.kind {
				t.Errorf("%s means %s and %s", n, other, k.kind)
			}
			seen[n] = k.kind
		}
	}
	if len(kindTable()) != len(resource.Kinds()) {
		t.Error("a kind is missing from the table")
	}
}

func TestNamesMayLeaveTheTenantOut(t *testing.T) {
	for _, c := range []struct {
		kind         resource.Kind
		name, tenant string
		want         string // empty: an error
	}{
		{resource.KindService, "ot/ot-cloud/contoso", "", "ot/ot-cloud/contoso"},
		{resource.KindService, "ot-cloud/contoso", "ot", "ot/ot-cloud/contoso"},
		{resource.KindService, "ot-cloud/contoso", "", ""},
		{resource.KindService, "contoso", "ot", ""},
		{resource.KindService, "it/it-cloud/erp", "ot", "it/it-cloud/erp"},
		{resource.KindTenant, "ot", "it", "ot"},
		{resource.KindNetwork, "plant-7", "ot", "ot/plant-7"},
		{resource.KindNetwork, "a//b", "", ""},
	} {
		key, err := parseName(c.kind, c.name, c.tenant)
		if (err == nil) != (c.want != "") || err == nil && key.Path() != c.want {
			t.Errorf("%s %q in %q: %v, %v", c.kind, c.name, c.tenant, key, err)
		}
	}
}

func TestDifference(t *testing.T) {
	was := &resource.Service{Spec: resource.ServiceSpec{Target: "a", Visibility: []string{"it"}, Ports: []resource.ServicePort{{Port: 1}}}}
	is := &resource.Service{Spec: resource.ServiceSpec{Target: "b", Visibility: []string{"it", "x"}, ProxyProtocol: true, Ports: []resource.ServicePort{{Port: 1}}}}
	is.Metadata.Labels = map[string]string{"site": "7"}
	got := strings.Join(difference(was, is), "\n")
	want := "metadata.labels.site: 7 (new)\nspec.proxyProtocol: true (new)\nspec.target: a -> b\nspec.visibility: [it] -> [it, x]"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
