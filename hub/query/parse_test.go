package query_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/query"
)

// Each is read and written again; want is empty where text is written as it was read.
var accepted = []struct{ text, want string }{
	{"SELECT * FROM devices", ""},
	{"  select\t*\nFROM Devices ", "SELECT * FROM devices"},
	{"SELECT TOP 5 * FROM devices.modules", ""},
	{"SELECT deviceId, lastActivityTime FROM devices", "SELECT deviceId AS 'deviceId', lastActivityTime AS 'lastActivityTime' FROM devices"},
	{"SELECT tags.location.plant AS p, tags['a b'] as [[c d]] FROM devices", "SELECT tags.location.plant AS 'p', tags['a b'] AS 'c d' FROM devices"},
	{"SELECT COUNT() as n, SUM(tags.x), avg(tags.x) FROM devices", "SELECT COUNT() AS 'n', SUM(tags.x) AS '$2', AVG(tags.x) AS '$3' FROM devices"},
	{"SELECT count(*) FROM devices", "SELECT COUNT() AS '$1' FROM devices"},
	{"SELECT properties.reported.s AS status, COUNT() AS n FROM devices GROUP BY properties.reported.s",
		"SELECT properties.reported.s AS 'status', COUNT() AS 'n' FROM devices GROUP BY properties.reported.s"},
	{"SELECT * FROM devices.jobs WHERE devices.jobs.deviceId = 'd' AND devices.jobs.status <> 'completed'", "SELECT * FROM devices.jobs WHERE deviceId = 'd' AND status != 'completed'"},
	{"SELECT d.deviceId FROM devices AS d WHERE d.tags.x = 1", "SELECT deviceId AS 'deviceId' FROM devices WHERE tags.x = 1"},
	{"SELECT * FROM devices d WHERE D.status = 'enabled'", "SELECT * FROM devices WHERE status = 'enabled'"},
	{"SELECT * FROM devices WHERE devices.devices.x = 1", "SELECT * FROM devices WHERE devices.devices.x = 1"},
	{"SELECT * FROM devices.modules WHERE devices.modules.moduleId = '$edgeAgent' AND configurations.[[a-b.c]].status = 'Applied'",
		"SELECT * FROM devices.modules WHERE moduleId = '$edgeAgent' AND configurations['a-b.c'].status = 'Applied'"},
	{"SELECT * FROM devices WHERE properties.desired.$version = properties.reported.lastDesiredVersion", ""},
}

var conditions = []struct{ text, want string }{
	{"", "*"},
	{" * ", "*"},
	{"tags.location.region = 'US'", ""},
	{"a = 1 or b = 2 and not c = 3", "a = 1 OR b = 2 AND NOT c = 3"},
	{"(a = 1 or b = 2) and c = 3", "(a = 1 OR b = 2) AND c = 3"},
	{"((a) OR b) OR (c OR d)", "a OR b OR c OR d"},
	{"NOT (a AND b)", ""},
	{"not not a", "NOT NOT a"},
	{"NOT a = 1", ""},
	{"(NOT a) = 1", ""},
	{"a IN ['x', \"y\", 1, -2.5, 0x10, true, null]", "a IN ['x', 'y', 1, -2.5, 16, true, null]"},
	{"a NOT IN ('x')", "a NIN ['x']"},
	{"a nin ['x']", "a NIN ['x']"},
	{"is_defined(a.b) and starts_with(a, 'x') and STARTSWITH(a,'x')", "IS_DEFINED(a.b) AND STARTSWITH(a, 'x') AND STARTSWITH(a, 'x')"},
	{"as_number(severity) <= 2", "AS_NUMBER(severity) <= 2"},
	{"$body.Weather.Temperature = 50 AND $twin.tags.x[0].y = \"z\"", "$body.Weather.Temperature = 50 AND $twin.tags.x[0]['y'] = 'z'"},
	{"$connectionDeviceId = 'a' AND $dt-subject = 'b' AND {$.processing path} = 'hot'", "$connectionDeviceId = 'a' AND ['$dt-subject'] = 'b' AND ['processing path'] = 'hot'"},
	{"{$body.x} > 1", "$body.x > 1"},
	{"['true'] = true", ""},
	{"[[and]] = 1", "['and'] = 1"},
	{"tags.and = 1 AND tags.43 = 2", "tags.and = 1 AND tags['43'] = 2"},
	{`a = 'it''s' OR a = 'it\'s' OR a = "it's"`, `a = 'it\'s' OR a = 'it\'s' OR a = 'it\'s'`},
	{`a = '\u00e9\n\ud83d\ude00 \ud800'`, "a = 'é\\u000a😀 \ufffd'"},
	{"a + 2 * b - -3 > -(c / 4) % 5", "a + 2 * b - -3 > -(c / 4) % 5"},
	{"(a + b) * (c - (d - e)) = 1", ""},
	{"a - (b - c) - d = 1", ""},
	{"- -5 = a", "5 = a"},
	{"a = undefined", ""},
	{"true", ""},
	{"größe.ü = 1", ""},
	{"1e3 < a AND 1.5E-3 < a", "1000 < a AND 0.0015 < a"},
}

