package amqp

import (
	"bytes"
	"math"
	"reflect"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// scalars draws a value that has no others in it, of the type chosen by its number.
var scalars = []func(t *rapid.T) any{
	func(t *rapid.T) any { return nil },
	func(t *rapid.T) any { return rapid.Bool().Draw(t, "boolean") },
	func(t *rapid.T) any { return rapid.Uint8().Draw(t, "ubyte") },
	func(t *rapid.T) any { return rapid.Uint16().Draw(t, "ushort") },
	func(t *rapid.T) any { return rapid.Uint32().Draw(t, "uint") },
	func(t *rapid.T) any { return rapid.Uint64().Draw(t, "ulong") },
	func(t *rapid.T) any { return rapid.Int8().Draw(t, "byte") },
	func(t *rapid.T) any { return rapid.Int16().Draw(t, "short") },
	func(t *rapid.T) any { return rapid.Int32().Draw(t, "int") },
	func(t *rapid.T) any { return rapid.Int64().Draw(t, "long") },
	func(t *rapid.T) any { return rapid.Float32().Draw(t, "float") },
	func(t *rapid.T) any { return rapid.Float64().Draw(t, "double") },
	func(t *rapid.T) any { return Timestamp(rapid.Int64().Draw(t, "timestamp")) },
	func(t *rapid.T) any { return Char(rapid.Rune().Draw(t, "char")) },
	func(t *rapid.T) any { return UUID(sized(t, 16)) },
	func(t *rapid.T) any { return Decimal32(sized(t, 4)) },
	func(t *rapid.T) any { return Decimal64(sized(t, 8)) },
	func(t *rapid.T) any { return Decimal128(sized(t, 16)) },
	func(t *rapid.T) any { return sized(t, rapid.IntRange(0, 300).Draw(t, "size")) },
	func(t *rapid.T) any { return rapid.String().Draw(t, "string") },
	func(t *rapid.T) any { return symbol(t) },
}

func sized(t *rapid.T, n int) []byte { return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "bytes") }

func symbol(t *rapid.T) Symbol {
	return Symbol(rapid.StringMatching(`[a-z][a-z:-]{0,20}`).Draw(t, "symbol"))
}

func symbols(t *rapid.T) []Symbol {
	if !rapid.Bool().Draw(t, "symbols") {
		return nil
	}
	out := []Symbol{}
	for range rapid.IntRange(0, 3).Draw(t, "n") {
		out = append(out, symbol(t))
	}
	return out
}

func anyValue(t *rapid.T, depth int) any {
	kind := rapid.IntRange(0, len(scalars)+3).Draw(t, "kind")
	if kind < len(scalars) || depth == 0 {
		return scalars[kind%len(scalars)](t)
	}
	n := rapid.IntRange(0, 4).Draw(t, "n")
	switch kind - len(scalars) {
	case 0:
		l := make(List, n)
		for i := range l {
			l[i] = anyValue(t, depth-1)
		}
		return l
	case 1:
		return anyMap(t, depth, n)
	case 2:
		if n == 0 {
			return Array{Code: tagUint}
		}
		of := scalars[rapid.IntRange(0, len(scalars)-1).Draw(t, "of")]
		described := rapid.Bool().Draw(t, "described")
		a := Array{Items: make([]any, n)}
		for i := range a.Items {
			if a.Items[i] = of(t); described {
				a.Items[i] = Described{Symbol("d"), a.Items[i]}
			}
		}
		return a
	}
	return Described{anyValue(t, depth-1), anyValue(t, depth-1)}
}

func anyMap(t *rapid.T, depth, n int) Map {
	m := make(Map, n)
	for i := range m {
		m[i] = Pair{anyValue(t, depth-1), anyValue(t, depth-1)}
	}
	return m
}

func maybeMap(t *rapid.T) Map {
	if !rapid.Bool().Draw(t, "map") {
		return nil
	}
	return anyMap(t, 2, rapid.IntRange(0, 3).Draw(t, "pairs"))
}

func maybe[T any](t *rapid.T, g *rapid.Generator[T]) (o Optional[T]) {
	if rapid.Bool().Draw(t, "set") {
		return Some(g.Draw(t, "value"))
	}
	return o
}

func TestValuesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := anyValue(t, 4)
		b, err := AppendValue(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		got, rest, err := ParseValue(append(b, 0xff), Limits{})
		if err != nil || len(rest) != 1 || !same(got, v) {
			t.Fatalf("%#v came back as %#v, %d left, %v", v, got, len(rest), err)
		}
		for i := range b { // what came back shares nothing with the bytes
			b[i] = 0
		}
		if !same(got, v) {
			t.Fatal("changed with the bytes it was read from")
		}
	})
}

