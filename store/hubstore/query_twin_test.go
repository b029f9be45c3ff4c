package hubstore_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/hub/query"
	"github.com/isthmus-io/isthmus/hub/twin"
	"github.com/isthmus-io/isthmus/store/database/databasetest"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

var (
	long      = strings.Repeat("é", 63)
	someKeys  = []string{"a", "b", "é", "x-y", `q"'`, `\`}
	someTexts = []string{"", "a", "ab", "b", "é", `'"\`, "1", "true", "null", "\ud7ff", "\ue000", "\U0010ffff", "\U0010ffffz", long, long + "a", long + "ab", long + "ac", long + "b", long + "é"}
	// As texts, because a twin keeps how a number was written.
	someNumbers = []string{"0", "-0", "1", "1.0", "1e0", "2", "-1", "1.5", "0.1", "4503599627370495", "-4503599627370496", "1e300", "1e-300", "1.7976931348623157e308", "5e-324"}
)

func drawKey(t *rapid.T) string  { return rapid.SampledFrom(someKeys).Draw(t, "key") }
func drawText(t *rapid.T) string { return rapid.SampledFrom(someTexts).Draw(t, "text") }

func quoted(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s)
	return strings.TrimSpace(b.String())
}

// drawValue makes a JSON value, canonical as twins are.
func drawValue(t *rapid.T, depth int) string {
	switch rapid.IntRange(0, 9).Draw(t, "sort") {
	case 0:
		return "null"
	case 1:
		return "true"
	case 2:
		return "false"
	case 3, 4:
		return rapid.SampledFrom(someNumbers).Draw(t, "number")
	case 5, 6, 7:
		return quoted(drawText(t))
	case 8:
		if depth > 2 {
			return "[]"
		}
		n := rapid.IntRange(0, 2).Draw(t, "items")
		list := make([]string, n)
		for i := range list {
			list[i] = drawValue(t, depth+1)
		}
		return "[" + strings.Join(list, ",") + "]"
	}
	if depth > 2 {
		return "{}"
	}
	return drawObject(t, depth+1)
}

func drawObject(t *rapid.T, depth int) string {
	members := map[string]string{}
	for range rapid.IntRange(0, 4).Draw(t, "members") {
		members[drawKey(t)] = drawValue(t, depth)
	}
	var out []string
	for k, v := range members {
		out = append(out, quoted(k)+":"+v)
	}
	sort.Strings(out)
	return "{" + strings.Join(out, ",") + "}"
}

func drawPath(t *rapid.T) query.Path {
	roots := [][]string{{"tags"}, {"tags"}, {"properties", "reported"}, {"properties", "desired"}}
	p := query.Path{Keys: slices.Clone(rapid.SampledFrom(roots).Draw(t, "root"))}
	switch rapid.IntRange(0, 19).Draw(t, "odd") {
	case 0:
		return query.Path{Keys: []string{rapid.SampledFrom([]string{"deviceId", "status", "absent", "moduleId", "version", "capabilities"}).Draw(t, "root")}}
	case 1:
		return p // the whole
	case 2:
		return query.Path{Keys: []string{"properties", "desired", "$version"}}
	}
	for range rapid.SampledFrom([]int{1, 1, 1, 2}).Draw(t, "keys") {
		p.Keys = append(p.Keys, drawKey(t))
	}
	if rapid.IntRange(0, 9).Draw(t, "indexed") == 0 {
		p.Rest = []query.Step{{Index: rapid.IntRange(0, 1).Draw(t, "index")}}
		if rapid.Bool().Draw(t, "more") {
			p.Rest = append(p.Rest, query.Step{Key: drawKey(t)})
		}
	}
	return p
}

func drawLiteral(t *rapid.T) query.Literal {
	switch rapid.IntRange(0, 5).Draw(t, "literal") {
	case 0:
		return query.Literal{}
	case 1:
		return query.Literal{Value: rapid.Bool().Draw(t, "truth")}
	case 2, 3:
		var n float64
		_ = json.Unmarshal([]byte(rapid.SampledFrom(someNumbers).Draw(t, "number")), &n)
		return query.Literal{Value: n}
	}
	return query.Literal{Value: drawText(t)}
}