func TestAcceptedQueries(t *testing.T) {
	for _, c := range accepted {
		q, err := query.Parse(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if c.want == "" {
			c.want = c.text
		}
		if q.String() != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.text, q, c.want)
		}
		again, err := query.Parse(q.String())
		if err != nil || !reflect.DeepEqual(q, again) {
			t.Errorf("%s read again is %+v, not %+v: %v", q, again, q, err)
		}
	}
}

func TestAcceptedConditions(t *testing.T) {
	for _, c := range conditions {
		got, err := query.ParseCondition(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if c.want == "" {
			c.want = c.text
		}
		if got.String() != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.text, got, c.want)
		}
		again, err := query.ParseCondition(got.String())
		if err != nil || !reflect.DeepEqual(got, again) {
			t.Errorf("%s read again is %s: %v", got, again, err)
		}
	}
}

func TestRefusedQueries(t *testing.T) {
	for _, c := range []struct{ text, says string }{
		{"", "at character 1 of the query: SELECT is expected and the end is found"},
		{"SELECT FROM devices", "FROM is expected"},
		{"SELECT * FORM devices", `at character 10 of the query: FROM is expected and "FORM" is found`},
		{"SELECT * FROM twins", "there is no collection twins"},
		{"SELECT * FROM devices[0]", "there is no collection"},
		{"SELECT * FROM devices WHERE", "at character 28 of the query: a property, a value or a function is expected and the end is found"},
		{"SELECT * FROM devices WHERE größe == 1", `at character 35 of the query: '=' means nothing here`},
		{"SELECT * FROM devices WHERE a = 'x", "at character 33 of the query: the string is not closed by '"},
		{`SELECT * FROM devices WHERE a = '\d'`, "a backslash must be followed by"},
		{`SELECT * FROM devices WHERE a = '\u0000'`, "zero character"},
		{"SELECT * FROM devices WHERE a = 1.2.3", `"1.2.3" is no number`},
		{"SELECT * FROM devices WHERE a = 1e999", "is no number"},
		{"SELECT * FROM devices WHERE a = 1_000", "is no number"},
		{"SELECT * FROM devices WHERE a = b = c", "a comparison cannot be compared"},
		{"SELECT * FROM devices WHERE a IN tags.list", "a list of values in brackets is expected"},
		{"SELECT * FROM devices WHERE a IN [b]", "the values of a list are"},
		{"SELECT * FROM devices WHERE a IN []", "a property, a value or a function is expected"},
		{"SELECT * FROM devices WHERE a IN ['x'", "] is expected and the end is found"},
		{"SELECT * FROM devices WHERE a NOT LIKE 'x'", "IN after NOT is expected"},
		{"SELECT * FROM devices WHERE a LIKE 'x'", "the end is expected"},
		{"SELECT * FROM devices ORDER BY deviceId", "the end is expected"},
		{"SELECT * FROM devices WHERE foo(a)", "there is no function foo"},
		{"SELECT * FROM devices WHERE IS_DEFINED()", "IS_DEFINED takes one argument, not 0"},
		{"SELECT * FROM devices WHERE LENGTH(a, b)", "LENGTH takes one argument, not 2"},
		{"SELECT * FROM devices WHERE SUBSTRING(a)", "SUBSTRING takes 2 to 3 arguments, not 1"},
		{"SELECT * FROM devices WHERE a.b(1)", "a property cannot be called"},
		{"SELECT * FROM devices WHERE a. = 1", "a name after the dot is expected"},
		{"SELECT * FROM devices WHERE a[-1] = 1", "a name in quotes or a whole number is expected"},
		{"SELECT * FROM devices WHERE a[1.5] = 1", "a name in quotes or a whole number is expected"},
		{"SELECT * FROM devices WHERE ['a' = 1", "] is expected"},
		{"SELECT * FROM devices WHERE [[a] = 1", "[[ is not closed by ]]"},
		{"SELECT * FROM devices WHERE {a..b} = 1", "a name between the dots is empty"},
		{"SELECT * FROM devices WHERE a = 1 b = 2", "the end is expected"},
		{"SELECT * FROM devices; SELECT", "';' means nothing here"},
		{"SELECT TOP 0 * FROM devices", "a whole number above 0"},
		{"SELECT TOP 1.5 * FROM devices", "a whole number above 0"},
		{"SELECT TOP x * FROM devices", "a whole number above 0"},
		{"SELECT * FROM devices GROUP BY tags.x", "SELECT * and GROUP BY do not go together"},
		{"SELECT deviceId, COUNT() FROM devices", "deviceId is selected beside aggregates"},
		{"SELECT tags.x, tags.y.x FROM devices", `two columns of the result are called "x"`},
		{"SELECT LENGTH(tags.x) FROM devices", "LENGTH is no function that can be selected"},
		{"SELECT COUNT() AS FROM devices", "FROM is expected"},
		{"SELECT SUM() FROM devices", "a property is expected"},
		{"SELECT COUNT() FROM devices GROUP BY a, b, c, d, e, f, g, h, i", "more than 8 properties"},
		{"SELECT * FROM devices WHERE " + strings.Repeat("(", 65) + "a" + strings.Repeat(")", 65), "nested more than 64 levels deep"},
		{"SELECT * FROM devices WHERE " + strings.Repeat("NOT ", 65) + "a", "nested more than 64 levels deep"},
		{"SELECT * FROM devices WHERE 1" + strings.Repeat("+1", 65) + " = a", "more than 64 calculations in a row"},
		{"SELECT * FROM devices WHERE a" + strings.Repeat(".a", 33) + " = 1", "more than 32 steps"},
		{"SELECT * FROM devices WHERE a = '\xff'", "no text in UTF-8"},
		{"SELECT * FROM devices WHERE {a\x00} = 1", "a zero character"},
		{strings.Repeat(" ", 8193), "the query has 8193 bytes, 8192 are allowed"},
	} {
		q, err := query.Parse(c.text)
		if err == nil {
			t.Errorf("%s is taken as %s", c.text, q)
		} else if kind := fault.KindOf(err); kind != fault.Invalid && kind != fault.TooLarge || !strings.Contains(fault.Message(err), c.says) {
			t.Errorf("%.80s\n got %v %s\nwant %s", c.text, kind, fault.Message(err), c.says)
		}
	}
	for _, c := range []struct{ text, advice string }{
		{"SELECT * FROM devices ORDER BY deviceId", "there is no ORDER BY"},
		{"SELECT * FROM devices WHERE a LIKE 'x%'", "STARTSWITH"},
		{"SELECT * FROM devices WHERE a == 1", "operators are ="},
		{"SELECT * FROM devices WHERE tags.a#b = 1", "tags.['my property']"},
	} {
		if _, err := query.Parse(c.text); !strings.Contains(fault.Next(err), c.advice) {
			t.Errorf("%s: the advice is %q", c.text, fault.Next(err))
		}
	}
}

