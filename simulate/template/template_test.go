package template_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/simulate/template"
)

func p[T any](v T) *T { return &v }

var start = time.Date(2019, 11, 19, 11, 10, 11, 509_135_099, time.FixedZone("CET", 3600))

func newRandom() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// rows renders a template for n messages in a row.
func rows(t *testing.T, text string, n int, list ...template.Variable) []string {
	t.Helper()
	v, err := template.NewVariables(list, "pod-1.example.net")
	if err != nil {
		t.Fatal(err)
	}
	tm, s, random := v.Compile(text), v.NewState("sim000001"), newRandom()
	var out []string
	for range n {
		s.Next(start, random)
		out = append(out, string(tm.Append(nil, s)))
	}
	return out
}

func TestValues(t *testing.T) {
	seq := func(name string, values ...string) template.Variable {
		return template.Variable{Name: name, Sequence: true, Values: values}
	}
	for name, c := range map[string]struct {
		text string
		vars []template.Variable
		want string // joined by blanks
	}{
		"a counter":               {"$.C", []template.Variable{{Name: "C"}}, "1 2 3 4 5"},
		"a counter that turns":    {"$.C", []template.Variable{{Name: "C", Min: p(100.), Max: p(102.)}}, "100 101 102 100 101"},
		"a counter with steps":    {"$.C", []template.Variable{{Name: "C", Min: p(1.), Max: p(5.), Step: p(2)}}, "1 3 5 1 3"},
		"a counter at its end":    {"$.C", []template.Variable{{Name: "C", Min: p(2147483646.)}}, "2147483646 2147483647 2147483646 2147483647 2147483646"},
		"a counter without room":  {"$.C", []template.Variable{{Name: "C", Min: p(5.), Max: p(2.)}}, "5 5 5 5 5"},
		"a counter backwards":     {"$.C", []template.Variable{{Name: "C", Min: p(3.), Step: p(-1)}}, "3 2 1 0 -1"},
		"a sequence":              {"$.S", []template.Variable{seq("S", "$.C", "true", "false", "$.C"), {Name: "C"}}, "1 true false 2 3"},
		"two that share counters": {"$.A/$.B", []template.Variable{seq("A", "$.C", "$.D"), seq("B", "$.D", "$.C"), {Name: "C"}, {Name: "D", Min: p(1001.)}}, "1/1001 1002/2 3/1003 1004/4 5/1005"},
		"one on and one off":      {"$.A/$.C/$.D/$.E", []template.Variable{seq("A", "$.C", "$.D"), {Name: "C"}, {Name: "D", Min: p(11.)}, {Name: "E", Min: p(21.)}}, "1/1/$.D/21 11/1/11/22 2/2/11/23 12/2/12/24 3/3/12/25"},
		"a sequence of built-ins": {"$.S", []template.Variable{seq("S", "$.IterationNumber", "$.DeviceId", "$.Nobody")}, "0 sim000001 $.Nobody 3 sim000001"},
		"a sequence of sequences": {"$.B", []template.Variable{seq("A", "x", "y"), seq("B", "$.A", "$.C"), seq("C", "z")}, "x $.C x $.C x"},
		"iterations":              {"$.IterationNumber", nil, "0 1 2 3 4"},
		"built-ins":               {"$.DeviceId,$.MachineName,$.Epoch,$.Ticks", nil, strings.TrimSpace(strings.Repeat("sim000001,pod-1,1574158211,637097586115091350 ", 5))},
		"times":                   {"$.Time,$.LocalTime", nil, strings.TrimSpace(strings.Repeat("2019-11-19T10:10:11.5091350Z,2019-11-19T11:10:11.5091350+01:00 ", 5))},
		"a built-in of one's own": {"$.Time", []template.Variable{{Name: "Time", Values: []string{"now"}}}, "now now now now now"},
		"no range":                {"$.R", []template.Variable{{Name: "R", Random: true, Min: p(0.2), Max: p(0.8)}}, "0 0 0 0 0"},
		"longest name first":      {"$.v1$.v11,$.v-$.v$.v1$.v11!$.", []template.Variable{{Name: "v", Values: []string{"2"}}, {Name: "v1", Values: []string{"1"}}, {Name: "v11", Values: []string{"3"}}}, strings.TrimSpace(strings.Repeat("13,2-213!$. ", 5))},
		"nobody's name":           {"$.Deviceid$$.", nil, strings.TrimSpace(strings.Repeat("$.Deviceid$$. ", 5))},
	} {
		if got := strings.Join(rows(t, c.text, 5, c.vars...), " "); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestRandomValues(t *testing.T) {
	vars := []template.Variable{
		{Name: "I", Random: true, Min: p(23.), Max: p(25.)}, {Name: "J", Random: true}, {Name: "F", RandomDouble: true, Min: p(0.22), Max: p(1.25)},
		{Name: "G", RandomDouble: true}, {Name: "T", Length: p(33)}, {Name: "E", Length: p(0)}, {Name: "V", Values: []string{"on", "off"}},
		{Name: "S", Sequence: true, Values: []string{"$.T", "-"}},
	}
	seen := map[string]bool{}
	form := regexp.MustCompile(`^(23|24) (\d+) ([0-9.]+) ([0-9.E-]+) ([0-9a-zA-Z]{33})  (on|off) (-|[0-9a-zA-Z]{33}) ([0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})$`)
	var last string
	for n, row := range rows(t, "$.I $.J $.F $.G $.T $.E $.V $.S $.Guid", 2000, vars...) {
		m := form.FindStringSubmatch(row)
		if m == nil {
			t.Fatalf("%s", row)
		}
		j, _ := strconv.ParseInt(m[2], 10, 64)
		f, _ := strconv.ParseFloat(m[3], 64)
		g, _ := strconv.ParseFloat(m[4], 64)
		if j < 0 || j >= 1<<31-1 || f < 0.22 || f >= 1.25 || g < 0 || g >= 1 {
			t.Fatalf("out of range: %s", row)
		}
		if n%2 == 0 && m[7] != m[5] || n%2 == 1 && (m[7] != "-" || m[5] != last) {
			t.Fatalf("message %d: a variable that was not used moved on: %s after %s", n, row, last)
		}
		last = m[5]
		if seen[m[8]] {
			t.Fatal("a GUID twice")
		}
		seen[m[1]], seen[m[6]], seen[m[8]] = true, true, true
	}
	for _, want := range []string{"23", "24", "on", "off"} {
		if !seen[want] {
			t.Errorf("never %s", want)
		}
	}
}

func TestBeforeTheFirstMessageOnlyTheDeviceIsKnown(t *testing.T) {
	v, err := template.NewVariables([]template.Variable{{Name: "C"}}, "m")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(v.Compile("$.DeviceId $.C $.Time").Append(nil, v.NewState("d"))); got != "d $.C $.Time" {
		t.Errorf("got %s", got)
	}
}

func TestNumbersAsDotNetWritesThem(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0", 0.207759137669466: "0.207759137669466", -1.5: "-1.5", 1e14: "100000000000000", 1e15: "1E+15", 123456789012345680: "1.2345678901234568E+17",
		0.0001: "0.0001", 0.00001: "1E-05", -2.5e-7: "-2.5E-07", 1e100: "1E+100",
	} {
		if got := string(template.AppendFloat(nil, f)); got != want {
			t.Errorf("%v is %s, want %s", f, got, want)
		}
	}
}

func TestWrongVariablesAreNamed(t *testing.T) {
	for want, list := range map[string][]template.Variable{
		"Variables[0].name: it is missing":                   {{}},
		"Variables[1].name: there are two variables A":       {{Name: "A"}, {Name: "A"}},
		"Variables[0].values: a sequence needs some":         {{Name: "A", Sequence: true}},
		"Variables[1].customLengthString: it is 0 to 262144": {{Name: "A"}, {Name: "B", Length: p(-1)}},
		"Variables[0].customLengthString: it is 0 to 262144": {{Name: "B", Length: p(1 << 20)}},
		"Variables[0].min: it is no number":                  {{Name: "B", Min: p(1e300)}},
	} {
		_, err := template.NewVariables(list, "")
		if fault.KindOf(err) != fault.Invalid || !strings.HasPrefix(fault.Message(err), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// replaced is the slow twin of Compile and Append: one name after the other, the longest first.
func replaced(text string, values map[string]string) string {
	names := make([]string, 0, len(values))
	for n := range values {
		names = append(names, n)
	}
	slices.Sort(names)
	slices.SortStableFunc(names, func(a, b string) int { return len(b) - len(a) })
	for i, n := range names {
		text = strings.ReplaceAll(text, "$."+n, fmt.Sprintf("\x00%d\x00", i)) // a value may hold names again: they stay
	}
	for i, n := range names {
		text = strings.ReplaceAll(text, fmt.Sprintf("\x00%d\x00", i), values[n])
	}
	return text
}

func TestCompileIsReplacing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := map[string]string{"DeviceId": "dev", "MachineName": "host"}
		var list []template.Variable
		for _, n := range rapid.SliceOfNDistinct(rapid.StringMatching(`[ab]{1,4}|Dev|Device`), 0, 6, rapid.ID[string]).Draw(t, "names") {
			values[n] = rapid.SampledFrom([]string{"", "x", "$.a", "$.DeviceId", "1"}).Draw(t, "value")
			list = append(list, template.Variable{Name: n, Values: []string{values[n]}})
		}
		text := strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{"$.", "$", ".", "a", "b", "ab", "DeviceId", "Dev", "MachineName", " "})).Draw(t, "text"), "")
		v, err := template.NewVariables(list, "host")
		if err != nil {
			t.Fatal(err)
		}
		s := v.NewState("dev")
		s.Next(start, newRandom())
		if got, want := string(v.Compile(text).Append(nil, s)), replaced(text, values); got != want {
			t.Fatalf("%q gives %q, want %q", text, got, want)
		}
	})
}

