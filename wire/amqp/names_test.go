package amqp

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

// names are the symbolic descriptors of the standard.
var names = map[byte]string{
	0x10: "amqp:open:list", 0x11: "amqp:begin:list", 0x12: "amqp:attach:list", 0x13: "amqp:flow:list", 0x14: "amqp:transfer:list",
	0x15: "amqp:disposition:list", 0x16: "amqp:detach:list", 0x17: "amqp:end:list", 0x18: "amqp:close:list", 0x1d: "amqp:error:list",
	0x23: "amqp:received:list", 0x24: "amqp:accepted:list", 0x25: "amqp:rejected:list", 0x26: "amqp:released:list", 0x27: "amqp:modified:list",
	0x28: "amqp:source:list", 0x29: "amqp:target:list", 0x30: "amqp:coordinator:list", 0x40: "amqp:sasl-mechanisms:list", 0x41: "amqp:sasl-init:list",
	0x42: "amqp:sasl-challenge:list", 0x43: "amqp:sasl-response:list", 0x44: "amqp:sasl-outcome:list", 0x70: "amqp:header:list",
	0x71: "amqp:delivery-annotations:map", 0x72: "amqp:message-annotations:map", 0x73: "amqp:properties:list", 0x74: "amqp:application-properties:map",
	0x75: "amqp:data:binary", 0x76: "amqp:amqp-sequence:list", 0x77: "amqp:amqp-value:*", 0x78: "amqp:footer:map",
}

// named writes the first descriptor of b by its name.
func named(t *testing.T, b []byte) []byte {
	t.Helper()
	name := names[b[2]]
	if name == "" {
		t.Fatalf("no name for %#x", b[2])
	}
	return append(AppendSymbol([]byte{0}, Symbol(name)), b[3:]...)
}

func TestDescriptorsByName(t *testing.T) {
	for code, name := range names {
		if got := codeOfName([]byte(name)); got != uint64(code) {
			t.Errorf("%s is %#x, want %#x", name, got, code)
		}
		if got := codeOfName([]byte(name[:len(name)-1])); got != 0 {
			t.Errorf("%s cut is %#x", name, got)
		}
	}
	for _, c := range frames {
		p, _, err := Decode(c.kind, named(t, unhex(t, c.bytes)))
		if err != nil || !reflect.DeepEqual(p, c.p) {
			t.Errorf("%s: %+v, %v", c.name, p, err)
		}
	}
	for _, c := range messages {
		if c.bytes == "" {
			continue
		}
		m, err := Unmarshal(named(t, unhex(t, c.bytes)))
		if err != nil || !reflect.DeepEqual(*m, c.m) {
			t.Errorf("%s: %+v, %v", c.name, m, err)
		}
	}
	for _, c := range []struct {
		bytes string
		want  State
	}{
		{"00 53 24 45", Accepted{}},
		{"00 53 25 45", Rejected{}},
		{"00 53 26 45", Released{}},
		{"00 53 27 c0 02 01 41", Modified{DeliveryFailed: true}},
		{"00 53 23 c0 03 02 43 44", Received{}},
	} {
		f := fields{rest: named(t, unhex(t, c.bytes)), left: 1}
		if got := f.state(); f.err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", c.bytes, got, f.err)
		}
	}
}

// What AMQP has no value for becomes null, and leaves the fields behind it in their places.
func TestPerformativesWriteNullForWhatTheyCannot(t *testing.T) {
	p := &Attach{
		Name: "a\xffb", Source: &Source{Address: 5, Filter: Map{{5, "gone"}, {"k", struct{}{}}, {"l", "v"}}, Capabilities: []Symbol{"c"}},
		Target: &Target{Address: "\xff"}, OfferedCapabilities: []Symbol{"é"}, DesiredCapabilities: []Symbol{"d"}, Properties: Map{{"x", make(chan int)}},
	}
	got, _, err := Decode(FrameAMQP, p.Append(nil))
	want := &Attach{
		Name: "a\uFFFDb", Source: &Source{Filter: Map{{"k", nil}, {"l", "v"}}, Capabilities: []Symbol{"c"}}, Target: &Target{},
		DesiredCapabilities: []Symbol{"d"}, Properties: Map{{"x", nil}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	s := &Source{DefaultOutcome: Modified{DeliveryFailed: true}}
	a, _, err := Decode(FrameAMQP, (&Attach{Source: s}).Append(nil))
	if err != nil || !reflect.DeepEqual(a.(*Attach).Source.DefaultOutcome, Described{uint64(0x27), List{true}}) {
		t.Errorf("%+v, %v", a, err)
	}
	id := (&Properties{MessageID: 5, To: "t"}).Append(nil)
	var back Properties
	if err := back.Decode(id); err != nil || back.MessageID != nil || back.To != "t" {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestConditions(t *testing.T) {
	refused := Errorf(ConditionNotFound, "no %s", "hub")
	for _, c := range []struct {
		err  error
		want Symbol
	}{
		{refused, ConditionNotFound},
		{fmt.Errorf("attach: %w", refused), ConditionNotFound},
		{malformed("1.2", "x"), ConditionDecodeError},
		{fmt.Errorf("%w: x", ErrFraming), ConditionFramingError},
		{io.EOF, ConditionInternalError},
		{nil, ConditionInternalError},
	} {
		if got := ConditionOf(c.err); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
	if got := refused.Error(); got != "amqp:not-found: no hub" {
		t.Error(got)
	}
	if got := (&Error{Condition: ConditionStolen}).Error(); got != "amqp:link:stolen" {
		t.Error(got)
	}
	if err := malformed("1.2", "x"); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "1.2") {
		t.Error(err)
	}
	if RoleSender.String() != "sender" || RoleReceiver.String() != "receiver" {
		t.Error("roles have other names")
	}
	if Some(5).Or(7) != 5 || (Optional[int]{}).Or(7) != 7 {
		t.Error("Or")
	}
}