func TestLongConditionsStayLow(t *testing.T) {
	c, err := query.ParseCondition("a=1" + strings.Repeat(" OR a=1", 1000))
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := c.Expr().(query.Or); !ok || len(o.Parts) != 1001 {
		t.Errorf("it is %T", c.Expr())
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range accepted {
		f.Add(c.text)
	}
	for _, c := range conditions {
		f.Add("SELECT * FROM devices WHERE " + c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := query.Parse(text)
		if err != nil {
			if k := fault.KindOf(err); k != fault.Invalid && k != fault.TooLarge || fault.Message(err) == "" {
				t.Fatalf("the error is %v", err)
			}
			return
		}
		q.Condition().Holds(func(path []string) (any, bool) { return path[0], len(path)%2 == 0 })
		written := q.String()
		if len(written) > query.MaxText {
			return
		}
		again, err := query.Parse(written)
		if err != nil {
			t.Fatalf("%q is written as %q, which is refused: %v", text, written, err)
		}
		if !reflect.DeepEqual(q, again) {
			t.Fatalf("%q is written as %q, which is read as %q", text, written, again)
		}
	})
}

func FuzzParseCondition(f *testing.F) {
	for _, c := range conditions {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := query.ParseCondition(text)
		if err != nil || len(c.String()) > query.MaxText {
			return
		}
		again, err := query.ParseCondition(c.String())
		if err != nil || !reflect.DeepEqual(c, again) {
			t.Fatalf("%q is written as %q, which is read as %q: %v", text, c, again, err)
		}
	})
}
