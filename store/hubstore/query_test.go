package hubstore_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/query"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// put makes an identity with a twin, or changes its twin.
func put(t *testing.T, s *hubstore.Store, n hubstore.Name, tags, desired, reported string) {
	t.Helper()
	err := s.Write(t.Context(), func(tx *hubstore.Tx) error {
		d := device(n.Device)
		d.Module, d.Edge, d.Scope, d.StatusReason = n.Module, false, "", ""
		if err := tx.Insert(d); err != nil && fault.KindOf(err) != fault.Conflict {
			return err
		}
		before, err := tx.Twin("h1", n)
		if err != nil {
			return err
		}
		after := before
		after.Version++
		after.Tags, after.Desired.Text, after.Reported.Text = tags, desired, reported
		return tx.SetTwin(before, after)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func parsed(t testing.TB, text string) *query.Query {
	t.Helper()
	q, err := query.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// ask returns the names a query finds, page by page.
func ask(t testing.TB, s *hubstore.Store, text string, limit int) []string {
	t.Helper()
	q, out := parsed(t, text), []string(nil)
	for after := hubstore.Place(nil); ; {
		found, next, err := s.QueryTwins(t.Context(), "h1", q, after, limit)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for _, f := range found {
			out = append(out, f.Device.Name().String())
		}
		if after = next; next == nil {
			return out
		}
		if len(found) != limit {
			t.Fatalf("%s: a page of %d, and there are more", text, len(found))
		}
	}
}

func TestQueriesFindTwins(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s := open(t, dsn)
		put(t, s, hubstore.Name{Device: "a"}, `{"floor":1,"plant":"43"}`, `{}`, `{"firmware":"1.2.3","list":[1,{"x":"y"}]}`)
		put(t, s, hubstore.Name{Device: "b"}, `{"floor":2,"plant":"43"}`, `{"every":60}`, `{"every":60}`)
		put(t, s, hubstore.Name{Device: "c"}, `{"floor":1.5,"plant":"44"}`, `{"every":60}`, `{"every":30}`)
		put(t, s, hubstore.Name{Device: "d"}, `{"'":1,"\"":2,"\\":3,"[0]":4,"a-b":5,"ü":6,"<&>":7}`, `{}`, `{}`)
		put(t, s, hubstore.Name{Device: "a", Module: "m1"}, `{"plant":"43"}`, `{}`, `{"status":"scanning"}`)
		put(t, s, hubstore.Name{Device: "a", Module: "m2"}, `{}`, `{}`, `{}`)
		put(t, s, hubstore.Name{Device: "b", Module: "m1"}, `{"plant":"43"}`, `{}`, `{}`)
		for _, c := range []struct{ where, want string }{
			{"", "a b c d"},
			{"tags.plant = '43'", "a b"},
			{"tags.plant != '43'", "c"},
			{"tags.floor >= 1.5", "b c"},
			{"1.5 <= tags.floor", "b c"},
			{"tags.floor < 2 AND tags.plant = '43'", "a"},
			{"tags.plant IN ['44', 'x']", "c"},
			{"tags.plant NIN ['44', 'x']", "a b"},
			{"NOT is_defined(tags.plant)", "d"},
			{"startswith(tags.plant, '4')", "a b c"},
			{"startswith(properties.reported.firmware, '1.2')", "a"},
			{"properties.desired.every = properties.reported.every", "b"},
			{"properties.desired.every <> properties.reported.every", "c"},
			{"properties.reported.list[1].x = 'y'", "a"},
			{"tags.['\\''] = 1", "d"}, {`tags['"'] = 2`, "d"}, {`tags['\\'] = 3`, "d"}, {"tags['[0]'] = 4", "d"}, {"tags['a-b'] = 5", "d"}, {"tags.ü = 6", "d"}, {"tags['<&>'] = 7", "d"},
			{"deviceId = 'c'", "c"}, {"DeviceId IN ['c', 'a']", "a c"}, {"status = 'enabled' AND connectionState = 'Disconnected'", "a b c d"},
			{"connectionState = 'Connected'", ""}, {"capabilities.iotEdge = false", "a b c d"}, {"is_defined(deviceScope)", ""},
			{"lastActivityTime = '0001-01-01T00:00:00'", "a b c d"}, {"statusUpdateTime = '2027-01-15T08:00:00.1230000Z'", "a b c d"}, {"statusUpdateTime > '2027'", "a b c d"},
			{"version = 3", "a b c d"}, {"properties.desired.$version = 1", "a b c d"}, {"x509Thumbprint.primaryThumbprint = 'tp'", "a b c d"},
			{"is_object(tags) AND is_object(properties) AND is_object(properties.reported) AND NOT is_defined(moduleId)", "a b c d"},
			{"no.such.thing = 1", ""}, {"configurations.[[x]].status = 'Applied'", ""}, {"cloudToDeviceMessageCount = 0", "a b c d"},
			{"(tags.plant = '43') = (tags.floor = 1)", "a c"}, {"length(tags.plant) = 2 AND contains(tags.plant, '3') AND endswith(tags.plant, '')", "a b"},
		} {
			text := "SELECT * FROM devices"
			if c.where != "" {
				text += " WHERE " + c.where
			}
			for _, limit := range []int{1, 10} {
				if got := strings.Join(ask(t, s, text, limit), " "); got != c.want {
					t.Errorf("%s: %q, want %q", text, got, c.want)
				}
			}
		}
		for text, want := range map[string]string{
			"SELECT * FROM devices.modules":                                                            "a/m1 a/m2 b/m1",
			"SELECT * FROM devices.modules WHERE tags.plant = '43'":                                    "a/m1 b/m1",
			"SELECT * FROM devices.modules WHERE properties.reported.status = 'scanning'":              "a/m1",
			"SELECT * FROM devices.modules WHERE moduleId = 'm1' AND deviceId IN ['b']":                "b/m1",
			"SELECT * FROM devices.modules WHERE moduleId = 'm1' AND is_defined(capabilities.iotEdge)": "",
		} {
			for _, limit := range []int{1, 10} {
				if got := strings.Join(ask(t, s, text, limit), " "); got != want {
					t.Errorf("%s: %q, want %q", text, got, want)
				}
			}
		}
	})
}

func TestQueriesThatCannotBeSearchedFor(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s := open(t, dsn)
		for where, says := range map[string]string{
			"etag = 'x'": "etag can be selected and cannot be searched",
			"properties.desired.$metadata.a.$lastUpdated > '2020'": "cannot be searched",
			"tags.a + 1 = 2":            "calculations are not for queries over twins",
			"tags.a-b = 2":              "calculations are not for queries over twins",
			"lower(tags.a) = 'x'":       "functions that calculate are not for queries over twins",
			"length(lower(tags.a)) = 2": "functions of anything but properties",
		} {
			_, _, err := s.QueryTwins(t.Context(), "h1", parsed(t, "SELECT * FROM devices WHERE "+where), nil, 10)
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), says) {
				t.Errorf("%s: %v", where, err)
			}
		}
	})
}

