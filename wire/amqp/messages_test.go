package amqp

import (
	"bytes"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// messages are whole messages as Append writes them.
var messages = []struct {
	name, bytes string
	m           Message
}{
	{"nothing", "", Message{}},
	{"one data section", "00 53 75 a0 02 68 69", Message{Data: [][]byte{[]byte("hi")}}},
	{"an empty data section", "00 53 75 a0 00", Message{Data: [][]byte{{}}}},
	{"data sections", "00 53 75 a0 01 61 00 53 75 a0 00 00 53 75 b0 00 00 01 00 62*256", Message{Data: [][]byte{{'a'}, {}, bytes.Repeat([]byte{'b'}, 256)}}},
	{"value null", "00 53 77 40", Message{HasValue: true}},
	{"value", "00 53 77 a1 01 78", Message{Value: "x", HasValue: true}},
	{"described value", "00 53 77 00 53 75 a0 00", Message{Value: Described{uint64(0x75), []byte{}}, HasValue: true}},
	{"sequences", "00 53 76 c0 02 01 41 00 53 76 45", Message{Sequence: []List{{true}, {}}}},
	{"header, least", "00 53 70 45 00 53 77 40", Message{Header: &Header{}, HasValue: true}},
	{"header", "00 53 70 c0 09 05 41 50 09 52 64 41 52 03 00 53 77 40", Message{
		Header: &Header{Durable: true, Priority: Some[uint8](9), TTL: Some[uint32](100), FirstAcquirer: true, DeliveryCount: 3}, HasValue: true,
	}},
	{"properties, least", "00 53 73 45 00 53 77 40", Message{Properties: &Properties{}, HasValue: true}},
	{
		"properties", "00 53 73 c0 32 0d 53 07 a0 01 75 a1 01 74 a1 01 73 a1 01 72 a1 01 63 a3 01 61 a3 01 65" +
			" 83 00*7 01 83 00*7 02 a1 01 67 52 05 a1 01 68 00 53 77 40",
		Message{Properties: &Properties{
			MessageID: uint64(7), UserID: []byte("u"), To: "t", Subject: "s", ReplyTo: "r", CorrelationID: "c", ContentType: "a", ContentEncoding: "e",
			AbsoluteExpiryTime: Some[Timestamp](1), CreationTime: Some[Timestamp](2), GroupID: "g", GroupSequence: Some[uint32](5), ReplyToGroupID: "h",
		}, HasValue: true},
	},
	{"ids of bytes and uuid", "00 53 73 c0 19 06 98 01*16 40 40 40 40 a0 01 02", Message{Properties: &Properties{
		MessageID: UUID{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, CorrelationID: []byte{2},
	}}},
	{
		"every section", "00 53 70 45 00 53 71 c1 05 02 a3 01 64 43 00 53 72 c1 06 02 a3 01 6d 55 01 00 53 73 45 00 53 74 c1 07 02 a1 01 70 a1 01 76" +
			" 00 53 75 a0 01 62 00 53 78 c1 01 00",
		Message{
			Header: &Header{}, DeliveryAnnotations: Map{{Symbol("d"), uint32(0)}}, MessageAnnotations: Map{{Symbol("m"), int64(1)}}, Properties: &Properties{},
			ApplicationProperties: Map{{"p", "v"}}, Data: [][]byte{{'b'}}, Footer: Map{},
		},
	},
}

func TestMessagesOfTheStandard(t *testing.T) {
	for _, c := range messages {
		b := unhex(t, c.bytes)
		m, err := Unmarshal(b)
		if err != nil || !reflect.DeepEqual(*m, c.m) {
			t.Errorf("%s: %+v, %v", c.name, m, err)
		}
		got, err := c.m.Append([]byte{9})
		if err != nil || !bytes.Equal(got[1:], b) {
			t.Errorf("%s: written % x, %v", c.name, got[1:], err)
		}
	}
}

func TestScanFindsRanges(t *testing.T) {
	b := unhex(t, "00 53 70 45 00 53 71 c1 01 00 00 53 72 c1 01 00 00 53 73 45 00 53 74 d1 00*3 04 00*4 00 53 75 a0 01 62 00 53 75 a0 00 00 80 00*7 78 c1 01 00")
	s, err := Scan(b)
	if err != nil {
		t.Fatal(err)
	}
	want := Sections{
		Header: b[:4], DeliveryAnnotations: b[4:10], MessageAnnotations: b[10:16], Properties: b[16:20], ApplicationProperties: b[20:32], Body: b[32:43],
		Footer: b[43:], Kind: Data,
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("%+v, want %+v", s, want)
	}
	if &s.Body[0] != &b[32] || cap(s.Body) != len(s.Body) {
		t.Error("the body is a copy, or can be appended to")
	}
	for _, c := range []struct {
		bytes string
		kind  BodyKind
		body  int
	}{
		{"00 53 72 c1 01 00", NoBody, 0},
		{"00 a3 10 61 6d 71 70 3a 64 61 74 61 3a 62 69 6e 61 72 79 a0 00", Data, 21},
		{"00 53 76 45 00 53 76 45", Sequence, 8},
		{"00 53 77 00 53 75 a0 00 00 53 78 c1 01 00", Value, 8},
	} {
		if s, err := Scan(unhex(t, c.bytes)); err != nil || s.Kind != c.kind || len(s.Body) != c.body {
			t.Errorf("%s: %+v, %v", c.bytes, s, err)
		}
	}
}

var wrongMessages = []struct{ name, bytes string }{
	{"no section", "a0 01 61"},
	{"descriptor alone", "00 53 75"},
	{"unknown section", "00 53 79 45"},
	{"section named otherwise", "00 a3 01 78 45"},
	{"a performative", "00 53 10 c0 04 01 a1 01 63"},
	{"header twice", "00 53 70 45 00 53 70 45"},
	{"header last", "00 53 73 45 00 53 70 45"},
	{"annotations after properties", "00 53 73 45 00 53 72 c1 01 00"},
	{"properties after data", "00 53 75 a0 00 00 53 73 45"},
	{"values", "00 53 77 40 00 53 77 40"},
	{"value after data", "00 53 75 a0 00 00 53 77 40"},
	{"data after value", "00 53 77 40 00 53 75 a0 00"},
	{"sequence after data", "00 53 75 a0 00 00 53 76 45"},
	{"data after sequence", "00 53 76 45 00 53 75 a0 00"},
	{"data after footer", "00 53 78 c1 01 00 00 53 75 a0 00"},
	{"footer twice", "00 53 78 c1 01 00 00 53 78 c1 01 00"},
	{"data of a string", "00 53 75 a1 00"},
	{"data described", "00 53 75 00 53 75 a0 00"},
	{"header of a map", "00 53 70 c1 01 00"},
	{"annotations of a list", "00 53 72 45"},
	{"annotations of null", "00 53 72 40"},
	{"sequence of a map", "00 53 76 c1 01 00"},
	{"data beyond the end", "00 53 75 a0 05 61"},
	{"data of 4 GiB", "00 53 75 b0 ff ff ff ff"},
	{"value unknown", "00 53 77 46"},
	// these are found by Unmarshal only
	{"header with a wrong field", "00 53 70 c0 03 01 a0 00"},
	{"header with a field too many", "00 53 70 c0 07 06 40 40 40 40 40 41"},
	{"properties whose id is an int", "00 53 73 c0 03 01 54 01"},
	{"properties whose to is a symbol", "00 53 73 c0 05 03 40 40 a3 00"},
	{"annotations of an odd count", "00 53 72 c1 02 01 40"},
	{"annotations beyond their map", "00 53 72 c1 04 02 40 a0 05"},
	{"properties beyond their map", "00 53 74 c1 04 04 40 40 40"},
	{"value of many nothings", "00 53 77 f0 00 00 00 05 00 00 10 01 40"},
	{"sequences of many nothings", "00 53 76 c0 0b 01 f0 00 00 00 05 00 00 08 01 40 00 53 76 c0 0b 01 f0 00 00 00 05 00 00 08 00 40"},
}

func TestWrongMessages(t *testing.T) {
	inside := false
	for _, c := range wrongMessages {
		b := unhex(t, c.bytes)
		inside = inside || c.name == "header with a wrong field"
		if s, err := Scan(b); (err == nil) != inside || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: scanned to %+v, %v", c.name, s, err)
		}
		if m, err := Unmarshal(b); !errors.Is(err, ErrMalformed) || m != nil {
			t.Errorf("%s: %+v, %v", c.name, m, err)
		}
	}
}

// Where nothing but the bytes bounds the number of values, a number alone makes no room.
func TestAnnouncedValuesCostNothing(t *testing.T) {
	for name, text := range map[string]string{
		"list":                "00 53 77 d0 00 00 00 05 00 40 00 00 40",
		"map":                 "00 53 77 d1 00 00 00 05 00 40 00 00 40",
		"array of uints":      "00 53 77 f0 00 00 00 09 0f ff ff ff 70 00*4",
		"array of nulls":      "00 53 77 f0 00 00 00 05 00 40 00 00 40",
		"array in annotation": "00 53 72 c1 0c 02 40 f0 00 00 00 09 0f ff ff ff 70 00*4",
	} {
		b := unhex(t, text)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Unmarshal(b)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 128<<10 || !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %d bytes allocated, %v", name, n, err)
		}
	}
}

