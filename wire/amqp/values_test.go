package amqp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// unhex reads hexadecimal with spaces; "x*n" repeats a byte.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	var out []byte
	for _, word := range strings.Fields(s) {
		text, times, repeated := strings.Cut(word, "*")
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatalf("%q: %v", word, err)
		}
		n := 1
		if repeated {
			n = 0
			for _, c := range times {
				n = 10*n + int(c-'0')
			}
		}
		out = append(out, bytes.Repeat(b, n)...)
	}
	return out
}

// values are encodings of part 1, section 6. shortest tells that AppendValue writes this one.
var values = []struct {
	name, bytes string
	value       any
	shortest    bool
}{
	{"null", "40", nil, true},
	{"true", "41", true, true},
	{"false", "42", false, true},
	{"boolean true", "56 01", true, false},
	{"boolean false", "56 00", false, false},
	{"ubyte", "50 ff", uint8(255), true},
	{"ushort", "60 01 02", uint16(0x102), true},
	{"uint0", "43", uint32(0), true},
	{"smalluint", "52 ff", uint32(255), true},
	{"uint", "70 00 00 01 00", uint32(256), true},
	{"uint wide", "70 00 00 00 07", uint32(7), false},
	{"uint largest", "70 ff*4", uint32(math.MaxUint32), true},
	{"ulong0", "44", uint64(0), true},
	{"smallulong", "53 10", uint64(16), true},
	{"ulong", "80 00 00 46 8c 00 00 00 04", uint64(0x468c00000004), true},
	{"ulong wide", "80 00*7 10", uint64(16), false},
	{"byte", "51 80", int8(-128), true},
	{"short", "61 ff fe", int16(-2), true},
	{"smallint", "54 ff", int32(-1), true},
	{"int", "71 00 00 00 80", int32(128), true},
	{"int wide", "71 ff ff ff ff", int32(-1), false},
	{"smalllong", "55 80", int64(-128), true},
	{"long", "81 ff ff ff ff ff ff ff 7f", int64(-129), true},
	{"long wide", "81 00*7 05", int64(5), false},
	{"float", "72 3f 80 00 00", float32(1), true},
	{"double", "82 bf f0 00 00 00 00 00 00", float64(-1), true},
	{"decimal32", "74 01 02 03 04", Decimal32{1, 2, 3, 4}, true},
	{"decimal64", "84 01 02 03 04 05 06 07 08", Decimal64{1, 2, 3, 4, 5, 6, 7, 8}, true},
	{"decimal128", "94 00*15 09", Decimal128{15: 9}, true},
	{"char", "73 00 01 f6 00", Char('😀'), true},
	{"timestamp", "83 00 00 01 8c c2 51 f4 00", Timestamp(1704067200000), true},
	{"timestamp before", "83 ff ff ff ff ff ff ff ff", Timestamp(-1), true},
	{"uuid", "98 f8 1d 4f ae 7d ec 11 d0 a7 65 00 a0 c9 1e 6b f6", UUID{0xf8, 0x1d, 0x4f, 0xae, 0x7d, 0xec, 0x11, 0xd0, 0xa7, 0x65, 0x00, 0xa0, 0xc9, 0x1e, 0x6b, 0xf6}, true},
	{"vbin8", "a0 02 00 ff", []byte{0, 255}, true},
	{"vbin8 empty", "a0 00", []byte{}, true},
	{"vbin32", "b0 00 00 00 01 07", []byte{7}, false},
	{"vbin32 long", "b0 00 00 01 00 61*256", bytes.Repeat([]byte{'a'}, 256), true},
	{"str8", "a1 03 e2 82 ac", "€", true},
	{"str8 full", "a1 ff 61*255", strings.Repeat("a", 255), true},
	{"str32", "b1 00 00 00 01 61", "a", false},
	{"str32 long", "b1 00 00 01 00 61*256", strings.Repeat("a", 256), true},
	{"sym8", "a3 01 61", Symbol("a"), true},
	{"sym32", "b3 00 00 00 01 61", Symbol("a"), false},
	{"sym32 long", "b3 00 00 01 00 61*256", Symbol(strings.Repeat("a", 256)), true},
	{"list0", "45", List{}, true},
	{"list8", "c0 03 02 41 40", List{true, nil}, true},
	{"list8 empty", "c0 01 00", List{}, false},
	{"list32", "d0 00 00 00 06 00 00 00 02 41 40", List{true, nil}, false},
	{"list32 long", "d0 00 00 01 08 00 00 00 02 41 b0 00 00 00 fe 61*254", List{true, bytes.Repeat([]byte{'a'}, 254)}, false},
	{"list32 by size", "d0 00 00 01 02 00 00 00 01 a0 fc 61*252", List{bytes.Repeat([]byte{'a'}, 252)}, false},
	{"list8 full", "c0 ff 01 a0 fc 61*252", List{bytes.Repeat([]byte{'a'}, 252)}, true},
	{"list32 just", "d0 00 00 01 03 00 00 00 01 a0 fd 61*253", List{bytes.Repeat([]byte{'a'}, 253)}, true},
	{"map8", "c1 06 02 a3 01 61 52 05", Map{{Symbol("a"), uint32(5)}}, true},
	{"map8 empty", "c1 01 00", Map{}, true},
	{"map32", "d1 00 00 00 08 00 00 00 02 a1 01 61 40", Map{{"a", nil}}, false},
	{"map with a key of its own", "c1 05 02 53 01 53 02", Map{{uint64(1), uint64(2)}}, true},
	{"array8", "e0 06 02 70 00*3 01 00*3 02", nil, false}, // size is wrong on purpose: see below
	{"array8 of uint", "e0 0a 02 70 00*3 01 00*3 02", Array{Items: []any{uint32(1), uint32(2)}}, true},
	{"array8 of smalluint", "e0 04 02 52 01 02", Array{Items: []any{uint32(1), uint32(2)}}, false},
	{"array32 of sym8", "f0 00 00 00 09 00 00 00 02 a3 01 61 01 62", Array{Items: []any{Symbol("a"), Symbol("b")}}, false},
	{"array8 of sym32", "e0 0c 02 b3 00*3 01 61 00*3 01 62", Array{Items: []any{Symbol("a"), Symbol("b")}}, true},
	{"array8 of str8", "e0 06 02 a1 01 30 01 31", Array{Items: []any{"0", "1"}}, false},
	{"array of boolean", "e0 04 02 56 01 00", Array{Items: []any{true, false}}, true},
	{"array of true", "e0 02 03 41", Array{Items: []any{true, true, true}}, false},
	{"array of null", "e0 02 02 40", Array{Items: []any{nil, nil}}, true},
	{"array of list8", "e0 07 02 c0 02 01 41 01 00", Array{Items: []any{List{true}, List{}}}, false},
	{"array of list32", "e0 0b 01 d0 00*3 05 00*3 01 41", Array{Items: []any{List{true}}}, true},
	{"array of map8", "e0 06 01 c1 03 02 41 42", Array{Items: []any{Map{{true, false}}}}, false},
	{"array of arrays", "e0 0c 01 f0 00*3 06 00*3 01 50 09", Array{Items: []any{Array{Items: []any{uint8(9)}}}}, true},
	{"array empty", "e0 02 00 a3", Array{Code: 0xa3}, true},
	{"array empty without constructor", "e0 01 00", Array{}, false},
	{"array of described", "e0 06 02 00 53 07 50 01", nil, false}, // too short by one: see below
	{"array of described ubyte", "e0 07 02 00 53 07 50 01 02", Array{Items: []any{Described{uint64(7), uint8(1)}, Described{uint64(7), uint8(2)}}}, true},
	{"described", "00 53 24 45", Described{uint64(0x24), List{}}, true},
	{"described by symbol", "00 a3 03 75 72 6c a1 01 78", Described{Symbol("url"), "x"}, true},
	{"described twice", "00 53 01 00 53 02 40", Described{uint64(1), Described{uint64(2), nil}}, true},
	{"descriptor described", "00 00 53 01 53 02 40", Described{Described{uint64(1), uint64(2)}, nil}, true},
}

