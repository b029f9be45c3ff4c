package trial

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	object = map[string]any
	list   = []resource.TestEvent
)

func try(t *testing.T, args Args) []Result {
	t.Helper()
	args.Name = "ot/ot-cloud/b"
	out, err := Run(t.Context(), args)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWhatIsNotAsExpected(t *testing.T) {
	in := list{{Body: object{"a": 1.0, "l": []any{1.0, "x"}, "n": nil}, Properties: map[string]string{"p": "q"}, System: map[string]string{"iothub-connection-device-id": "d"}}}
	for _, c := range []struct {
		name string
		test resource.BridgeTest
		want string // problems, joined; empty: it passes
	}{
		{"all that is written down", resource.BridgeTest{Input: in, Output: list{{Body: object{"a": 1.0, "l": []any{1.0, "x"}}, Properties: map[string]string{"p": "q"}, Enqueued: begin}}}, ""},
		{"nothing is written down", resource.BridgeTest{Input: in, Output: list{{}}}, ""},
		{"a text", resource.BridgeTest{Input: list{{Body: "no JSON"}}, Output: list{{Body: "no JSON"}}}, ""},
		{"another text", resource.BridgeTest{Input: list{{Body: "no JSON"}}, Output: list{{Body: object{"a": 1.0}}}}, `output 1: body is "no JSON", not {"a":1}`},
		{"other values", resource.BridgeTest{Input: in, Output: list{{Body: object{"a": 2.0, "l": []any{1.0}, "m": true, "n": "x"}}}},
			`output 1: body.a is 1, not 2; output 1: body.l is [1,"x"], not [1]; output 1: body.m is not there, and should be true; output 1: body.n is null, not "x"`},
		{"inside arrays", resource.BridgeTest{Input: in, Output: list{{Body: object{"l": []any{1.0, "y"}}}}}, `output 1: body.l[1] is "x", not "y"`},
		{"other properties", resource.BridgeTest{Input: in, Output: list{{Properties: map[string]string{"p": "r", "s": "t"}, System: map[string]string{"x": "y"}}}},
			`output 1: properties.p is "q", not "r"; output 1: properties.s is not there, and should be "t"; output 1: system.x is not there, and should be "y"`},
		{"too many", resource.BridgeTest{Input: in}, `output 1 is not expected: {"a":1,"l":[1,"x"],"n":null} p=q @iothub-connection-device-id=d`},
		{"too few", resource.BridgeTest{Input: in, Output: list{{}, {Body: "x"}}, Dead: []resource.TestDead{{Step: "contract"}}}, "output 2 is missing: x; dead letter 1 is missing: step contract: any"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.test.Name = c.name
			r := try(t, Args{Spec: resource.BridgeSpec{Tests: []resource.BridgeTest{c.test}}})[0]
			got := r.Problems // properties and system come in either order
			if c.want == "" && !r.Passed || c.want != "" && (r.Passed || sorted(got) != sorted(strings.Split(c.want, "; "))) {
				t.Errorf("%s", strings.Join(got, "; "))
			}
		})
	}
}

func sorted(list []string) string {
	seen := map[string]bool{}
	for _, s := range list {
		seen[s] = true
	}
	out := ""
	for range len(seen) {
		least := ""
		for s := range seen {
			if least == "" || s < least {
				least = s
			}
		}
		delete(seen, least)
		out += least + "\n"
	}
	return out
}

func TestStepsContractAndDeadLetters(t *testing.T) {
	c := &plan.Contract{Name: "ot/c", Version: 2, Spec: resource.ContractSpec{Messages: []resource.ContractMessage{{Name: "m", Fields: []resource.ContractField{{Path: "a", Type: "number", Required: true}}}}}}
	spec := resource.BridgeSpec{
		Steps: []resource.BridgeStep{{Name: "some", Filter: "this.a != 0"}, {Name: "twice", Mapping: `root = if this.a == 1 { [this, this] } else if this.a == 2 { throw("two") } else { this }`}},
		Tests: []resource.BridgeTest{
			{Name: "good", Input: list{{Body: object{"a": 1.0, "b": 2.0}}, {Body: object{"a": 0.0}}, {Body: object{"a": "x"}}, {Body: object{"a": 2.0}}},
				Output: list{{Body: object{"a": 1.0}}, {Body: object{"a": 1.0}}}, Dead: []resource.TestDead{{Step: "contract", Reason: "a is no number"}, {Step: "twice", Reason: "two"}}},
			{Name: "bad", Input: list{{Body: object{"a": "x"}}, {Body: object{"a": 2.0}}, {Body: object{"a": 0.0}}}, Dead: []resource.TestDead{{Step: "twice"}, {Reason: "three"}, {}}},
			{Name: "nothing crosses that is not listed", Input: list{{Body: object{"a": 5.0, "b": 2.0}}}, Output: list{{Body: object{"b": 2.0}}}},
		},
	}
	out := try(t, Args{Spec: spec, Contract: c})
	if !out[0].Passed {
		t.Error(out[0].Problems)
	}
	if got := strings.Join(out[1].Problems, "; "); !strings.Contains(got, "dead letter 1 is of step contract (") || !strings.Contains(got, `which does not hold "three"`) ||
		!strings.Contains(got, "dead letter 3 is missing: step any: any") || !strings.Contains(got, "1 events were left out by steps") {
		t.Error(got)
	}
	if got := strings.Join(out[2].Problems, "; "); got != "output 1: body.b is not there, and should be 2" {
		t.Error(got)
	}
}

