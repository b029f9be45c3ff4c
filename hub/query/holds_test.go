package query_test

import (
	"encoding/json"
	"testing"

	"github.com/isthmus-io/isthmus/hub/query"
)

const twin = `{"deviceId":"d1","version":7,"status":"enabled","capabilities":{"iotEdge":false},
	"tags":{"plant":"43","floor":2,"on":true,"off":false,"none":null,"list":[1,{"x":"y"}],"empty":"","my key":"k","Plant":"other","größe":"ÄÖ"},
	"properties":{"desired":{"$version":3,"every":60},"reported":{"every":60,"firmware":"1.2.3","config":{"a":1}}}}`

func TestConditionsHold(t *testing.T) {
	var doc map[string]any
	if err := json.Unmarshal([]byte(twin), &doc); err != nil {
		t.Fatal(err)
	}
	const yes, no, unknown = "true", "false", "undefined"
	for _, c := range []struct{ text, want string }{
		{"tags.plant = '43'", yes}, {"tags.plant = '44'", no}, {"tags.plant != '44'", yes}, {"tags.absent = '43'", unknown}, {"tags.absent != '43'", unknown},
		{"tags.plant = 43", no}, {"tags.plant != 43", yes}, {"tags.plant < 43", unknown}, {"tags.Plant = 'other'", yes}, {"DeviceID = 'd1'", yes},
		{"tags.floor = 2", yes}, {"tags.floor = 2.0", yes}, {"tags.floor = 0x2", yes}, {"tags.floor > 1", yes}, {"tags.floor >= 3", no}, {"tags.floor < -1", no},
		{"tags.plant > '42'", yes}, {"tags.plant <= '5'", yes},
		{"tags.none = null", yes}, {"tags.plant = null", no}, {"tags.plant != null", yes}, {"tags.absent != null", unknown}, {"tags.none != null", no},
		{"tags.list = 1", no}, {"tags.list = tags.list", unknown}, {"tags.list != null", yes}, {"properties.reported.config = properties.reported.config", unknown},
		{"properties.desired.every = properties.reported.every", yes}, {"properties.desired.every = properties.reported.firmware", no},
		{"tags.on", yes}, {"tags.off", no}, {"tags.plant", unknown}, {"tags.absent", unknown}, {"tags.on = true", yes}, {"tags.on > tags.off", unknown},
		{"NOT tags.off", yes}, {"NOT tags.absent", unknown}, {"NOT tags.plant", unknown}, {"NOT tags.plant = '44'", yes},
		{"tags.absent = 1 OR tags.on", yes}, {"tags.absent = 1 OR tags.off", unknown}, {"tags.absent = 1 AND tags.on", unknown}, {"tags.absent = 1 AND tags.off", no},
		{"tags.plant IN ['42', '43']", yes}, {"tags.plant IN [42, 43]", no}, {"tags.plant NIN ['42']", yes}, {"tags.absent NIN ['42']", unknown}, {"tags.none IN [1, null]", yes},
		{"(tags.plant = '43') = true", yes}, {"(tags.absent = 1) = true", unknown},
		{"is_defined(tags.none)", yes}, {"is_defined(tags.absent)", no}, {"is_defined(tags.plant.x)", no}, {"is_defined(tags)", yes}, {"NOT is_defined(tags.absent)", yes},
		{"is_null(tags.none)", yes}, {"is_null(tags.absent)", no}, {"is_bool(tags.on)", yes}, {"is_boolean(tags.plant)", no}, {"is_number(tags.floor)", yes}, {"is_string(tags.plant)", yes},
		{"is_array(tags.list)", yes}, {"is_object(tags)", yes}, {"is_primitive(tags.none)", yes}, {"is_primitive(tags)", no}, {"is_primitive(tags.absent)", no},
		{"startswith(properties.reported.firmware, '1.2')", yes}, {"starts_with(properties.reported.firmware, '2')", no}, {"startswith(tags.floor, '2')", unknown},
		{"endswith(properties.reported.firmware, '.3')", yes}, {"contains(properties.reported.firmware, '.2.')", yes}, {"contains(tags.empty, '')", yes}, {"contains(tags.absent, '')", unknown},
		{"length(tags.plant) = 2", yes}, {"length(tags.größe) = 2", yes}, {"length(tags.floor) = 1", unknown}, {"lower(tags.größe) = 'äö'", yes}, {"upper('a') = 'A'", yes},
		{"concat(tags.plant, '-', deviceId) = '43-d1'", yes}, {"concat(tags.plant, tags.floor) = '432'", unknown},
		{"substring('héllo', 1, 3) = 'éll'", yes}, {"substring('héllo', 3) = 'lo'", yes}, {"substring('abc', 5) = ''", yes}, {"substring('abc', -1, 1) = 'a'", yes}, {"substring('abc', 3, 1) = ''", yes},
		{"index_of('héllo', 'l') = 2", yes}, {"index_of('abc', 'x') = -1", yes}, {"index_of('abc', '') = 0", yes},
		{"as_number(tags.plant) = 43", yes}, {"as_number('x') = 1", unknown}, {"as_number('nan') = 1", unknown}, {"as_number(2) = 2", yes},
		{"abs(-2) = 2 AND ceiling(1.2) = 2 AND floor(-1.2) = -2 AND sign(-9) = -1 AND sign(0) = 0 AND square(3) = 9 AND sqrt(9) = 3 AND power(2, 3) = 8 AND exp(0) = 1", yes},
		{"sqrt(-1) = 0", unknown}, {"exp(1000) > 1", unknown}, {"1 / 0 > 1", unknown}, {"5 % 3 = 2", yes}, {"2 + 3 * 4 - 1 = 13", yes}, {"'a' + 1 = 2", unknown}, {"-tags.floor = -2", yes},
		{"tags.list[0] = 1", yes}, {"tags.list[1].x = 'y'", yes}, {"tags.list[2] = 1", unknown}, {"tags.plant[0] = 1", unknown}, {"tags.['my key'] = 'k'", yes}, {"tags.[[my key]] = 'k'", yes},
		{"properties.desired.$version = 3", yes}, {"capabilities.iotEdge = false", yes}, {"undefined", unknown}, {"undefined = undefined", unknown}, {"null", unknown}, {"'true'", unknown},
		{"", yes}, {"*", yes},
	} {
		cond, err := query.ParseCondition(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		got := no
		get := query.Document(doc)
		if cond.Holds(get) {
			got = yes
		} else if not, err := query.ParseCondition("NOT (" + c.text + ")"); err != nil {
			t.Error(err)
		} else if !not.Holds(get) {
			got = unknown
		}
		if got != c.want {
			t.Errorf("%s is %s, want %s", c.text, got, c.want)
		}
	}
}

// A route is judged for every message of every device.
func BenchmarkHolds(b *testing.B) {
	c, err := query.ParseCondition("level = 'alert' AND $body.temperature > 30 AND NOT $twin.tags.plant IN ['42', '44']")
	if err != nil {
		b.Fatal(err)
	}
	values := map[string]any{"level": "alert", "$body": 31.0, "$twin": "43"}
	get := func(path []string) (any, bool) { v, ok := values[path[0]]; return v, ok }
	b.ReportAllocs()
	for b.Loop() {
		if !c.Holds(get) {
			b.Fatal("it does not hold")
		}
	}
}
