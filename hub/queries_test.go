package hub_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// tagged gives a device, which is made unless it exists, its tags.
func (w *world) tagged(id, tags string) {
	w.t.Helper()
	ctx := w.t.Context()
	if _, err := w.hub().CreateDevice(ctx, hubstore.Device{ID: id}); err != nil && fault.KindOf(err) != fault.Conflict {
		w.t.Fatal(err)
	}
	if _, err := w.hub().PatchTwin(ctx, hub.Name{Device: id}, []byte(`{"tags":`+tags+`}`), ""); err != nil {
		w.t.Fatal(err)
	}
}

// query returns all items of a query, asked for by pages, and their kind.
func (w *world) query(text string, limit int) (kind string, items []string) {
	w.t.Helper()
	for continuation := ""; ; {
		p, err := w.hub().Query(w.t.Context(), text, limit, continuation)
		if err != nil {
			w.t.Fatalf("%s: %v", text, err)
		}
		kind = p.Kind
		for _, i := range p.Items {
			items = append(items, string(i))
		}
		if continuation = p.Continuation; continuation == "" {
			return kind, items
		}
		if len(p.Items) == 0 {
			w.t.Fatalf("%s: an empty page, and there are more", text)
		}
	}
}

func TestQueryKindsAndPages(t *testing.T) { // C42
	w := newWorld(t)
	for i := range 7 {
		w.tagged(fmt.Sprintf("d%d", i), fmt.Sprintf(`{"plant":"%d","<a>":{"b":1.50}}`, i%2))
	}
	if _, err := w.hub().CreateDevice(t.Context(), hubstore.Device{ID: "d0", Module: "m"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text, kind string
		want       []string // nil for twins, of which only the number counts
		n          int
	}{
		{"SELECT * FROM devices", hub.KindTwin, nil, 7},
		{"SELECT TOP 3 * FROM devices", hub.KindTwin, nil, 3},
		{"SELECT TOP 70 * FROM devices", hub.KindTwin, nil, 7},
		{"SELECT * FROM devices WHERE tags.plant = '1'", hub.KindTwin, nil, 3},
		{"SELECT * FROM devices.modules", hub.KindTwin, nil, 1},
		{"SELECT * FROM devices.jobs", hub.KindDeviceJob, nil, 0},
		{"SELECT DeviceId, tags.['<a>'].b AS B, tags.none, connectionState FROM devices WHERE tags.plant = '1'", hub.KindRaw, []string{
			`{"deviceId":"d1","B":1.50,"connectionState":"Disconnected"}`, `{"deviceId":"d3","B":1.50,"connectionState":"Disconnected"}`, `{"deviceId":"d5","B":1.50,"connectionState":"Disconnected"}`,
		}, 3},
		{"SELECT tags FROM devices WHERE deviceId = 'd0'", hub.KindRaw, []string{`{"tags":{"<a>":{"b":1.50},"plant":"0"}}`}, 1},
		{"SELECT TOP 1 deviceId, moduleId FROM devices.modules", hub.KindRaw, []string{`{"deviceId":"d0","moduleId":"m"}`}, 1},
		{"SELECT COUNT() AS n FROM devices", hub.KindRaw, []string{`{"n":7}`}, 1},
		{"SELECT tags.plant AS plant, COUNT() AS n FROM devices GROUP BY tags.plant", hub.KindRaw, []string{`{"plant":"0","n":4}`, `{"plant":"1","n":3}`}, 2},
		{"SELECT TOP 1 tags.plant AS plant, COUNT() AS n FROM devices GROUP BY tags.plant", hub.KindRaw, []string{`{"plant":"0","n":4}`}, 1},
	} {
		for _, limit := range []int{1, 2, 7, 0, 5000} {
			kind, got := w.query(c.text, limit)
			if kind != c.kind || len(got) != c.n || c.want != nil && !slices.Equal(got, c.want) {
				t.Errorf("%s by %d: %s %v, want %s %v (%d)", c.text, limit, kind, got, c.kind, c.want, c.n)
			}
		}
	}
	if kind, got := w.query("SELECT * FROM devices WHERE deviceId = 'd0'", 1); kind == hub.KindTwin {
		whole, err := w.hub().Twin(t.Context(), hub.Name{Device: "d0"})
		if err != nil {
			t.Fatal(err)
		}
		if want, _ := whole.JSON(); got[0] != string(want) {
			t.Errorf("a query's twin is\n%s\nand the twin is\n%s", got[0], want)
		}
	}
}

func TestContinuationsAreReadStrictly(t *testing.T) {
	w := newWorld(t)
	for i := range 4 {
		w.tagged(fmt.Sprintf("d%d", i), `{"a":"`+strings.Repeat("x", 4000)+fmt.Sprint(i)+`"}`)
	}
	const text = "SELECT * FROM devices"
	first, err := w.hub().Query(t.Context(), text, 2, "")
	if err != nil || first.Continuation == "" {
		t.Fatalf("%+v, %v", first, err)
	}
	plain, err := base64.RawURLEncoding.DecodeString(first.Continuation)
	if err != nil {
		t.Fatal(err)
	}
	encoded := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for name, c := range map[string]struct{ text, continuation string }{
		"another query":   {"SELECT * FROM devices WHERE tags.a = 'b'", first.Continuation},
		"cut":             {text, first.Continuation[:len(first.Continuation)-3]},
		"no base64":       {text, "!" + first.Continuation},
		"more behind":     {text, encoded(string(plain) + " {}")},
		"unknown field":   {text, encoded(strings.Replace(string(plain), `{`, `{"x":1,`, 1))},
		"no place":        {text, encoded(`{"q":"","k":[]}`)},
		"too many places": {text, encoded(strings.Replace(string(plain), `["d1"`, `["d1","d1"`, 1))},
		"very long":       {text, strings.Repeat("A", 1<<20)},
	} {
		if _, err := w.hub().Query(t.Context(), c.text, 2, c.continuation); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if second, err := w.hub().Query(t.Context(), " select  * from Devices", 2, first.Continuation); err != nil || len(second.Items) != 2 || second.Continuation != "" {
		t.Errorf("the same query in other words: %v", err)
	}
	// A group by texts as long as these cannot be gone on from in a header.
	const group = "SELECT tags.a FROM devices GROUP BY tags.a"
	if _, err := w.hub().Query(t.Context(), group, 1, ""); fault.KindOf(err) != fault.TooLarge {
		t.Errorf("long groups: %v", err)
	}
	if p, err := w.hub().Query(t.Context(), group, 4, ""); err != nil || len(p.Items) != 4 {
		t.Errorf("long groups on one page: %v", err)
	}
}

func TestQueriesThatAreRefusedSayWhere(t *testing.T) {
	w := newWorld(t)
	for text, says := range map[string]string{
		"SELECT * FROM device":                          "there is no collection device",
		"SELECT * FROM devices WHERE tags.a ==1":        "at character 36",
		"SELECT * FROM devices WHERE LOWER(tags.a)='a'": "not for queries over twins",
	} {
		if _, err := w.hub().Query(t.Context(), text, 1, ""); fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), says) {
			t.Errorf("%s: %v", text, err)
		}
		if _, err := w.hub().QueryPlan(t.Context(), text); fault.KindOf(err) != fault.Invalid {
			t.Errorf("the plan of %s: %v", text, err)
		}
	}
}

