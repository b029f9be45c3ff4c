package route_test

import (
	"encoding/binary"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/route"
)

func twinOf(text string) func() map[string]any {
	return func() map[string]any {
		var v map[string]any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			panic(err)
		}
		return v
	}
}

var jsonUTF8 = map[string]string{"content-type": "application/json", "content-encoding": "utf-8"}

func message() *route.Message {
	return &route.Message{
		Source: route.DeviceMessages, Device: "sensor-1", Module: "cam",
		Properties: map[string]string{"level": "critical", "n": "7", "a.b": "dotted"},
		System:     map[string]string{"content-type": "application/json;charset=utf-8", "message-id": "m1", "dt-subject": "thermo", "dt-dataschema": "dtmi:plant:press;1", "iothub-message-source": "Telemetry"},
		Body:       []byte(`{"temp":71.5,"tags":["x","y"],"in":{"deep":true},"none":null}`),
		Received:   time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC),
		Twin:       twinOf(`{"tags":{"site":"north"},"properties":{"desired":{"rate":5},"reported":{"fw":"1.2"}}}`),
	}
}

func try(t *testing.T, condition string, m *route.Message) route.Outcome {
	t.Helper()
	out, err := route.Try(route.Route{Name: "r", Source: route.DeviceMessages, Condition: condition}, m)
	if err != nil {
		t.Fatalf("%s: %v (%s)", condition, err, fault.Next(err))
	}
	return out
}

func TestWhatAConditionSees(t *testing.T) {
	for _, c := range []struct {
		condition string
		want      bool
	}{
		{"", true},
		{"true", true},
		{" TRUE ", true},
		{"level = 'critical'", true},
		{"level = 'Critical'", false},
		{"Level = 'critical'", false},
		{"a.b = 'dotted'", true},
		{"n = '7'", true},
		{"n = 7", false}, // a property is a string
		{"as_number(n) > 6", true},
		{"missing = 'x'", false},
		{"NOT (missing = 'x')", false}, // what cannot be evaluated does not hold, whichever way it is asked
		{"is_defined(missing)", false},
		{"NOT is_defined(missing)", true},
		{"$connectionDeviceId = 'sensor-1' AND $connectionModuleId = 'cam'", true},
		{"$messageId = 'm1'", true},
		{"$dt-subject = 'thermo'", true},
		{"$dt-dataschema = 'dtmi:plant:press;1'", true},
		{"$contentType = 'application/json;charset=utf-8'", true},
		{"$enqueuedTime >= '2026-11-22'", true},
		{"$nothing = 'x'", false},
		{"$body.temp > 70", true},
		{"$body.temp > 72", false},
		{"$body.tags[1] = 'y'", true},
		{"$body.in.deep = true", true},
		{"$body.none = null", true},
		{"$body.temp.deeper = 1", false},
		{"$twin.tags.site = 'north'", true},
		{"$twin.properties.desired.rate = 5 AND $twin.properties.reported.fw = '1.2'", true},
		{"$twin.tags.other = 'x' OR level = 'critical'", true},
		{"STARTS_WITH($connectionDeviceId, 'sensor')", true},
	} {
		if got := try(t, c.condition, message()); got.Matches != c.want {
			t.Errorf("%s: %+v", c.condition, got)
		}
	}
}

