package eventhubs

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

func encoded(t testing.TB, m *amqp.Message) []byte {
	t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// as is how the service gives an event, at sequence number 7.
func as(pairs ...amqp.Pair) amqp.Map {
	return append(amqp.Map{
		{Key: amqp.Symbol(sequenceNumber), Value: int64(7)}, {Key: amqp.Symbol("x-opt-offset"), Value: "4711"},
		{Key: amqp.Symbol(enqueuedTime), Value: amqp.Timestamp(1_700_000_000_123)},
	}, pairs...)
}

func TestWhatSendersWrite(t *testing.T) {
	d := newDecoder("3")
	for name, x := range map[string]struct {
		m    amqp.Message
		want event.Event
	}{
		"a device's": {
			amqp.Message{
				MessageAnnotations: as(
					amqp.Pair{Key: amqp.Symbol(event.DeviceID), Value: "press-4"}, amqp.Pair{Key: amqp.Symbol("iothub-enqueuedtime"), Value: amqp.Timestamp(1)},
					amqp.Pair{Key: amqp.Symbol("com.microsoft:producer-id"), Value: int64(1)},
				),
				Properties: &amqp.Properties{MessageID: amqp.UUID{0xab}, UserID: []byte("u"), CorrelationID: uint64(1) << 63, ContentType: "application/json", CreationTime: amqp.Some(amqp.Timestamp(0))},
				Data:       [][]byte{[]byte("{}")},
			},
			event.Event{Body: []byte("{}"), System: []event.Property{
				{Name: event.DeviceID, Value: "press-4"}, {Name: "iothub-enqueuedtime", Value: time.UnixMilli(1).UTC()},
				{Name: event.MessageID, Value: "ab000000-0000-0000-0000-000000000000"}, {Name: event.UserID, Value: "u"}, {Name: event.CorrelationID, Value: uint64(1) << 63},
				{Name: event.ContentType, Value: "application/json"}, {Name: "creation-time", Value: time.Unix(0, 0).UTC()},
			}},
		},
		"types": {
			amqp.Message{MessageAnnotations: as(), ApplicationProperties: amqp.Map{
				{Key: "byte", Value: int8(-1)}, {Key: "uint", Value: uint32(4e9)}, {Key: "ulong", Value: uint64(5)}, {Key: "float", Value: float32(1.5)},
				{Key: "char", Value: amqp.Char('ä')}, {Key: "uuid", Value: amqp.UUID{1}}, {Key: "symbol", Value: amqp.Symbol("s")}, {Key: "null", Value: nil},
				{Key: "binary", Value: []byte{0xff}}, {Key: "list", Value: amqp.List{int32(1), "a"}}, {Key: "", Value: "nameless"},
			}, Data: [][]byte{[]byte("a"), []byte("b"), []byte("c")}},
			event.Event{Body: []byte("abc"), Properties: []event.Property{
				{Name: "byte", Value: int64(-1)}, {Name: "uint", Value: int64(4e9)}, {Name: "ulong", Value: uint64(5)}, {Name: "float", Value: 1.5},
				{Name: "char", Value: "ä"}, {Name: "uuid", Value: "01000000-0000-0000-0000-000000000000"}, {Name: "symbol", Value: "s"}, {Name: "null"},
				{Name: "binary", Value: []byte{0xff}}, {Name: "list", Value: `[1,"a"]`},
			}},
		},
		"text":          {amqp.Message{MessageAnnotations: as(amqp.Pair{Key: amqp.Symbol(partitionKey), Value: "k"}), HasValue: true, Value: "täxt"}, event.Event{Key: "k", Body: []byte("täxt")}},
		"a map":         {amqp.Message{MessageAnnotations: as(), HasValue: true, Value: amqp.Map{{Key: "a", Value: 1.5}}}, event.Event{Body: []byte(`{"a":1.5}`)}},
		"a sequence":    {amqp.Message{MessageAnnotations: as(), Sequence: []amqp.List{{int8(1)}, {"b"}}}, event.Event{Body: []byte(`[1,"b"]`)}},
		"nothing":       {amqp.Message{MessageAnnotations: as()}, event.Event{}},
		"a long text":   {amqp.Message{MessageAnnotations: as(), ApplicationProperties: amqp.Map{{Key: "x", Value: strings.Repeat("y", 300)}}}, event.Event{Properties: []event.Property{{Name: "x", Value: strings.Repeat("y", 300)}}}},
		"an empty text": {amqp.Message{MessageAnnotations: as(), ApplicationProperties: amqp.Map{{Key: "x", Value: ""}}}, event.Event{Properties: []event.Property{{Name: "x", Value: ""}}}},
	} {
		for range 2 { // the second time texts are known
			list, err := d.events([][]byte{encoded(t, &x.m)})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			want := x.want
			want.Origin = event.Origin{Partition: "3", Sequence: 7, Enqueued: time.UnixMilli(1_700_000_000_123).UTC()}
			if got := *list[0]; !reflect.DeepEqual(got, want) {
				t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
			}
		}
	}
}

func TestWhatIsNoEvent(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":             {},
		"junk":                []byte("junk"),
		"no sequence number":  encoded(t, &amqp.Message{Data: [][]byte{[]byte("a")}}),
		"a number that is no": encoded(t, &amqp.Message{MessageAnnotations: amqp.Map{{Key: amqp.Symbol(sequenceNumber), Value: "7"}}}),
	} {
		if _, err := newDecoder("0").events([][]byte{b}); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Lists of properties lie behind one another in memory; none grows into the next.
func TestListsAreApart(t *testing.T) {
	m := encoded(t, &amqp.Message{MessageAnnotations: as(amqp.Pair{Key: amqp.Symbol("a"), Value: "1"}), ApplicationProperties: amqp.Map{{Key: "p", Value: "x"}}, Data: [][]byte{[]byte("b")}})
	two := append(append([]byte(nil), m...), m...)
	list, err := newDecoder("0").events([][]byte{two[:len(m):len(m)], two[len(m):]})
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range list {
		e.System = append(e.System, event.Property{Name: "mine", Value: i})
		e.Properties = append(e.Properties, event.Property{Name: "mine", Value: i})
		e.Body = append(e.Body, "tail that is longer than what is behind it"...)
	}
	for i, e := range list {
		if len(e.System) != 2 || e.System[0].Name != "a" || e.System[1].Value != i || e.Properties[0].Name != "p" || e.Properties[1].Value != i || e.Body[0] != 'b' {
			t.Errorf("event %d is %+v", i, e)
		}
	}
}

var names = rapid.StringMatching(`[a-z]{1,12}|isthmus-origin|content-type|to|x-own|täg`)

func values() *rapid.Generator[any] {
	return rapid.OneOf(
		rapid.Map(rapid.String(), func(s string) any { return s }), rapid.Map(rapid.Int64(), func(n int64) any { return n }),
		rapid.Map(rapid.Uint64(), func(n uint64) any { return n }), rapid.Map(rapid.Float64(), func(f float64) any { return f }),
		rapid.Map(rapid.Bool(), func(v bool) any { return v }), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) any { return append([]byte{}, b...) }),
		rapid.Map(rapid.Int64Range(-62135596800000, 253402300799999), func(ms int64) any { return time.UnixMilli(ms).UTC() }), rapid.Just[any](nil),
	)
}