func TestQueryNames(t *testing.T) {
	w := newWorld(t)
	const many = 2100 // more than one page
	var changes []hub.Change
	for i := range many {
		changes = append(changes, hub.Change{Device: hubstore.Device{ID: fmt.Sprintf("d%04d", i)}})
	}
	changes = append(changes, hub.Change{Device: hubstore.Device{ID: "d0001", Module: "m"}})
	if _, err := w.hub().ChangeDevices(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
	w.tagged("d0042", `{"a":1}`)
	names := func(condition string, modules bool) (out []string) {
		t.Helper()
		err := w.hub().QueryNames(t.Context(), condition, modules, func(n hub.Name) error {
			out = append(out, n.String())
			// Whoever is called may write.
			if len(out) == 1 {
				w.tagged("d0001", `{"seen":true}`)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, condition := range []string{"", "*"} {
		if all := names(condition, false); len(all) != many || !slices.IsSorted(all) {
			t.Errorf("%q: %d names", condition, len(all))
		}
	}
	if got := names("tags.a = 1 OR deviceId IN ['d0007']", false); !slices.Equal(got, []string{"d0007", "d0042"}) {
		t.Errorf("%v", got)
	}
	if got := names("*", true); !slices.Equal(got, []string{"d0001/m"}) {
		t.Errorf("modules: %v", got)
	}
	boom, calls := errors.New("boom"), 0
	if err := w.hub().QueryNames(t.Context(), "*", false, func(hub.Name) error { calls++; return boom }); !errors.Is(err, boom) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	if err := w.hub().QueryNames(t.Context(), "tags.", false, nil); fault.KindOf(err) != fault.Invalid {
		t.Errorf("half a condition: %v", err)
	}
}

func TestIndexesAreDeclaredAndUsed(t *testing.T) {
	w := newWorld(t)
	ctx, h := t.Context(), w.hub()
	w.tagged("a", `{}`)
	const property, text = "properties.reported.firmware", "SELECT * FROM devices WHERE properties.reported.firmware = '1'"
	plan := func() string {
		t.Helper()
		p, err := h.QueryPlan(ctx, text)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if strings.Contains(plan(), "twin_terms") {
		t.Errorf("an index that is not there is used: %s", plan())
	}
	for range 2 {
		if err := h.DeclareIndex(ctx, property); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := h.Indexes(ctx); err != nil || !slices.Equal(list, []string{property}) {
		t.Errorf("%v, %v", list, err)
	}
	if p := plan(); !strings.Contains(p, "SEARCH x USING") || strings.Contains(p, "firmware'") {
		t.Errorf("the plan is %s", p)
	}
	for _, bad := range []string{"tags.a", "properties.reported", "properties.desired.$version", "deviceId", "properties.reported.a[0]", "properties.reported.", "properties.reported.['a.b']"} {
		if err := h.DeclareIndex(ctx, bad); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
	for i := range hubstore.MaxIndexes {
		err := h.DeclareIndex(ctx, fmt.Sprintf("properties.desired.p%d", i))
		if last := i == hubstore.MaxIndexes-1; (err != nil) != last || last && fault.KindOf(err) != fault.Exhausted {
			t.Errorf("index %d: %v", i, err)
		}
	}
	for range 2 {
		if err := h.DropIndex(ctx, property); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(plan(), "twin_terms") {
		t.Error("a dropped index is used")
	}
}

// Whoever only reads must not have all that is known of a hub's devices written again with each query.
func TestQueriesWriteLittle(t *testing.T) {
	w := newWorld(t)
	_, token := w.device("d")
	s, _, err := w.connect("d", token, public)
	if err != nil {
		t.Fatal(err)
	}
	defer s.End()
	active := func() time.Time {
		w.clock.Advance(100 * time.Millisecond)
		s.AnswerMethod("none", 200, nil)
		return w.clock.Now()
	}
	written := func() time.Time {
		d, err := w.server.Store().Device(t.Context(), w.hub().ID(), hub.Name{Device: "d"})
		if err != nil {
			t.Fatal(err)
		}
		return d.LastActivity
	}
	if _, items := w.query("SELECT deviceId FROM devices WHERE connectionState = 'Connected'", 10); len(items) != 1 {
		t.Errorf("who came is not found: %v", items)
	}
	w.clock.Advance(time.Minute)
	before := written()
	active()
	w.query("SELECT deviceId FROM devices WHERE connectionState = 'Connected'", 10)
	if now := written(); !now.Equal(before) {
		t.Errorf("who is connected was asked, and activity is written: %v", now)
	}
	at := active()
	w.query("SELECT deviceId FROM devices WHERE lastActivityTime > '2026'", 10)
	if now := written(); !now.Equal(at) {
		t.Errorf("activity was asked: written %v, active %v", now, at)
	}
	active()
	w.query("SELECT deviceId FROM devices WHERE lastActivityTime > '2026'", 10)
	if now := written(); !now.Equal(at) {
		t.Errorf("written twice in a second: %v", now)
	}
}