func drawOperand(t *rapid.T, depth int) query.Expr {
	switch rapid.IntRange(0, 11).Draw(t, "operand") {
	case 0:
		return query.Undefined{}
	case 1:
		return query.Call{Name: "LENGTH", Args: []query.Expr{drawPath(t)}}
	case 2:
		return drawCondition(t, depth+1)
	case 3, 4, 5, 6:
		return drawLiteral(t)
	}
	return drawPath(t)
}

func drawCondition(t *rapid.T, depth int) query.Expr {
	most := 11
	if depth > 3 {
		most = 6
	}
	switch rapid.IntRange(0, most).Draw(t, "condition") {
	case 0:
		return drawPath(t)
	case 1, 2, 3:
		op := rapid.SampledFrom([]query.Operator{query.Equal, query.Equal, query.NotEqual, query.Less, query.LessOrEqual, query.Greater, query.GreaterOrEqual}).Draw(t, "op")
		if rapid.Bool().Draw(t, "plain") {
			return query.Compare{Op: op, Left: drawPath(t), Right: drawLiteral(t)}
		}
		return query.Compare{Op: op, Left: drawOperand(t, depth+1), Right: drawOperand(t, depth+1)}
	case 4:
		in := query.In{X: drawOperand(t, depth+1), Not: rapid.Bool().Draw(t, "not")}
		for range rapid.IntRange(1, 4).Draw(t, "values") {
			in.List = append(in.List, drawLiteral(t))
		}
		return in
	case 5:
		f := rapid.SampledFrom([]string{"IS_DEFINED", "IS_NULL", "IS_BOOL", "IS_NUMBER", "IS_STRING", "IS_ARRAY", "IS_OBJECT", "IS_PRIMITIVE"}).Draw(t, "function")
		return query.Call{Name: f, Args: []query.Expr{drawOperand(t, depth+1)}}
	case 6:
		f := rapid.SampledFrom([]string{"STARTSWITH", "ENDSWITH", "CONTAINS"}).Draw(t, "function")
		return query.Call{Name: f, Args: []query.Expr{drawPath(t), drawLiteral(t)}}
	case 7:
		return query.Not{X: drawCondition(t, depth+1)}
	}
	parts := make([]query.Expr, rapid.IntRange(2, 3).Draw(t, "parts"))
	for i := range parts {
		parts[i] = drawCondition(t, depth+1)
	}
	if most == 11 && rapid.Bool().Draw(t, "and") {
		return query.And{Parts: parts}
	}
	return query.Or{Parts: parts}
}

// drawSearch makes conditions that the index helps with, which are rare among those above.
func drawSearch(t *rapid.T) query.Expr {
	paths := [][]string{{"tags", "a"}, {"tags", "b"}, {"tags", "a"}, {"tags", "a", "b"}, {"properties", "reported", "a"}, {"properties", "reported", "b"}, {"properties", "desired", "b", "a"}}
	var parts []query.Expr
	for range rapid.IntRange(1, 3).Draw(t, "parts") {
		p := query.Path{Keys: rapid.SampledFrom(paths).Draw(t, "path")}
		l := drawLiteral(t)
		if rapid.Bool().Draw(t, "text") {
			l.Value = drawText(t)
		}
		op := rapid.SampledFrom([]query.Operator{query.Equal, query.Less, query.LessOrEqual, query.Greater, query.GreaterOrEqual}).Draw(t, "op")
		switch rapid.IntRange(0, 9).Draw(t, "sort") {
		case 0, 1:
			parts = append(parts, query.In{X: p, List: []query.Literal{l, drawLiteral(t), drawLiteral(t)}})
		case 2, 3, 4:
			parts = append(parts, query.Call{Name: "STARTSWITH", Args: []query.Expr{p, query.Literal{Value: drawText(t)}}})
		case 5:
			parts = append(parts, query.Compare{Op: op, Left: l, Right: p})
		case 6:
			parts = append(parts, drawCondition(t, 2))
		default:
			parts = append(parts, query.Compare{Op: op, Left: p, Right: l})
		}
	}
	if len(parts) == 1 {
		return parts[0]
	}
	if rapid.IntRange(0, 4).Draw(t, "or") == 0 {
		return query.Or{Parts: parts}
	}
	return query.And{Parts: parts}
}