// What appendEvent writes is, once the service has put its annotations to it, read as the same event.
func TestEventsSurvive(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		e := event.Event{
			Origin: event.Origin{Partition: "1", Sequence: rapid.Int64Range(0, 1<<60).Draw(rt, "sequence")},
			Body:   rapid.SliceOf(rapid.Byte()).Draw(rt, "body"), Key: rapid.StringN(0, 32, 128).Draw(rt, "key"), Repeat: rapid.Bool().Draw(rt, "repeat"),
		}
		seen := map[string]bool{}
		for range rapid.IntRange(0, 5).Draw(rt, "properties") {
			if n := names.Draw(rt, "name"); !seen[n] {
				seen[n] = true
				e.Properties = append(e.Properties, event.Property{Name: n, Value: values().Draw(rt, "value")})
			}
		}
		e.System = []event.Property{{Name: event.DeviceID, Value: values().Draw(rt, "annotation")}, {Name: event.ContentType, Value: rapid.StringMatching(`[a-z/]{1,10}`).Draw(rt, "type")}}
		section, err := appendEvent([]byte("before"), &e, "b1", rapid.Bool().Draw(rt, "numbered"))
		if err != nil {
			rt.Fatal(err)
		}
		var m *amqp.Message
		if err := amqp.EachData(section[len("before"):], func(b []byte) error {
			m, err = amqp.Unmarshal(b)
			return err
		}); err != nil {
			rt.Fatal(err)
		}
		m.MessageAnnotations = append(m.MessageAnnotations, amqp.Pair{Key: amqp.Symbol(sequenceNumber), Value: int64(9)})
		b, err := m.Append(nil)
		if err != nil {
			rt.Fatal(err)
		}
		list, err := newDecoder("0").events([][]byte{b})
		if err != nil {
			rt.Fatal(err)
		}
		got := list[0]
		want := event.Remove(append([]event.Property(nil), e.Properties...), event.OriginProperty)
		want = append(want, event.Property{Name: event.OriginProperty, Value: e.ID("b1")})
		if e.Repeat {
			want = append(want, event.Property{Name: event.RepeatProperty, Value: true})
		}
		if !bytes.Equal(got.Body, e.Body) || got.Key != e.Key || !reflect.DeepEqual(got.Properties, want) || !reflect.DeepEqual(got.System, e.System) {
			rt.Fatalf("\n got %+v\nwant %+v of %+v", got, want, e)
		}
	})
}

// Whatever a sender encoded, however badly, is read without harm, and can be written again.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("junk"))
	f.Add(encoded(f, &amqp.Message{
		MessageAnnotations: as(amqp.Pair{Key: amqp.Symbol("a"), Value: amqp.Described{Descriptor: uint64(1), Value: amqp.List{nil}}}),
		Properties:         &amqp.Properties{MessageID: "m", To: "t", UserID: []byte{0xff}}, ApplicationProperties: amqp.Map{{Key: "p", Value: 1.5}}, Data: [][]byte{{1}, {2}},
	}))
	f.Add(encoded(f, &amqp.Message{MessageAnnotations: as(), HasValue: true, Value: amqp.Array{Items: []any{"a"}}}))
	f.Fuzz(func(t *testing.T, message []byte) {
		list, err := newDecoder("0").events([][]byte{message})
		if err != nil {
			return
		}
		e := list[0]
		for _, p := range append(append([]event.Property(nil), e.Properties...), e.System...) {
			switch p.Value.(type) {
			case nil, string, int64, uint64, float64, bool, []byte, time.Time:
			default:
				t.Errorf("%s is a %T", p.Name, p.Value)
			}
		}
		section, err := appendEvent(nil, e, "b", true)
		if err != nil {
			if k := fault.KindOf(err); k != fault.Invalid || len(section) != 0 {
				t.Error(err)
			}
			return
		}
		if err := amqp.EachData(section, func(b []byte) error {
			_, err := amqp.Scan(b)
			return err
		}); err != nil {
			t.Error(err)
		}
	})
}