func TestValuesOfTheStandard(t *testing.T) {
	for _, c := range values {
		b := unhex(t, c.bytes)
		v, rest, err := ParseValue(append(b, 0x40), Limits{})
		if c.value == nil && c.name != "null" { // deliberately wrong
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: parsed to %#v, %v, want an error", c.name, v, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !reflect.DeepEqual(v, c.value) || !bytes.Equal(rest, []byte{0x40}) {
			t.Errorf("%s: parsed to %#v with % x left, want %#v", c.name, v, rest, c.value)
		}
		got, err := AppendValue([]byte{9}, c.value)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if same := bytes.Equal(got[1:], b); same != c.shortest {
			t.Errorf("%s: written % x, read % x, the same: %v", c.name, got[1:], b, same)
		}
		for n := range b {
			if v, _, err := ParseValue(b[:n], Limits{}); err == nil {
				t.Errorf("%s: parsed the first %d of %d bytes to %#v", c.name, n, len(b), v)
			}
		}
	}
}

var wrongValues = map[string]string{
	"nothing":                               "",
	"unknown code":                          "46",
	"unknown code of a known width":         "57 00",
	"reserved code":                         "1f",
	"boolean 2":                             "56 02",
	"char beyond Unicode":                   "73 00 11 00 00",
	"char of a surrogate":                   "73 00 00 d8 00",
	"string no UTF-8":                       "a1 01 ff",
	"symbol no ASCII":                       "a3 02 c3 a9",
	"string beyond the end":                 "a1 05 61",
	"string of 4 GiB":                       "b1 ff*4 61",
	"list without a count":                  "c0 00",
	"list32 without a count":                "d0 00 00 00 03 00*3",
	"list of more than its bytes":           "c0 02 05 40",
	"list32 of 4 G values":                  "d0 00 00 00 05 ff*4 40",
	"list with bytes left":                  "c0 03 01 40 40",
	"list whose value goes beyond it":       "c0 03 01 a1 02 61 61",
	"map of an odd count":                   "c1 04 03 40 40 40",
	"map with bytes left":                   "c1 04 02 40 40 40",
	"map whose last value is missing":       "c1 03 02 a0 00",
	"array without a constructor":           "e0 01 01",
	"array of more than its bytes":          "e0 03 05 50 01",
	"array of 4 G nulls":                    "f0 00 00 00 05 ff*4 40",
	"array of 2 G nulls":                    "f0 00 00 00 05 7f ff ff ff 40",
	"array of 4097 nulls":                   "f0 00 00 00 05 00 00 10 01 40",
	"array of 4 G uints":                    "f0 00 00 00 09 ff*4 70 00*4",
	"array of an unknown code":              "e0 02 00 46",
	"array with bytes left":                 "e0 04 01 50 01 02",
	"array of arrays of nulls":              "e0 16 02 f0 00 00 00 05 00 00 08 00 40 00 00 00 05 00 00 08 01 40",
	"array described without constructor":   "e0 04 01 00 53 01",
	"described without value":               "00 53 24",
	"descriptor alone":                      "00",
	"described seventeen deep":              "00 40 00 40 00 40 00 40 00 40 00 40 00 40 00 40 00 40 00 40 00 40 00 40 00 40 00 40 00 40 00 40 00 40",
	"descriptors of descriptors, very many": "00*100000",
}