func TestBodiesInEveryEncoding(t *testing.T) {
	text := `{"é":"𝄞"}`
	var be, le, wide []byte
	for _, u := range utf16.Encode([]rune(text)) {
		be = binary.BigEndian.AppendUint16(be, u)
		le = binary.LittleEndian.AppendUint16(le, u)
	}
	for _, r := range text {
		wide = binary.LittleEndian.AppendUint32(wide, uint32(r))
	}
	for _, c := range []struct {
		kind, encoding string
		body           []byte
		want           bool
	}{
		{"application/json", "utf-8", []byte(text), true},
		{"application/json", "UTF-8", append([]byte("\xef\xbb\xbf"), text...), true},
		{"Application/JSON; charset=utf-8", "", []byte(text), true},
		{"application/json", "utf-16", be, true},
		{"application/json", "utf-16le", le, true},
		{"application/json", "utf-16", append([]byte{0xff, 0xfe}, le...), true},
		{"application/json", "utf-16", append([]byte{0xfe, 0xff}, be...), true},
		{"application/json", "utf-32le", wide, true},
		{"application/json", "utf-32", append([]byte{0xff, 0xfe, 0, 0}, wide...), true},
		{"application/json", "utf-16", le, false},
		{"application/json", "utf-16", []byte{0}, false},
		{"application/json", "", []byte(text), false},
		{"application/json", "latin-1", []byte(text), false},
		{"text/plain", "utf-8", []byte(text), false},
		{"", "utf-8", []byte(text), false},
		{"application/json", "utf-8", []byte(text[1:]), false},
	} {
		m := &route.Message{Source: route.DeviceMessages, Body: c.body, System: map[string]string{"content-type": c.kind, "content-encoding": c.encoding}}
		got := try(t, "$body.é = '𝄞'", m)
		if got.Matches != c.want {
			t.Errorf("%q, %q, %q: %+v", c.kind, c.encoding, c.body, got)
		}
		if !c.want && !strings.Contains(got.Why, "body") {
			t.Errorf("%q, %q: why: %s", c.kind, c.encoding, got.Why)
		}
	}
	if got := try(t, "$twin.tags.x = 1", &route.Message{Source: route.DeviceMessages}); !strings.Contains(got.Why, "twin") {
		t.Error(got.Why)
	}
	if got := try(t, "x = 1", &route.Message{Source: route.TwinChangeEvents}); got.Matches || !strings.Contains(got.Why, "source") {
		t.Error(got.Why)
	}
}

