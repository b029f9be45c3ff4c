package plan_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

func rule(i int) resource.AllowRule {
	return resource.AllowRule{
		Name: fmt.Sprintf("site-%06d", i), Sources: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(i >> 16), byte(i >> 8), byte(i)}), 32)},
		Ports: []uint16{8883}, Note: "ticket 4711",
	}
}

func rules(n int) []resource.AllowRule {
	out := make([]resource.AllowRule, n)
	for i := range out {
		out[i] = rule(i)
	}
	return out
}

// gateway is a plan with one gateway, whose allowlists are cut as control cuts them.
func gateway(lists ...plan.Allowlist) plan.Plan {
	return plan.Plan{Self: plan.Self{ID: "gw"}, Gateways: []plan.Gateway{{ID: "g", Name: "ot/ot-cloud/front", Allowlists: lists}}}.Seal()
}

func list(name string, rules []resource.AllowRule, old []*plan.Part) plan.Allowlist {
	return plan.Allowlist{Name: name, Rules: rules, Parts: plan.Cut(rules, old)}
}

func flat(parts []*plan.Part) (out []resource.AllowRule) {
	for _, p := range parts {
		out = append(out, p.Rules...)
	}
	return out
}

// lines must work; read puts them together again.
func lines(t testing.TB, w *plan.Writer, p plan.Plan) [][]byte {
	t.Helper()
	out, err := w.Lines(p)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func read(t testing.TB, r *plan.Reader, lines [][]byte) (p plan.Plan) {
	t.Helper()
	for i, l := range lines {
		got, whole, err := r.Read(l)
		if err != nil || whole != (i == len(lines)-1) {
			t.Fatalf("line %d of %d: whole %t, %v", i, len(lines), whole, err)
		}
		p = got
	}
	return p
}

func TestAChangeOfOneRuleMovesOnePart(t *testing.T) {
	const n = 20_000
	before := list("a", rules(n), nil)
	if k := len(before.Parts); k < n/1000 || k > n/50 {
		t.Fatalf("%d rules are in %d parts", n, k)
	}
	if !reflect.DeepEqual(flat(before.Parts), before.Rules) {
		t.Fatal("the parts are not the rules")
	}
	first := gateway(before)
	for what, change := range map[string]func([]resource.AllowRule) []resource.AllowRule{
		"changed":   func(rs []resource.AllowRule) []resource.AllowRule { rs[n/2].Note = "another"; return rs },
		"taken out": func(rs []resource.AllowRule) []resource.AllowRule { return slices.Delete(rs, n/2, n/2+1) },
		"added":     func(rs []resource.AllowRule) []resource.AllowRule { return slices.Insert(rs, n/2, rule(n+1)) },
		"expiring":  func(rs []resource.AllowRule) []resource.AllowRule { rs[7].Expires = time.Unix(1, 0).UTC(); return rs },
	} {
		var w plan.Writer
		var r plan.Reader
		sent := lines(t, &w, first)
		if got := read(t, &r, sent); len(sent) != len(before.Parts)+1 || got.Seal().Revision != first.Revision || !reflect.DeepEqual(got.Gateways[0].Allowlists[0].Rules, before.Rules) {
			t.Fatalf("%d lines for %d parts, revision %s, want %s", len(sent), len(before.Parts), got.Revision, first.Revision)
		}
		after := list("a", change(slices.Clone(before.Rules)), before.Parts)
		second := gateway(after)
		if second.Revision == first.Revision {
			t.Errorf("%s: the revision stayed", what)
		}
		sent = lines(t, &w, second)
		if size := len(bytes.Join(sent, nil)); len(sent) > 4 || size > 100_000 {
			t.Errorf("%s: %d lines with %d bytes", what, len(sent), size)
		}
		if got := read(t, &r, sent); got.Revision != second.Revision || !reflect.DeepEqual(got.Gateways[0].Allowlists[0].Rules, after.Rules) {
			t.Errorf("%s: the plan came out as another", what)
		}
	}
}

// However lists come, grow, shrink and go: what is read is what was written, and cutting anew gives the same revision.
func TestStreamsAgainstPlans(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		lists := map[string]plan.Allowlist{}
		var w plan.Writer
		var r plan.Reader
		for range rapid.IntRange(1, 4).Draw(rt, "plans") {
			name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "list")
			from := rapid.IntRange(0, 100).Draw(rt, "from")
			rs := rules(from + rapid.IntRange(0, 200).Draw(rt, "rules"))[from:]
			if rapid.Bool().Draw(rt, "long names") {
				for i := range rs {
					rs[i].Names = []string{strings.Repeat("x", 60) + "." + strings.Repeat("y", 60)}
				}
			}
			lists[name] = list(name, rs, lists[name].Parts)
			var all, anew []plan.Allowlist
			for _, n := range []string{"a", "b", "c"} {
				if l, ok := lists[n]; ok {
					all, anew = append(all, l), append(anew, list(n, l.Rules, nil))
				}
			}
			p := gateway(all...)
			if again := gateway(anew...); again.Revision != p.Revision {
				rt.Fatalf("cut anew, the revision is %s and not %s", again.Revision, p.Revision)
			}
			got := read(t, &r, lines(t, &w, p))
			same(rt, got, p)
			text := bytes.Join(lines(t, &plan.Writer{}, got), []byte{'\n'})
			kept, err := plan.ReadFile(text)
			if err != nil {
				rt.Fatal(err)
			}
			same(rt, kept, p)
		}
	})
}