// All of this is refused before room is made for what it announces.
func TestWrongValuesCostNothing(t *testing.T) {
	for name, text := range wrongValues {
		b := unhex(t, text)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		v, _, err := ParseValue(b, Limits{})
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: parsed to %#v, %v, want ErrMalformed", name, v, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 128<<10 {
			t.Errorf("%s: %d bytes allocated for %d", name, n, len(b))
		}
		if _, err := skip(b); err == nil && strings.HasPrefix(name, "described") && !strings.Contains(name, "deep") {
			t.Errorf("%s: skipped", name)
		}
	}
}

func TestLimits(t *testing.T) {
	list := func(n int) any { // n values deep
		var v any
		for range n - 1 {
			v = List{v}
		}
		return v
	}
	for _, c := range []struct {
		v   any
		lim Limits
		ok  bool
	}{
		{list(16), Limits{}, true},
		{list(17), Limits{}, false},
		{list(3), Limits{Depth: 3}, true},
		{list(4), Limits{Depth: 3}, false},
		{make(List, 4096), Limits{}, true},
		{make(List, 4097), Limits{}, false},
		{List{make(List, 2), make(List, 2)}, Limits{Items: 6}, true},
		{List{make(List, 2), make(List, 2)}, Limits{Items: 5}, false},
		{Map{{"a", make(List, 3)}}, Limits{Items: 5}, true},
		{Map{{"a", make(List, 3)}}, Limits{Items: 4}, false},
		{Array{Items: make([]any, 4096)}, Limits{}, true},
		{Described{nil, nil}, Limits{Items: 1}, false},
		{Array{Items: []any{List{true}}}, Limits{Depth: 2}, false},
		{Array{Items: []any{List{true}}}, Limits{Depth: 3}, true},
		{Array{Items: []any{Described{uint64(1), true}}}, Limits{Depth: 2}, false},
		{Array{Items: []any{Described{uint64(1), true}}}, Limits{Depth: 3}, true},
	} {
		b, err := AppendValue(nil, c.v)
		if err != nil {
			t.Fatal(err)
		}
		v, _, err := ParseValue(b, c.lim)
		if (err == nil) != c.ok {
			t.Errorf("%.60v within %+v: %v, want ok %v", c.v, c.lim, err, c.ok)
		}
		if err == nil && !reflect.DeepEqual(v, c.v) {
			t.Errorf("%.60v came back as %.60v", c.v, v)
		}
	}
}