func TestMessagesThatCannotBeWritten(t *testing.T) {
	for name, m := range map[string]Message{
		"two bodies":      {Data: [][]byte{{}}, HasValue: true},
		"two bodies more": {Data: [][]byte{{}}, Sequence: []List{{}}},
		"property":        {ApplicationProperties: Map{{"x", 5}}},
		"value":           {HasValue: true, Value: struct{}{}},
		"footer":          {Footer: Map{{"\xff", nil}}},
	} {
		if got, err := m.Append([]byte{1}); err == nil || !bytes.Equal(got, []byte{1}) {
			t.Errorf("%s: % x, %v", name, got, err)
		}
	}
}

func TestEachData(t *testing.T) {
	var got []string
	collect := func(b []byte) error { got = append(got, string(b)); return nil }
	if err := EachData(unhex(t, "00 53 75 a0 01 61 00 53 75 a0 00 00 53 75 b0 00 00 00 01 62"), collect); err != nil || !reflect.DeepEqual(got, []string{"a", "", "b"}) {
		t.Error(got, err)
	}
	if err := EachData(nil, collect); err != nil {
		t.Error(err)
	}
	stop := errors.New("stop")
	calls := 0
	if err := EachData(unhex(t, "00 53 75 a0 00 00 53 75 a0 00"), func([]byte) error { calls++; return stop }); !errors.Is(err, stop) || calls != 1 {
		t.Error(err, calls)
	}
	for _, b := range []string{"00 53 77 40", "00 53 75 a1 00", "00 53 75 a0 02 61", "00 53 75", "a0 00", "00 53 75 00 53 75 a0 00"} {
		if err := EachData(unhex(t, b), func([]byte) error { return nil }); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", b, err)
		}
	}
}