// world is a hub of a few twins, in the database and as documents.
type world struct {
	hub   string
	names []hubstore.Name
	docs  []map[string]any
}

func drawWorld(t *rapid.T, s *hubstore.Store, hub string) world {
	w := world{hub: hub}
	ctx := t.Context()
	declare := func(text string) {
		p, err := query.ParsePath(text)
		if err == nil {
			err = s.DeclareIndex(ctx, hub, p)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	declare("properties.reported.a")
	declare("properties.desired.b.a")
	rounds := rapid.IntRange(1, 2).Draw(t, "rounds")
	for round := range rounds {
		w.names, w.docs = nil, nil
		err := s.Write(ctx, func(tx *hubstore.Tx) error {
			for i := range 5 {
				d := device(fmt.Sprintf("d%d", i))
				d.Hub, d.Edge, d.StatusReason, d.Scope = hub, false, "", ""
				if round == 0 {
					if err := tx.Insert(d); err != nil {
						return err
					}
				}
				before, err := tx.Twin(hub, d.Name())
				if err != nil {
					return err
				}
				after := before
				after.Document = twin.Document{
					Version: before.Version + 1, Tags: drawObject(t, 1),
					Desired:  twin.Part{Text: drawObject(t, 1), Meta: "[]", Version: 2 + int64(i)},
					Reported: twin.Part{Text: drawObject(t, 1), Meta: "[]", Version: 3},
				}
				if err := tx.SetTwin(before, after); err != nil {
					return err
				}
				doc, err := documentOf(d, after)
				if err != nil {
					return err
				}
				w.names, w.docs = append(w.names, d.Name()), append(w.docs, doc)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			declare(`properties.reported.b`)
			declare(`properties.reported['q"\'']`)
		}
	}
	return w
}

func documentOf(d hubstore.Device, tw hubstore.Twin) (map[string]any, error) {
	text := fmt.Sprintf(`{"deviceId":%q,"status":"enabled","version":%d,"capabilities":{"iotEdge":false},"tags":%s,"properties":{"desired":%s,"reported":%s}}`,
		d.ID, tw.Version, tw.Tags, tw.Desired.Text, tw.Reported.Text)
	var doc map[string]any
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return nil, err
	}
	desired, _ := doc["properties"].(map[string]any)["desired"].(map[string]any)
	desired["$version"] = tw.Desired.Version
	return doc, nil
}

// What the SQL of both databases finds must be what the plain evaluator says of each document.
func TestSQLAgreesWithTheEvaluator(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s := open(t, dsn)
		hubs := 0
		rapid.Check(t, func(t *rapid.T) {
			hubs++
			w := drawWorld(t, s, fmt.Sprintf("hub%d", hubs))
			for i := range 24 {
				x := drawSearch(t)
				if i%2 == 0 {
					x = drawCondition(t, 0)
				}
				c, err := query.ParseCondition(query.String(x))
				if err != nil {
					t.Fatal(err)
				}
				var want, got []string
				for i, n := range w.names {
					if c.Holds(query.Document(w.docs[i])) {
						want = append(want, n.Device)
					}
				}
				err = s.QueryNames(t.Context(), w.hub, c, false, func(n hubstore.Name) error { got = append(got, n.Device); return nil })
				if err != nil {
					t.Fatalf("%s: %v", c, err)
				}
				if !slices.Equal(got, want) {
					t.Fatalf("%s finds %v, want %v", c, got, want)
				}
			}
			w.checkGroups(t, s)
		})
		again := databasetest.Raw(t, dsn)
		compareTerms(t, s, hubs, func(hub string) []string {
			rows, err := again.QueryContext(t.Context(), "SELECT path, kind, device, CASE WHEN kind = 'number' THEN '' ELSE text END, number FROM twin_terms WHERE hub = '"+hub+"' ORDER BY 1, 3")
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			var out []string
			for rows.Next() {
				var path, kind, device, text string
				var number any
				if err := rows.Scan(&path, &kind, &device, &text, &number); err != nil {
					t.Fatal(err)
				}
				out = append(out, fmt.Sprint(path, " ", kind, " ", device, " ", text, " ", number))
			}
			if err := rows.Err(); err != nil {
				t.Fatal(err)
			}
			return out
		})
	})
}

// The terms that writing kept in step must be those that declaring the index anew makes.
func compareTerms(t *testing.T, s *hubstore.Store, hubs int, terms func(hub string) []string) {
	t.Helper()
	for i := max(1, hubs-20); i <= hubs; i++ {
		hub := fmt.Sprintf("hub%d", i)
		before := terms(hub)
		paths, err := s.Indexes(t.Context(), hub)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			path := query.Path{Keys: strings.Split(p, ".")}
			if err := s.DropIndex(t.Context(), hub, path); err != nil {
				t.Fatal(err)
			}
			if err := s.DeclareIndex(t.Context(), hub, path); err != nil {
				t.Fatal(err)
			}
		}
		if after := terms(hub); !slices.Equal(before, after) {
			t.Errorf("%s: the terms are\n%s\nand should be\n%s", hub, strings.Join(before, "\n"), strings.Join(after, "\n"))
		}
	}
}

