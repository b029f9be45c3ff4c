package amqptext_test

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
)

var (
	uuid     = amqp.UUID{0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}
	uuidText = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
)

func TestIDs(t *testing.T) {
	for _, c := range []struct {
		id   any
		want string
	}{
		{nil, ""}, {"", ""}, {"a", "a"}, {uuid, uuidText}, {uuidText, uuidText}, {"6BA7B810-9DAD-11D1-80B4-00C04FD430C8", uuidText},
		{"6BA7B810+9DAD-11D1-80B4-00C04FD430C8", "6BA7B810+9DAD-11D1-80B4-00C04FD430C8"}, {"6BA7B8109DAD-11D1-80B4-00C04FD430C8X", "6BA7B8109DAD-11D1-80B4-00C04FD430C8X"},
		{uint64(math.MaxUint64), "18446744073709551615"}, {[]byte{0, 0xab}, "00ab"}, {amqp.Map{}, ""}, {int32(1), ""},
	} {
		if got := amqptext.ID(c.id); got != c.want {
			t.Errorf("%#v: %q", c.id, got)
		}
	}
	if got, ok := amqptext.ParseUUID(uuidText); !ok || got != uuid {
		t.Errorf("%x", got)
	}
}

func TestTexts(t *testing.T) {
	for _, c := range []struct {
		value any
		want  string
		ok    bool
	}{
		{nil, "", false}, {"x", "x", true}, {"", "", true}, {amqp.Symbol("s"), "s", true}, {true, "true", true}, {uint8(7), "7", true}, {uint16(7), "7", true},
		{uint32(7), "7", true}, {uint64(math.MaxUint64), "18446744073709551615", true}, {int8(-7), "-7", true}, {int16(-7), "-7", true}, {int32(-7), "-7", true},
		{int64(math.MinInt64), "-9223372036854775808", true}, {float32(0.1), "0.1", true}, {1e21, "1000000000000000000000", true}, {math.Inf(1), "+Inf", true},
		{amqp.Char('ä'), "ä", true}, {amqp.Timestamp(1), "1970-01-01T00:00:00.001Z", true}, {amqp.Timestamp(math.MaxInt64), "9999-12-31T23:59:59.999Z", true},
		{amqp.Timestamp(math.MinInt64), "0001-01-01T00:00:00.000Z", true}, {uuid, uuidText, true}, {[]byte("abc"), "YWJj", true}, {amqp.List{}, "", false},
		{amqp.Described{}, "", false}, {amqp.Array{}, "", false}, {amqp.Decimal32{}, "", false},
	} {
		if got, ok := amqptext.Text(c.value); got != c.want || ok != c.ok {
			t.Errorf("%#v: %q, %v", c.value, got, ok)
		}
	}
	got := amqptext.Properties(amqp.Map{
		{Key: "a", Value: int32(1)}, {Key: amqp.Symbol("b"), Value: "x"}, {Key: "null"}, {Key: "list", Value: amqp.List{}}, {Key: "", Value: "x"}, {Value: "x"},
	})
	if !reflect.DeepEqual(got, map[string]string{"a": "1", "b": "x", "null": ""}) || amqptext.Properties(amqp.Map{{Key: "a", Value: amqp.List{}}}) != nil {
		t.Errorf("%v", got)
	}
	if _, ok := amqptext.Integer(uint64(math.MaxUint64)); ok {
		t.Error("int64 cannot hold that")
	}
}

func TestPaths(t *testing.T) {
	for address, want := range map[string]string{
		"": "", "/": "", "/messages/devicebound": "messages/devicebound", "amqps://h:5671/messages/events/": "messages/events", "amqps://h": "", "sb://h/a": "a",
		"devices/d://x": "devices/d://x", "$management": "$management",
	} {
		if got := amqptext.Path(address); got != want {
			t.Errorf("%q: %q", address, got)
		}
	}
}

// FuzzText gives it whatever a peer can encode.
func FuzzText(f *testing.F) {
	for _, v := range []any{"a", uuid, uuidText, uint64(7), []byte{1}, amqp.Timestamp(-1), 0.5, amqp.List{"x"}, amqp.Symbol("amqps://h/a")} {
		b, err := amqp.AppendValue(nil, v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, _, err := amqp.ParseValue(b, amqp.Limits{})
		if err != nil {
			return
		}
		id := amqptext.ID(v)
		if again := amqptext.ID(id); again != id {
			t.Errorf("%q is another id: %q", id, again)
		}
		text, ok := amqptext.Text(v)
		if !ok && text != "" {
			t.Errorf("%q is no text", text)
		}
		if u, ok := amqptext.ParseUUID(text); ok && amqptext.ID(u) != amqptext.ID(text) {
			t.Errorf("%q is two ids", text)
		}
		if path := amqptext.Path(text); strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") {
			t.Errorf("%q leads to %q", text, path)
		}
		if p := amqptext.Properties(amqp.Map{{Key: v, Value: v}}); len(p) > 1 || len(p) == 1 && !ok && v != nil {
			t.Errorf("%v", p)
		}
	})
}