func TestEachPair(t *testing.T) {
	var got []string
	pairs := func(key, value []byte) bool {
		text, isText := TextOf(value)
		n, isNumber := IntegerOf(value)
		_ = n
		switch {
		case isText:
			got = append(got, string(key)+"="+string(text))
		case isNumber:
			got = append(got, string(key)+"=number")
		default:
			got = append(got, string(key)+"=other")
		}
		return len(got) < 4
	}
	for _, c := range []struct {
		bytes string
		want  string
	}{
		{"", ""},
		{"c1 01 00", ""},
		{"00 53 72 c1 0f 06 a3 01 61 a1 01 62 a1 01 63 40 53 05 55 ff", "a=b c=other =number"},
		{"d1 00 00 00 0c 00 00 00 02 a3 01 61 00 53 01 a1 00", "a=other"},
		{"c1 0b 0a 40 40 40 40 40 40 40 40 40 40", "=other =other =other =other"}, // stopped
	} {
		got = nil
		if err := EachPair(unhex(t, c.bytes), pairs); err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, %v, want %q", c.bytes, got, err, c.want)
		}
	}
	for _, b := range []string{"45", "00 53 72 45", "00 53", "c1 04 03 40 40 40", "c1 04 02 40 40 40", "c1 03 04 40 40", "c1 03 02 a0 00", "c1 04 02 a0 05 40"} {
		if err := EachPair(unhex(t, b), func(_, _ []byte) bool { return true }); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", b, err)
		}
	}
}

func TestIntegerOf(t *testing.T) {
	for _, c := range []struct {
		bytes string
		want  int64
		ok    bool
	}{
		{"43", 0, true}, {"44", 0, true}, {"52 ff", 255, true}, {"54 ff", -1, true}, {"55 80", -128, true}, {"50 ff", 255, true}, {"51 ff", -1, true},
		{"60 ff ff", 65535, true}, {"61 ff ff", -1, true}, {"70 ff*4", 1<<32 - 1, true}, {"71 ff*4", -1, true}, {"80 ff*8", -1, false}, {"81 ff*8", -1, true},
		{"83 00*7 05", 5, true}, {"a1 01 35", 0, false}, {"40", 0, false}, {"", 0, false}, {"80 00", 0, false},
	} {
		if n, ok := IntegerOf(unhex(t, c.bytes)); n != c.want || ok != c.ok {
			t.Errorf("%s: %d, %v", c.bytes, n, ok)
		}
	}
}