func compile(t *testing.T, c route.Config) *route.Table {
	t.Helper()
	table, err := route.Compile(c)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func on(name, condition string, endpoints ...string) route.Route {
	return route.Route{Name: name, Source: route.DeviceMessages, Condition: condition, Endpoints: endpoints, Enabled: true}
}

func names(table *route.Table, list []route.Delivery) string {
	var out []string
	for _, d := range list {
		out = append(out, table.Endpoints()[d.Endpoint])
	}
	return strings.Join(out, ",")
}

func TestWhereAMessageGoes(t *testing.T) {
	off := on("off", "true", "hot")
	off.Enabled = false
	twins := route.Route{Name: "twins", Source: route.TwinChangeEvents, Endpoints: []string{"hot"}, Enabled: true}
	two := []string{"cold", "hot"}
	for _, c := range []struct {
		name   string
		config route.Config
		source route.Source
		want   string
	}{
		{"nothing defined", route.Config{}, route.DeviceMessages, "events"},
		{"nothing defined, another source", route.Config{}, route.TwinChangeEvents, ""},
		{"no fallback", route.Config{NoFallback: true}, route.DeviceMessages, ""},
		{"one matches", route.Config{Routes: []route.Route{on("a", "level='critical'", "hot"), on("b", "level='low'", "cold")}}, route.DeviceMessages, "hot"},
		{"none matches", route.Config{Routes: []route.Route{on("b", "level='low'", "cold")}}, route.DeviceMessages, "events"},
		{"none matches, no fallback", route.Config{NoFallback: true, Routes: []route.Route{on("b", "level='low'", "cold")}}, route.DeviceMessages, ""},
		{"two to one endpoint", route.Config{Routes: []route.Route{on("a", "true", "hot", "events"), on("b", "level='critical'", "hot", "hot")}}, route.DeviceMessages, "events,hot"},
		{"disabled", route.Config{Routes: []route.Route{off}}, route.DeviceMessages, "events"},
		{"of another source", route.Config{Routes: []route.Route{twins}}, route.DeviceMessages, "events"},
		{"of this source", route.Config{Routes: []route.Route{twins}}, route.TwinChangeEvents, "hot"},
	} {
		c.config.Endpoints = two
		table := compile(t, c.config)
		m := message()
		m.Source = c.source
		got := table.Match(m, nil)
		if names(table, got) != c.want {
			t.Errorf("%s: to %q, want %q", c.name, names(table, got), c.want)
		}
		if plain := table.Plain(); plain != (len(c.config.Routes) == 0 && !c.config.NoFallback || c.name == "disabled") {
			t.Errorf("%s: plain %v", c.name, plain)
		}
		if !table.Takes(c.source) && len(got) > 0 {
			t.Errorf("%s: it takes nothing of %s", c.name, c.source)
		}
	}
}

func TestEnrichments(t *testing.T) {
	table := compile(t, route.Config{
		HubName: "contoso", Endpoints: []string{"hot", "plain"},
		Routes: []route.Route{on("a", "true", "events", "hot", "plain")},
		Enrichments: []route.Enrichment{
			{"hub", "$iothubname", []string{"events", "hot"}},
			{"site", "$twin.tags.site", []string{"hot"}},
			{"rate", "$twin.properties.desired.rate", []string{"hot"}},
			{"whole", "$twin.tags", []string{"hot"}},
			{"none", "$twin.tags.none", []string{"hot"}},
			{"level", "seen", []string{"hot"}},
		},
	})
	m := message()
	before := maps.Clone(m.Properties)
	calls := 0
	twin := m.Twin
	m.Twin = func() map[string]any { calls++; return twin() }
	got := table.Match(m, nil)
	if names(table, got) != "events,hot,plain" || calls != 1 || !reflect.DeepEqual(m.Properties, before) {
		t.Fatalf("to %s, the twin was asked %d times, the message has %v", names(table, got), calls, m.Properties)
	}
	if want := map[string]string{"level": "critical", "n": "7", "a.b": "dotted", "hub": "contoso"}; !reflect.DeepEqual(got[0].Properties, want) {
		t.Errorf("events gets %v", got[0].Properties)
	}
	want := map[string]string{
		"level": "seen", "n": "7", "a.b": "dotted", "hub": "contoso", "site": "north", "rate": "5", "whole": `{"site":"north"}`, "none": "$twin.tags.none",
	}
	if !reflect.DeepEqual(got[1].Properties, want) {
		t.Errorf("hot gets %v", got[1].Properties)
	}
	if !reflect.DeepEqual(got[2].Properties, before) {
		t.Errorf("plain gets %v", got[2].Properties)
	}
	m.Twin = nil
	if got := table.Match(m, nil); got[1].Properties["site"] != "$twin.tags.site" {
		t.Errorf("without a twin %v", got[1].Properties)
	}
	if !table.AsksForTwins() {
		t.Error("it asks for twins")
	}
}

func TestATableThatIsWrongIsRefused(t *testing.T) {
	many := func(n int) (out []string) {
		for i := range n {
			out = append(out, "e"+strings.Repeat("x", i))
		}
		return out
	}
	for _, c := range []struct {
		words  string
		config route.Config
	}{
		{"no endpoint of the hub", route.Config{Routes: []route.Route{on("a", "", "nowhere")}}},
		{"leads to no endpoint", route.Config{Routes: []route.Route{on("a", "")}}},
		{"condition of route a", route.Config{Routes: []route.Route{on("a", "x = ", "events")}}},
		{"two routes are named", route.Config{Routes: []route.Route{on("a", "", "events"), on("a", "", "events")}}},
		{"the name of route", route.Config{Routes: []route.Route{on("a b", "", "events")}}},
		{"the name of a route", route.Config{Routes: []route.Route{on("", "", "events")}}},
		{"has the source", route.Config{Routes: []route.Route{{Name: "a", Source: "Messages", Endpoints: []string{"events"}}}}},
		{"is taken by the hub", route.Config{Endpoints: []string{"Events"}}},
		{"two endpoints", route.Config{Endpoints: []string{"a", "a"}}},
		{"at most 32 endpoints", route.Config{Endpoints: many(33)}},
		{"no path into a twin", route.Config{Enrichments: []route.Enrichment{{"a", "$twin.tags[0]", []string{"events"}}}}},
		{"no path into a twin", route.Config{Enrichments: []route.Enrichment{{"a", "$twin.tags.x OR y", []string{"events"}}}}},
		{"two enrichments", route.Config{Enrichments: []route.Enrichment{{"a", "1", []string{"events"}}, {"a", "2", []string{"events"}}}}},
		{"is for no endpoint", route.Config{Enrichments: []route.Enrichment{{"a", "1", nil}}}},
		{"is no endpoint of the hub", route.Config{Enrichments: []route.Enrichment{{"a", "1", []string{"x"}}}}},
		{"has 0 bytes", route.Config{Enrichments: []route.Enrichment{{"a", "", []string{"events"}}}}},
	} {
		if _, err := route.Compile(c.config); err == nil || !strings.Contains(fault.Message(err), c.words) || fault.Next(err) == "" {
			t.Errorf("%s: %v, next %q", c.words, err, fault.Next(err))
		}
	}
}

func TestNamesAreThoseThatMatch(t *testing.T) {
	table := compile(t, route.Config{Routes: []route.Route{on("a", "true", "events"), on("b", "n='8'", "events"), on("c", "n='7'", "events")}})
	if got := table.Names(message()); !slices.Equal(got, []string{"a", "c"}) {
		t.Error(got)
	}
}

func FuzzRoute(f *testing.F) {
	f.Add("$body.temp > 70 OR $twin.tags.x = n", "$twin.tags.x", "utf-16", []byte(`{"temp":1}`), "n", "v")
	f.Add("level = 'x' AND is_defined($body.a[0].b)", "$iothubname", "utf-8", []byte(`[1,2]`), "level", "x")
	f.Add("NOT $contentType = 'application/json'", "x", "utf-32le", []byte{0xff, 0xfe, 0, 0, 1}, "", "")
	f.Fuzz(func(t *testing.T, condition, value, encoding string, body []byte, key, property string) {
		table, err := route.Compile(route.Config{
			HubName: "h", Endpoints: []string{"hot"}, NoFallback: true,
			Routes: []route.Route{on("a", condition, "hot")}, Enrichments: []route.Enrichment{{"e", value, []string{"hot"}}},
		})
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("%v", err)
			}
			return
		}
		m := &route.Message{
			Source: route.DeviceMessages, Device: "d", Body: body, Properties: map[string]string{key: property},
			System: map[string]string{"content-type": "application/json", "content-encoding": encoding}, Twin: twinOf(`{"tags":{"x":"v"}}`),
		}
		first := table.Match(m, nil)
		again := table.Match(m, nil)
		if !reflect.DeepEqual(first, again) || len(first) > 1 {
			t.Fatalf("%v, then %v", first, again)
		}
		one, err := route.Try(on("a", condition, "hot"), m)
		if err != nil || one.Matches != (len(first) == 1) || one.Matches == (one.Why != "") {
			t.Fatalf("the table says %v, the route alone %+v, %v", first, one, err)
		}
		if len(m.Properties) != 1 || m.Properties[key] != property {
			t.Fatal("the message was changed")
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	ten := func(condition string) (out []route.Route) {
		for i := range 10 {
			out = append(out, on("r"+string(rune('a'+i)), condition, "hot"))
		}
		return out
	}
	for _, c := range []struct {
		name   string
		config route.Config
	}{
		{"always", route.Config{Endpoints: []string{"hot"}, Routes: []route.Route{on("a", "true", "hot")}}},
		{"10 properties", route.Config{Endpoints: []string{"hot"}, Routes: ten("level = 'low' OR n = '8'")}},
		{"10 bodies", route.Config{Endpoints: []string{"hot"}, Routes: ten("$body.temp > 72")}},
		{"enriched", route.Config{Endpoints: []string{"hot"}, Routes: []route.Route{on("a", "true", "hot")}, Enrichments: []route.Enrichment{{"k", "$iothubname", []string{"hot"}}}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			table, err := route.Compile(c.config)
			if err != nil {
				b.Fatal(err)
			}
			m := message()
			m.System = jsonUTF8
			var to [4]route.Delivery
			b.ReportAllocs()
			for b.Loop() {
				table.Match(m, to[:0])
			}
		})
	}
}