func same(t *rapid.T, got, want plan.Plan) {
	if got.Revision != want.Revision || len(got.Gateways[0].Allowlists) != len(want.Gateways[0].Allowlists) {
		t.Fatalf("revision %s, want %s", got.Revision, want.Revision)
	}
	for i, a := range got.Gateways[0].Allowlists {
		b := want.Gateways[0].Allowlists[i]
		if a.Name != b.Name || !slices.EqualFunc(a.Rules, b.Rules, resource.AllowRule.Equal) || len(a.Parts) != len(b.Parts) {
			t.Fatalf("the list %s has %d rules, want %d", a.Name, len(a.Rules), len(b.Rules))
		}
	}
}

func TestBadStreams(t *testing.T) {
	p := gateway(list("a", rules(3), nil))
	good, other := lines(t, &plan.Writer{}, p), lines(t, &plan.Writer{}, gateway(list("a", rules(4), nil)))
	var part map[string]string
	if err := json.Unmarshal(other[0], &part); err != nil {
		t.Fatal(err)
	}
	part["part"] = p.Gateways[0].Allowlists[0].Parts[0].Digest
	forged, _ := json.Marshal(part) //nolint:errchkjson // a map of strings
	for name, c := range map[string]struct {
		line  []byte
		words string
	}{
		"a part is missing":  {good[1], "did not come"},
		"no JSON":            {[]byte("{"), "cannot be read"},
		"a part cut short":   {good[0][:len(good[0])-9], "cannot be read"},
		"no gzip":            {[]byte(`{"part":"x","rules":"aGk="}`), "cannot be unpacked"},
		"another's content":  {forged, "does not fit its hash"},
		"content of nothing": {[]byte(`{"part":"x"}`), "cannot be unpacked"},
	} {
		_, _, err := new(plan.Reader).Read(c.line)
		if err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), c.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := plan.ReadFile(good[0]); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a file without a plan: %v", err)
	}
	if _, err := new(plan.Writer).Lines(plan.Plan{Gateways: []plan.Gateway{{Allowlists: []plan.Allowlist{{Parts: []*plan.Part{{Digest: "x"}}}}}}}); err == nil {
		t.Error("a part without its rules was written")
	}
}

// Plans that were made without parts, and files of older versions, are read as they are.
func TestRulesWithoutParts(t *testing.T) {
	made := plan.Plan{Gateways: []plan.Gateway{{Allowlists: []plan.Allowlist{{Rules: rules(2)}}}}}.Seal()
	plain := lines(t, &plan.Writer{}, made)
	indented, err := json.MarshalIndent(made, "", "  ")
	if len(plain) != 1 || err != nil {
		t.Fatal(len(plain), err)
	}
	for _, text := range [][]byte{plain[0], indented} {
		if got, err := plan.ReadFile(text); err != nil || len(got.Gateways[0].Allowlists[0].Rules) != 2 {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(bytes.Join(lines(f, &plan.Writer{}, gateway(list("a", rules(3), nil))), []byte{'\n'}))
	f.Add([]byte(`{"part":"","rules":""}`))
	f.Add([]byte(`{"gateways":[{"allowlists":[{"parts":["x"]}]}]}`))
	f.Add([]byte(`{"gateways":[{"allowlists":[{"parts":[null]}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := plan.ReadFile(text)
		if err != nil {
			return
		}
		if again := p.Seal(); again.Seal().Revision != again.Revision {
			t.Error("a plan that was read does not seal")
		}
	})
}

func BenchmarkCut(b *testing.B) {
	all := rules(100_000)
	old := plan.Cut(all, nil)
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			plan.Cut(all, nil)
		}
	})
	b.Run("one changed", func(b *testing.B) {
		changed := slices.Clone(all)
		changed[500].Note = "x"
		for b.Loop() {
			plan.Cut(changed, old)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	p := gateway(list("a", rules(100_000), nil))
	for b.Loop() {
		p.Seal()
	}
}