func TestPiecesOfAMessage(t *testing.T) {
	b := AppendDescriptor(nil, CodeMessageAnnotations)
	at := len(b)
	b = StartMap(b)
	b = AppendLong(AppendSymbol(b, "é"), -3)
	b = AppendString(AppendString(b, "a\xffb"), "v")
	FinishMap(b, at, 2)
	b = append(AppendBinaryHead(AppendDescriptor(b, CodeData), 3), "abc"...)
	b = append(AppendBinaryHead(AppendDescriptor(b, CodeData), 256), bytes.Repeat([]byte{'d'}, 256)...)
	m, err := Unmarshal(b)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Map{{Symbol("??"), int64(-3)}, {"a\uFFFDb", "v"}}); !reflect.DeepEqual(m.MessageAnnotations, want) || len(m.Data) != 2 || len(m.Data[1]) != 256 {
		t.Errorf("%#v", m)
	}
	b = StartList(AppendDescriptor(nil, CodeSequence))
	b = AppendBool(AppendUlong(AppendInt(AppendUint(AppendTimestamp(b, 9), 7), -300), 1), true)
	FinishList(b, 3, 5)
	m, err = Unmarshal(b)
	if err != nil || !reflect.DeepEqual(m.Sequence, []List{{Timestamp(9), uint32(7), int32(-300), uint64(1), true}}) {
		t.Error(m, err)
	}
}

func FuzzMessage(f *testing.F) {
	f.Add(unhex(f, "00 53 76 c0 05 01 e0 02 20 40")) // more values than bytes
	for _, c := range messages {
		f.Add(unhex(f, c.bytes))
	}
	for _, c := range wrongMessages {
		f.Add(unhex(f, c.bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Scan(b)
		m, uerr := Unmarshal(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) || uerr == nil {
				t.Fatal(err, uerr)
			}
			return
		}
		parts := [][]byte{s.Header, s.DeliveryAnnotations, s.MessageAnnotations, s.Properties, s.ApplicationProperties, s.Body, s.Footer}
		if whole := bytes.Join(parts, nil); !bytes.Equal(whole, b) {
			t.Fatalf("sections % x are not the message % x", whole, b)
		}
		if s.Kind == Data {
			if err := EachData(s.Body, func([]byte) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		for _, section := range [][]byte{s.DeliveryAnnotations, s.MessageAnnotations, s.ApplicationProperties, s.Footer} {
			perr := EachPair(section, func(key, value []byte) bool { TextOf(value); IntegerOf(value); return true })
			if perr != nil && uerr == nil {
				t.Fatalf("Unmarshal reads a map that EachPair does not: %v", perr)
			}
		}
		if uerr != nil {
			if !errors.Is(uerr, ErrMalformed) {
				t.Fatal(uerr)
			}
			return
		}
		slots := 0
		for _, v := range []any{m.DeliveryAnnotations, m.MessageAnnotations, m.ApplicationProperties, m.Footer, m.Value} {
			slots += slotsOf(v)
		}
		for _, l := range m.Sequence {
			slots += slotsOf(l)
		}
		if slots > 3*len(b)+3*4096 {
			t.Fatalf("%d values out of %d bytes", slots, len(b))
		}
		written, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Unmarshal(written)
		if err != nil {
			t.Fatalf("% x: %v", written, err)
		}
		if twice, err := again.Append(nil); err != nil || !bytes.Equal(twice, written) {
			t.Fatalf("written % x, then % x, %v", written, twice, err)
		}
	})
}

// slotsOf counts the values in a value.
func slotsOf(v any) int {
	n := 1
	switch v := v.(type) {
	case List:
		for _, item := range v {
			n += slotsOf(item)
		}
	case Map:
		for _, p := range v {
			n += slotsOf(p.Key) + slotsOf(p.Value)
		}
	case Array:
		for _, item := range v.Items {
			n += slotsOf(item)
		}
	case Described:
		n += slotsOf(v.Descriptor) + slotsOf(v.Value)
	}
	return n
}