func TestQueriesCountAndGroup(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s := open(t, dsn)
		for i, tags := range []string{`{"p":"a","n":1}`, `{"p":"a","n":2.5}`, `{"p":"b","n":"x"}`, `{"p":1}`, `{"p":1.0}`, `{"p":true}`, `{"p":null}`, `{"p":{"x":1}}`, `{}`} {
			put(t, s, hubstore.Name{Device: fmt.Sprintf("d%d", i)}, tags, "{}", "{}")
		}
		for _, c := range []struct{ text, want string }{
			{"SELECT COUNT() AS n FROM devices", `{"n":9}`},
			{"SELECT COUNT() AS n FROM devices WHERE tags.p = 'a'", `{"n":2}`},
			{"SELECT COUNT() AS n FROM devices WHERE tags.p = 'z'", `{"n":0}`},
			{"SELECT COUNT() AS n FROM devices.modules", `{"n":0}`},
			{"SELECT tags.p AS p, COUNT() AS n FROM devices GROUP BY tags.p", `{"p":true,"n":1} {"p":null,"n":1} {"p":1,"n":2} {"p":"a","n":2} {"p":"b","n":1} {"n":2}`},
			{"SELECT tags.p FROM devices WHERE is_string(tags.p) GROUP BY tags.p", `{"p":"a"} {"p":"b"}`},
			{"SELECT SUM(tags.n) AS s, AVG(tags.n) AS a, MIN(tags.n) AS least, MAX(tags.n) AS most, MAX(tags.p) AS p FROM devices", `{"s":3.5,"a":1.75,"least":1,"most":2.5,"p":1}`},
			{"SELECT MIN(deviceId) AS first, MAX(deviceId) AS last, SUM(deviceId) AS s FROM devices", `{"first":"d0","last":"d8"}`},
			{"SELECT COUNT() AS n, status, connectionState AS c FROM devices GROUP BY connectionState, status", `{"n":9,"status":"enabled","c":"Disconnected"}`},
		} {
			for _, limit := range []int{1, 100} {
				var got []string
				q := parsed(t, c.text)
				for after := hubstore.Place(nil); ; {
					rows, next, err := s.QueryGroups(t.Context(), "h1", q, after, limit)
					if err != nil {
						t.Fatalf("%s: %v", c.text, err)
					}
					for _, r := range rows {
						got = append(got, string(r))
					}
					if after = next; next == nil {
						break
					}
				}
				if strings.Join(got, " ") != c.want {
					t.Errorf("%s\n got %s\nwant %s", c.text, strings.Join(got, " "), c.want)
				}
			}
		}
	})
}