func FuzzTemplate(f *testing.F) {
	f.Add(`{"a": "$.Counter", "b": $.Temp}`, "Counter", "$.Temp", uint8(0))
	f.Add("$.$.$.a", "a", "b", uint8(5))
	f.Fuzz(func(t *testing.T, text, name, valued string, shape uint8) {
		list := []template.Variable{{Name: name, Sequence: shape&1 != 0, Random: shape&2 != 0, RandomDouble: shape&4 != 0, Values: []string{valued, "$." + name}}, {Name: name + "2"}}
		if shape&8 != 0 {
			list[0].Length = p(int(shape))
		}
		v, err := template.NewVariables(list, name)
		if err != nil {
			return
		}
		tm, s, random := v.Compile(text), v.NewState(valued), newRandom()
		if got := tm.String(); got != text {
			t.Fatalf("%q became %q", text, got)
		}
		for range 3 {
			if got := string(tm.Append(nil, s)); tm.Fixed() && got != text {
				t.Fatalf("%q became %q", text, got)
			}
			s.Next(start, random)
		}
	})
}

func BenchmarkRender(b *testing.B) {
	v, err := template.NewVariables([]template.Variable{
		{Name: "Temp", Random: true, Min: p(23.), Max: p(25.)}, {Name: "Counter", Min: p(100.)}, {Name: "Engine", Values: []string{"on", "off"}},
		{Name: "Pad", Length: p(64)}, {Name: "Seq", Sequence: true, Values: []string{"$.Counter", "$.Pad", "x"}},
	}, "pod-1")
	if err != nil {
		b.Fatal(err)
	}
	tm := v.Compile(`{ "deviceId": "$.DeviceId", "temp": $.Temp, "Ticks": $.Ticks, "Counter": $.Counter, "time": "$.Time", "engine": "$.Engine", "id": "$.Guid", "seq": "$.Seq" }`)
	s, random, buf := v.NewState("sim000001"), newRandom(), make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		s.Next(start, random)
		buf = tm.Append(buf[:0], s)
	}
	if n := testing.AllocsPerRun(100, func() { s.Next(start, random); buf = tm.Append(buf[:0], s) }); n > 0 {
		b.Errorf("%v allocations", n)
	}
}