func (w world) checkGroups(t *rapid.T, s *hubstore.Store) {
	p := drawPath(t)
	q, err := query.Parse("SELECT " + p.String() + " AS k, COUNT() AS n, MIN(tags.a) AS low, MAX(tags.a) AS high FROM devices GROUP BY " + p.String())
	if err != nil {
		t.Fatal(err)
	}
	type group struct {
		n         int
		low, high any
	}
	want := map[any]*group{}
	for _, doc := range w.docs {
		get := query.Document(doc)
		var key any = "undefined"
		switch v, ok := p.Value(get); v := v.(type) {
		case string:
			key = "=" + v
		case float64:
			key = v + 0
		case int64:
			key = float64(v)
		case bool:
			key = v
		case nil:
			if ok {
				key = nil
			}
		}
		g := want[key]
		if g == nil {
			g = &group{}
			want[key] = g
		}
		g.n++
		v, _ := query.Path{Keys: []string{"tags", "a"}}.Value(get)
		g.low, g.high = least(g.low, v, -1), least(g.high, v, 1)
	}
	for after := hubstore.Place(nil); ; {
		rows, next, err := s.QueryGroups(t.Context(), w.hub, q, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			var row map[string]any
			if err := json.Unmarshal(r, &row); err != nil {
				t.Fatalf("%s: %v", r, err)
			}
			key, ok := row["k"]
			if text, is := key.(string); is {
				key = "=" + text
			} else if !ok {
				key = "undefined"
			}
			g := want[key]
			if g == nil || float64(g.n) != row["n"] || g.low != row["low"] || g.high != row["high"] {
				t.Fatalf("%s: group %s, want %+v", q, r, g)
			}
			delete(want, key)
		}
		if after = next; next == nil {
			break
		}
	}
	if len(want) > 0 {
		t.Fatalf("%s: groups %v are missing", q, want)
	}
}

// least is MIN and MAX: of numbers where there are any, else of texts.
func least(a, b any, sign int) any {
	an, aNumber := a.(float64)
	bn, bNumber := b.(float64)
	at, aText := a.(string)
	bt, bText := b.(string)
	switch {
	case aNumber && bNumber:
		if (bn-an)*float64(sign) > 0 {
			return b
		}
		return a
	case aNumber || !bNumber && !bText:
		return a
	case bNumber || !aText:
		return b
	}
	if strings.Compare(bt, at)*sign > 0 {
		return b
	}
	return a
}