func TestWhatCannotBeWritten(t *testing.T) {
	deep := any(nil)
	for range 100 {
		deep = List{deep}
	}
	for name, v := range map[string]any{
		"int":                     5,
		"pointer":                 new(string),
		"no UTF-8":                "\xff",
		"no ASCII":                Symbol("é"),
		"no ASCII in symbols":     []Symbol{"a", "é"},
		"surrogate":               Char(0xd800),
		"negative char":           Char(-1),
		"inside a list":           List{uint32(1), struct{}{}},
		"inside a map":            Map{{Key: 'x', Value: nil}, {Key: 1, Value: nil}},
		"array of two types":      Array{Items: []any{uint32(1), uint64(1)}},
		"array of two described":  Array{Items: []any{Described{uint64(1), "a"}, Described{uint64(2), "a"}}},
		"array of some described": Array{Items: []any{Described{uint64(1), "a"}, "a"}},
		"array of Go's":           Array{Items: []any{1}},
		"empty array of nonsense": Array{Code: 0x46},
		"very deep":               deep,
		"descriptor":              Described{Descriptor: 1},
	} {
		if got, err := AppendValue([]byte{1, 2}, v); err == nil || !bytes.Equal(got, []byte{1, 2}) {
			t.Errorf("%s: written % x, %v", name, got, err)
		}
	}
}

func TestMapGet(t *testing.T) {
	m := Map{{[]byte{1}, 0}, {List{}, 0}, {"text", 1}, {Symbol("symbol"), 2}, {uint64(3), 3}, {"text", 4}, {nil, 5}}
	for _, c := range []struct{ key, want any }{
		{"text", 1}, {Symbol("text"), 1}, {"symbol", 2}, {uint64(3), 3}, {uint32(3), nil}, {"none", nil}, {[]byte{1}, nil}, {nil, 5},
	} {
		if got := m.Get(c.key); got != c.want {
			t.Errorf("%#v: got %v, want %v", c.key, got, c.want)
		}
	}
	if Map(nil).Get("x") != nil {
		t.Error("an empty map has something")
	}
}

func TestSymbolsAreAnArray(t *testing.T) {
	for _, c := range []struct {
		symbols []Symbol
		bytes   string
	}{
		{[]Symbol{"a", "b"}, "e0 06 02 a3 01 61 01 62"},
		{nil, "e0 02 00 a3"},
		{[]Symbol{Symbol(strings.Repeat("a", 256))}, "f0 00 00 01 09 00 00 00 01 b3 00 00 01 00 61*256"},
	} {
		got, err := AppendValue(nil, c.symbols)
		if err != nil || !bytes.Equal(got, unhex(t, c.bytes)) {
			t.Errorf("%.40v: % x, %v", c.symbols, got, err)
		}
	}
}

func FuzzParseValue(f *testing.F) {
	for _, c := range values {
		f.Add(unhex(f, c.bytes))
	}
	for name, text := range wrongValues {
		if len(text) < 2000 && !strings.Contains(name, "100000") {
			f.Add(unhex(f, text))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, rest, err := ParseValue(b, Limits{})
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		if after, err := skip(b); err != nil || len(after) != len(rest) {
			t.Fatalf("skip leaves %d bytes, %v; parsing leaves %d", len(after), err, len(rest))
		}
		written, err := AppendValue(nil, v)
		if err != nil {
			t.Fatalf("%#v cannot be written: %v", v, err)
		}
		again, rest, err := ParseValue(written, Limits{})
		if err != nil || len(rest) != 0 {
			t.Fatalf("% x does not read: %v, %d left", written, err, len(rest))
		}
		// by bytes, since a NaN is not itself
		if twice, err := AppendValue(nil, again); err != nil || !bytes.Equal(twice, written) {
			t.Fatalf("written % x, then % x, %v", written, twice, err)
		}
	})
}