// same is DeepEqual for which a NaN is itself.
func same(a, b any) bool {
	x, errx := AppendValue(nil, a)
	y, erry := AppendValue(nil, b)
	return errx == nil && erry == nil && bytes.Equal(x, y) && reflect.TypeOf(a) == reflect.TypeOf(b)
}

func anyState(t *rapid.T) State {
	switch rapid.IntRange(0, 7).Draw(t, "state") {
	case 0:
		return Accepted{}
	case 1:
		return Released{}
	case 2:
		return Rejected{Error: anyError(t)}
	case 3:
		return Modified{DeliveryFailed: rapid.Bool().Draw(t, "failed"), UndeliverableHere: rapid.Bool().Draw(t, "here"), Annotations: maybeMap(t)}
	case 4:
		return Received{SectionNumber: rapid.Uint32().Draw(t, "number"), SectionOffset: rapid.Uint64().Draw(t, "offset")}
	case 5:
		return OtherState{Described{uint64(0x34), anyValue(t, 2)}}
	}
	return nil
}

func anyError(t *rapid.T) *Error {
	if rapid.Bool().Draw(t, "no error") {
		return nil
	}
	return &Error{Condition: symbol(t), Description: rapid.String().Draw(t, "description"), Info: maybeMap(t)}
}

func anyPerformative(t *rapid.T) Performative {
	u32, u16, u8 := rapid.Uint32(), rapid.Uint16(), rapid.Uint8()
	flag := func() bool { return rapid.Bool().Draw(t, "flag") }
	text := func() string { return rapid.String().Draw(t, "text") }
	switch rapid.IntRange(0, 8).Draw(t, "performative") {
	case 0:
		return &Open{
			ContainerID: text(), Hostname: text(), MaxFrameSize: maybe(t, u32), ChannelMax: maybe(t, u16), IdleTimeout: maybe(t, u32), OutgoingLocales: symbols(t),
			IncomingLocales: symbols(t), OfferedCapabilities: symbols(t), DesiredCapabilities: symbols(t), Properties: maybeMap(t),
		}
	case 1:
		return &Begin{
			RemoteChannel: maybe(t, u16), NextOutgoingID: u32.Draw(t, "id"), IncomingWindow: u32.Draw(t, "in"), OutgoingWindow: u32.Draw(t, "out"),
			HandleMax: maybe(t, u32), OfferedCapabilities: symbols(t), DesiredCapabilities: symbols(t), Properties: maybeMap(t),
		}
	case 2:
		a := &Attach{
			Name: text(), Handle: u32.Draw(t, "handle"), Role: Role(flag()), SndSettleMode: maybe(t, u8), RcvSettleMode: maybe(t, u8), Unsettled: maybeMap(t),
			IncompleteUnsettled: flag(), InitialDeliveryCount: maybe(t, u32), MaxMessageSize: maybe(t, rapid.Uint64()), OfferedCapabilities: symbols(t),
			DesiredCapabilities: symbols(t), Properties: maybeMap(t),
		}
		if flag() {
			a.Source = &Source{
				Address: anyValue(t, 1), Durable: u32.Draw(t, "durable"), ExpiryPolicy: symbol(t), Timeout: u32.Draw(t, "timeout"), Dynamic: flag(),
				DynamicNodeProperties: maybeMap(t), DistributionMode: symbol(t), Filter: maybeMap(t), DefaultOutcome: anyValue(t, 2), Outcomes: symbols(t),
				Capabilities: symbols(t),
			}
		}
		switch rapid.IntRange(0, 2).Draw(t, "target") {
		case 0:
			a.Target = &Target{
				Address: anyValue(t, 1), Durable: u32.Draw(t, "durable"), ExpiryPolicy: symbol(t), Timeout: u32.Draw(t, "timeout"), Dynamic: flag(),
				DynamicNodeProperties: maybeMap(t), Capabilities: symbols(t),
			}
		case 1:
			a.Coordinator, a.Target = true, &Target{Capabilities: symbols(t)}
		}
		return a
	case 3:
		return &Flow{
			NextIncomingID: maybe(t, u32), IncomingWindow: u32.Draw(t, "in"), NextOutgoingID: u32.Draw(t, "id"), OutgoingWindow: u32.Draw(t, "out"),
			Handle: maybe(t, u32), DeliveryCount: maybe(t, u32), LinkCredit: maybe(t, u32), Available: maybe(t, u32), Drain: flag(), Echo: flag(),
			Properties: maybeMap(t),
		}
	case 4:
		p := &Transfer{
			Handle: u32.Draw(t, "handle"), DeliveryID: maybe(t, u32), MessageFormat: maybe(t, u32), Settled: maybe(t, rapid.Bool()), More: flag(),
			RcvSettleMode: maybe(t, u8), State: anyState(t), Resume: flag(), Aborted: flag(), Batchable: flag(),
		}
		if flag() {
			p.DeliveryTag = sized(t, rapid.IntRange(0, maxTag).Draw(t, "tag"))
		}
		return p
	case 5:
		return &Disposition{Role: Role(flag()), First: u32.Draw(t, "first"), Last: maybe(t, u32), Settled: flag(), State: anyState(t), Batchable: flag()}
	case 6:
		return &Detach{Handle: u32.Draw(t, "handle"), Closed: flag(), Error: anyError(t)}
	case 7:
		return &End{Error: anyError(t)}
	}
	return &Close{Error: anyError(t)}
}