// Whatever the language allows the databases must take, up to its limits.
func TestTheLargestConditionsAreAnswered(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s := open(t, dsn)
		put(t, s, hubstore.Name{Device: "a"}, `{"n":1e-400,"x":1}`, `{}`, `{}`)
		long := func(n int, first, more string) string { return first + strings.Repeat(more, n) }
		list := strings.TrimSuffix(strings.Repeat("1,", 3900), ",")
		deep := "tags.x" + strings.Repeat(".a", 30)
		for _, where := range []string{
			long(1000, "tags.x=1", " OR a=1"),
			long(600, "tags.x=1", " AND tags.x=1"),
			long(500, "tags.x=1", " OR NOT a"),
			"tags.x IN [" + list + "]",
			strings.Repeat("NOT ", 64) + "tags.x = 1",
			strings.Repeat("(", 62) + "tags.x = 1" + strings.Repeat(") = true", 62),
			strings.Repeat("(", 60) + "tags.x = 1" + strings.Repeat(" OR a) AND true", 60),
			strings.Repeat("IS_DEFINED(", 62) + "tags.x" + strings.Repeat(")", 62),
			strings.Repeat("(", 60) + "tags.x = 1" + strings.Repeat(") IN [true, 1]", 60),
			"tags.x = 1 OR (" + strings.Repeat("(", 60) + "a = b" + strings.Repeat(") = tags.b", 60) + ")",
			"NOT is_defined(" + deep + ")" + strings.Repeat(" AND NOT "+deep+" = "+deep, 30) + " OR tags.x = 1",
			"tags.x = 1 OR tags.y = '" + strings.Repeat("é", 4000) + "'",
			"tags.n < 1 AND tags.n >= 0 AND tags.n != 1",
		} {
			text := "SELECT * FROM devices WHERE " + where
			if got := ask(t, s, text, 10); len(got) != 1 {
				t.Errorf("%.100s: %v", text, got)
			}
		}
		for _, text := range []string{"SELECT SUM(tags.n) AS n FROM devices", "SELECT tags.n, COUNT() AS n2 FROM devices GROUP BY tags.n"} {
			if _, _, err := s.QueryGroups(t.Context(), "h1", parsed(t, text), nil, 10); err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
	})
}