func TestWindows(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "machines.csv"), []byte("device,hall\np1,3\np2,4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	reading := func(at, device string, v float64) resource.TestEvent {
		return resource.TestEvent{Body: object{"at": at, "v": v}, System: map[string]string{"iothub-connection-device-id": device}}
	}
	spec := resource.BridgeSpec{
		References: []resource.ReferenceTable{{Name: "machines", Blob: &resource.ReferenceBlob{Endpoint: "x", Container: "c", Name: "tables/machines.csv"}, Key: "device"}},
		Steps: []resource.BridgeStep{{Name: "w", Window: &resource.Window{
			SizeSeconds: 3600, Time: "this.at", Join: []resource.TableJoin{{Table: "machines", On: "@device", Required: true}}, AheadSeconds: 600_000,
			GroupBy: []resource.Column{{Name: "hall", Value: "this.machines.hall"}}, Aggregates: []resource.Aggregate{{Name: "n", Function: resource.AggregateCount}, {Name: "sum", Function: "sum", Value: "this.v"}},
		}}, {Name: "after", Filter: "this.n > 0"}},
		Tests: []resource.BridgeTest{{Name: "hours", Input: list{
			reading("2026-01-01T00:10:00Z", "p1", 1), reading("2026-01-01T00:20:00Z", "p1", 2), reading("2026-01-01T00:30:00Z", "p2", 4), reading("2026-01-01T05:00:00Z", "p1", 8), reading("2026-01-01T05:00:00Z", "p9", 8),
		}, Output: list{{Body: object{"hall": "3", "n": 2.0, "sum": 3.0}}, {Body: object{"hall": "4", "n": 1.0}}, {Body: object{"hall": "3", "windowStart": "2026-01-01T05:00:00Z"}}},
			Dead: []resource.TestDead{{Step: "w"}}}},
	}
	if out := try(t, Args{Spec: spec, References: dir}); !out[0].Passed {
		t.Error(out[0].Problems)
	}
	spec.References[0].Blob.Name = "others.csv"
	if _, err := Run(t.Context(), Args{Name: "b", Spec: spec, References: dir}); fault.KindOf(err) != fault.NotFound || !strings.Contains(fault.Next(err), "others.csv") {
		t.Error(err)
	}
}

func TestStandIns(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/base/f" || r.Header.Get("Authorization") != "" {
			t.Error(r.URL, r.Header)
		}
		_, _ = io.WriteString(w, `[[{"body":{"x":1}}]]`)
	}))
	defer srv.Close()
	spec := resource.BridgeSpec{
		Steps: []resource.BridgeStep{{Name: "ask", HTTP: &resource.HTTPFunction{Endpoint: "enrich", Path: "/f", Secret: "enrich"}}},
		Tests: []resource.BridgeTest{{Name: "t", Input: list{{Body: object{}}}, Output: list{{Body: object{"x": 1.0}}}}},
	}
	if out := try(t, Args{Spec: spec, Functions: map[string]string{"ask": srv.URL + "/base/"}}); !out[0].Passed {
		t.Error(out[0].Problems)
	}
	for _, functions := range []map[string]string{nil, {"ask": "ftp://x"}, {"ask": "http://"}} {
		if _, err := Run(t.Context(), Args{Name: "b", Spec: spec, Functions: functions}); fault.KindOf(err) != fault.Invalid || fault.Next(err) == "" {
			t.Error(err)
		}
	}
}

func TestManifestsThatCannotBeTried(t *testing.T) {
	for words, args := range map[string]Args{
		"bad":              {Spec: resource.BridgeSpec{Steps: []resource.BridgeStep{{Name: "bad", Mapping: "root = = 1"}}}},
		"lists no message": {Contract: &plan.Contract{Name: "ot/c"}},
		"no module":        {Modules: "nowhere", Spec: resource.BridgeSpec{Steps: []resource.BridgeStep{{Name: "w", WASM: &resource.WASMFunction{Module: "x.wasm", SHA256: strings.Repeat("0", 64)}}}}},
	} {
		if _, err := Run(t.Context(), args); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("want %q, got %v", words, err)
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{{"1", "1.0", true}, {"1e2", "100", true}, {"0.1", "0.10000000000000000001", false}, {"1e999999999", "1e999999998", false}, {"9007199254740993", "9007199254740992", false}} {
		if equal(c.a, c.b) != c.want {
			t.Errorf("%s and %s", c.a, c.b)
		}
	}
}