// A stream of frames of any performatives, however it is cut, comes back, byte for byte when it is written again.
func TestFramesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sent := rapid.SliceOfN(rapid.Custom(anyPerformative), 1, 4).Draw(t, "frames")
		var stream []byte
		var ends []int
		for i, p := range sent {
			var payload []byte
			if _, ok := p.(*Transfer); ok {
				payload = bytes.Repeat([]byte{byte(i)}, rapid.IntRange(0, 9000).Draw(t, "payload"))
			}
			stream = AppendFrame(stream, FrameAMQP, uint16(i), p, payload)
			ends = append(ends, len(stream))
		}
		r := NewReader(iotest.HalfReader(bytes.NewReader(stream)))
		r.Limit(math.MaxUint32)
		at := 0
		for i, p := range sent {
			kind, channel, body, err := r.Next()
			if err != nil || kind != FrameAMQP || int(channel) != i {
				t.Fatal(kind, channel, err)
			}
			got, payload, err := Decode(kind, body)
			if err != nil || reflect.TypeOf(got) != reflect.TypeOf(p) {
				t.Fatalf("%+v came back as %+v, %v", p, got, err)
			}
			if again := AppendFrame(nil, kind, channel, got, payload); !bytes.Equal(again, stream[at:ends[i]]) {
				t.Fatalf("%+v came back as %+v:\n% x, then\n% x", p, got, stream[at:ends[i]], again)
			}
			at = ends[i]
		}
	})
}

func TestMessagesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Message{DeliveryAnnotations: maybeMap(t), MessageAnnotations: maybeMap(t), ApplicationProperties: maybeMap(t), Footer: maybeMap(t)}
		if rapid.Bool().Draw(t, "header") {
			m.Header = &Header{
				Durable: rapid.Bool().Draw(t, "durable"), Priority: maybe(t, rapid.Uint8()), TTL: maybe(t, rapid.Uint32()),
				FirstAcquirer: rapid.Bool().Draw(t, "first"), DeliveryCount: rapid.Uint32().Draw(t, "count"),
			}
		}
		if rapid.Bool().Draw(t, "properties") {
			m.Properties = &Properties{
				MessageID: rapid.SampledFrom([]any{nil, "id", uint64(7), UUID{1}, []byte{2}}).Draw(t, "id"), To: rapid.String().Draw(t, "to"),
				CorrelationID: rapid.SampledFrom([]any{nil, "id", uint64(7), UUID{1}, []byte{2}}).Draw(t, "correlation"), ContentType: symbol(t),
				CreationTime: maybe(t, rapid.Custom(func(t *rapid.T) Timestamp { return Timestamp(rapid.Int64().Draw(t, "time")) })),
			}
		}
		switch rapid.IntRange(0, 3).Draw(t, "body") {
		case 0:
			m.Data = rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 1, 4).Draw(t, "data")
		case 1:
			m.Value, m.HasValue = anyValue(t, 3), true
		case 2:
			m.Sequence = []List{{anyValue(t, 2)}, {}}
		}
		b, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Unmarshal(b)
		if err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
		if again, err := got.Append(nil); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%+v came back as %+v, %v", m, got, err)
		}
		if !reflect.DeepEqual(got.Properties, m.Properties) || !reflect.DeepEqual(got.Header, m.Header) || len(got.Data) != len(m.Data) || got.HasValue != m.HasValue {
			t.Fatalf("%+v came back as %+v", m, got)
		}
	})
}
