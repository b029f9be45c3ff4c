package amqp

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

// frames are bodies of frames as AppendFrame writes them.
var frames = []struct {
	name, bytes string
	kind        byte
	p           Performative
	payload     string
}{
	{"open, least", "00 53 10 c0 04 01 a1 01 63", FrameAMQP, &Open{ContainerID: "c"}, ""},
	{
		"open", "00 53 10 c0 41 0a a1 01 63 a1 01 68 70 00 01 00 00 60 13 87 70 00 03 a9 80" +
			" e0 08 01 a3 05 65 6e 2d 55 53" + // outgoing-locales en-US
			" e0 04 01 a3 01 6c" + // incoming-locales l
			" e0 06 02 a3 01 61 01 62" + // offered a, b
			" e0 02 00 a3" + // desired: none of them
			" c1 0f 02 a3 07 70 72 6f 64 75 63 74 a1 03 69 73 74",
		FrameAMQP, &Open{
			ContainerID: "c", Hostname: "h", MaxFrameSize: Some[uint32](65536), ChannelMax: Some[uint16](4999), IdleTimeout: Some[uint32](240000),
			OutgoingLocales: []Symbol{"en-US"}, IncomingLocales: []Symbol{"l"}, OfferedCapabilities: []Symbol{"a", "b"}, DesiredCapabilities: []Symbol{},
			Properties: Map{{Symbol("product"), "ist"}},
		}, "",
	},
	{"begin", "00 53 11 c0 0d 04 40 43 70 00 00 13 88 70 00 00 13 88", FrameAMQP, &Begin{IncomingWindow: 5000, OutgoingWindow: 5000}, ""},
	{
		"begin, answer", "00 53 11 c0 17 08 60 00 01 52 01 52 02 52 03 52 ff e0 02 00 a3 e0 02 00 a3 c1 01 00",
		FrameAMQP, &Begin{
			RemoteChannel: Some[uint16](1), NextOutgoingID: 1, IncomingWindow: 2, OutgoingWindow: 3, HandleMax: Some[uint32](255),
			OfferedCapabilities: []Symbol{}, DesiredCapabilities: []Symbol{}, Properties: Map{},
		}, "",
	},
	{
		"attach of a sender", "00 53 12 c0 1a 0a a1 01 6e 43 42 50 02 50 00 00 53 28 45 00 53 29 c0 04 01 a1 01 71 40 40 43", FrameAMQP,
		&Attach{
			Name: "n", SndSettleMode: Some(SenderMixed), RcvSettleMode: Some(ReceiverFirst), Source: &Source{}, Target: &Target{Address: "q"},
			InitialDeliveryCount: Some[uint32](0),
		}, "",
	},
	{
		"attach of a receiver", "00 53 12 c0 63 07 a1 01 6e 52 03 41 50 01 40" +
			" 00 53 28 c0 3c 0b a1 01 61 52 02 a3 05 6e 65 76 65 72 52 1e 41 c1 01 00 a3 04 6d 6f 76 65" +
			" c1 11 02 a3 01 66 00 80 00 00 46 8c 00 00 00 04 a1 01 78" + // filter
			" 00 53 25 45 e0 04 01 a3 01 6f e0 04 01 a3 01 63" +
			" 00 53 29 c0 13 07 40 52 01 a3 01 65 52 01 41 c1 01 00 e0 04 01 a3 01 63",
		FrameAMQP, &Attach{
			Name: "n", Handle: 3, Role: RoleReceiver, SndSettleMode: Some(SenderSettled),
			Source: &Source{
				Address: "a", Durable: 2, ExpiryPolicy: "never", Timeout: 30, Dynamic: true, DynamicNodeProperties: Map{}, DistributionMode: "move",
				Filter:         Map{{Symbol("f"), Described{uint64(0x468c00000004), "x"}}},
				DefaultOutcome: Described{uint64(0x25), List{}}, Outcomes: []Symbol{"o"}, Capabilities: []Symbol{"c"},
			},
			Target: &Target{Durable: 1, ExpiryPolicy: "e", Timeout: 1, Dynamic: true, DynamicNodeProperties: Map{}, Capabilities: []Symbol{"c"}},
		}, "",
	},
	{"attach, both null", "00 53 12 c0 07 03 a1 01 6e 52 07 41", FrameAMQP, &Attach{Name: "n", Handle: 7, Role: RoleReceiver}, ""},
	{
		"attach to a coordinator", "00 53 12 c0 14 07 a1 01 6e 43 42 40 40 40 00 53 30 c0 06 01 e0 03 01 a3 00", FrameAMQP,
		&Attach{Name: "n", Coordinator: true, Target: &Target{Capabilities: []Symbol{""}}}, "",
	},
	{
		"attach with the rest", "00 53 12 c0 29 0e a1 01 6e 43 42 40 40 40 40 c1 08 02 a0 01 74 00 53 24 45 41 40 80 00 00 00 01 00 00 00 00 40 e0 04 01 a3 01 64 c1 01 00", FrameAMQP,
		&Attach{
			Name: "n", Unsettled: Map{{[]byte("t"), Described{uint64(0x24), List{}}}}, IncompleteUnsettled: true, MaxMessageSize: Some[uint64](1 << 32),
			DesiredCapabilities: []Symbol{"d"}, Properties: Map{},
		}, "",
	},
	{"flow of a session", "00 53 13 c0 0e 04 52 05 70 00 00 13 88 43 70 00 00 13 88", FrameAMQP,
		&Flow{NextIncomingID: Some[uint32](5), IncomingWindow: 5000, OutgoingWindow: 5000}, ""},
	{
		"flow of a link", "00 53 13 c0 16 0b 43 52 01 52 02 52 03 43 52 09 70 00 00 03 e8 43 41 41 c1 01 00", FrameAMQP,
		&Flow{
			NextIncomingID: Some[uint32](0), IncomingWindow: 1, NextOutgoingID: 2, OutgoingWindow: 3, Handle: Some[uint32](0), DeliveryCount: Some[uint32](9),
			LinkCredit: Some[uint32](1000), Available: Some[uint32](0), Drain: true, Echo: true, Properties: Map{},
		}, "",
	},
	{"transfer", "00 53 14 c0 0c 05 43 43 a0 01 01 70 80 01 37 00 42 00 53 75 a0 00", FrameAMQP,
		&Transfer{DeliveryID: Some[uint32](0), DeliveryTag: []byte{1}, MessageFormat: Some[uint32](0x80013700), Settled: Some(false)}, "00 53 75 a0 00"},
	{"transfer, least", "00 53 14 c0 03 01 52 07 01 02 03", FrameAMQP, &Transfer{Handle: 7}, "01 02 03"},
	{"transfer, more", "00 53 14 c0 08 06 52 07 40 40 40 40 41 ff", FrameAMQP, &Transfer{Handle: 7, More: true}, "ff"},
	{"transfer, all", "00 53 14 c0 11 0b 43 43 a0 00 43 41 41 50 01 00 53 24 45 41 41 41", FrameAMQP,
		&Transfer{
			DeliveryID: Some[uint32](0), DeliveryTag: []byte{}, MessageFormat: Some[uint32](0), Settled: Some(true), More: true, RcvSettleMode: Some(ReceiverSecond),
			State: Accepted{}, Resume: true, Aborted: true, Batchable: true,
		}, ""},
	{"disposition accepted", "00 53 15 c0 0b 05 41 52 01 52 03 41 00 53 24 45", FrameAMQP,
		&Disposition{Role: RoleReceiver, First: 1, Last: Some[uint32](3), Settled: true, State: Accepted{}}, ""},
	{"disposition settled", "00 53 15 c0 05 04 42 43 40 41", FrameAMQP, &Disposition{Settled: true}, ""},
	{"disposition released", "00 53 15 c0 0a 06 42 43 40 40 00 53 26 45 41", FrameAMQP, &Disposition{State: Released{}, Batchable: true}, ""},
	{
		"disposition rejected", "00 53 15 c0 1a 05 41 43 40 41 00 53 25 c0 10 01 00 53 1d c0 0a 03 a3 01 78 a1 01 79 c1 01 00", FrameAMQP,
		&Disposition{Role: RoleReceiver, Settled: true, State: Rejected{Error: &Error{Condition: "x", Description: "y", Info: Map{}}}}, "",
	},
	{"disposition rejected without why", "00 53 15 c0 09 05 41 43 40 41 00 53 25 45", FrameAMQP, &Disposition{Role: RoleReceiver, Settled: true, State: Rejected{}}, ""},
	{
		"disposition modified", "00 53 15 c0 10 05 41 43 40 41 00 53 27 c0 06 03 41 41 c1 01 00", FrameAMQP,
		&Disposition{Role: RoleReceiver, Settled: true, State: Modified{DeliveryFailed: true, UndeliverableHere: true, Annotations: Map{}}}, "",
	},
	{
		"disposition received", "00 53 15 c0 0e 05 41 43 40 40 00 53 23 c0 04 02 52 01 44", FrameAMQP,
		&Disposition{Role: RoleReceiver, State: Received{SectionNumber: 1}}, "",
	},
	{
		"disposition of a transaction", "00 53 15 c0 0f 05 41 43 40 40 00 53 34 c0 05 01 a0 02 01 02", FrameAMQP,
		&Disposition{Role: RoleReceiver, State: OtherState{Described{uint64(0x34), List{[]byte{1, 2}}}}}, "",
	},
	{"detach", "00 53 16 c0 04 02 52 07 41", FrameAMQP, &Detach{Handle: 7, Closed: true}, ""},
	{
		"detach with an error", "00 53 16 c0 1b 03 43 41 00 53 1d c0 13 01 a3 10 61 6d 71 70 3a 6c 69 6e 6b 3a 73 74 6f 6c 65 6e", FrameAMQP,
		&Detach{Closed: true, Error: &Error{Condition: ConditionStolen}}, "",
	},
	{"end", "00 53 17 45", FrameAMQP, &End{}, ""},
	{"end with an error", "00 53 17 c0 0d 01 00 53 1d c0 07 02 a3 01 78 a1 01 79", FrameAMQP, &End{Error: &Error{Condition: "x", Description: "y"}}, ""},
	{"close", "00 53 18 45", FrameAMQP, &Close{}, ""},
	{"close with an error", "00 53 18 c0 0a 01 00 53 1d c0 04 01 a3 01 78", FrameAMQP, &Close{Error: &Error{Condition: "x"}}, ""},

	{"mechanisms", "00 53 40 c0 15 01 e0 12 02 a3 05 50 4c 41 49 4e 09 41 4e 4f 4e 59 4d 4f 55 53", FrameSASL, &SASLMechanisms{Mechanisms: []Symbol{"PLAIN", "ANONYMOUS"}}, ""},
	{"init", "00 53 41 c0 0d 03 a3 05 50 4c 41 49 4e a0 00 a1 01 68", FrameSASL,
		&SASLInit{Mechanism: "PLAIN", InitialResponse: []byte{}, Hostname: "h"}, ""},
	{"init, least", "00 53 41 c0 0b 01 a3 08 45 58 54 45 52 4e 41 4c", FrameSASL, &SASLInit{Mechanism: "EXTERNAL"}, ""},
	{"challenge", "00 53 42 c0 04 01 a0 01 07", FrameSASL, &SASLChallenge{Challenge: []byte{7}}, ""},
	{"response", "00 53 43 c0 03 01 a0 00", FrameSASL, &SASLResponse{Response: []byte{}}, ""},
	{"outcome", "00 53 44 c0 03 01 50 00", FrameSASL, &SASLOutcome{}, ""},
	{"outcome with data", "00 53 44 c0 06 02 50 01 a0 01 07", FrameSASL, &SASLOutcome{Code: SASLAuth, AdditionalData: []byte{7}}, ""},
}

// otherwise are bodies that read as a frame above and are not what we write: wider forms, names as descriptors, nulls written out.
var otherwise = []struct{ name, bytes string }{
	{"open, least", "00 80 00*7 10 d0 00 00 00 07 00 00 00 01 a1 01 63"},
	{"open, least", "00 a3 0e 61 6d 71 70 3a 6f 70 65 6e 3a 6c 69 73 74 c0 04 01 a1 01 63"}, // amqp:open:list
	{"open, least", "00 b3 00 00 00 0e 61 6d 71 70 3a 6f 70 65 6e 3a 6c 69 73 74 c0 04 01 a1 01 63"},
	{"open, least", "00 53 10 c0 07 01 b1 00 00 00 01 63"},
	{"open, least", "00 53 10 c0 0d 0a a1 01 63 40 40 40 40 40 40 40 40 40"},
	{"open, least", "00 53 10 c0 0e 0b a1 01 63 40 40 40 40 40 40 40 40 40 40"}, // a field that the type has not, null
	{"begin", "00 53 11 d0 00 00 00 18 00 00 00 08 40 70 00 00 00 00 70 00 00 13 88 70 00 00 13 88 40 40 40 40"},
	{"attach, both null", "00 53 12 c0 0a 05 a1 01 6e 52 07 56 01 40 40"},
	{"attach, both null", "00 53 12 c0 0e 07 a1 01 6e 70 00 00 00 07 41 40 40 40 40"},
	{"attach to a coordinator", "00 53 12 c0 11 07 a1 01 6e 43 42 40 40 40 00 53 30 c0 03 01 a3 00"}, // one symbol, no array
	{"transfer, more", "00 53 14 c0 09 06 52 07 40 40 40 40 56 01 ff"},
	{"transfer, least", "00 53 14 c0 04 02 52 07 40 01 02 03"},
	{"transfer, least", "00 53 14 d0 00 00 00 06 00 00 00 01 52 07 01 02 03"},
	{"disposition released", "00 53 15 c0 1e 06 42 43 40 40 00 a3 12 61 6d 71 70 3a 72 65 6c 65 61 73 65 64 3a 6c 69 73 74 c0 01 00 41"},
	{"disposition accepted", "00 53 15 c0 13 05 41 52 01 52 03 41 00 53 24 d0 00 00 00 04 00 00 00 00"},
	{"end", "00 53 17 c0 01 00"},
	{"end", "00 53 17 d0 00 00 00 04 00 00 00 00"},
	{"end", "00 53 17 c0 02 01 40"},
	{"close", "00 80 00*7 18 45"},
	{"mechanisms", "00 53 40 c0 1b 01 f0 00 00 00 15 00 00 00 02 a3 05 50 4c 41 49 4e 09 41 4e 4f 4e 59 4d 4f 55 53"},
	{"outcome", "00 53 44 c0 04 02 50 00 40"},
}

func TestWhatOthersWrite(t *testing.T) {
	for _, c := range otherwise {
		found := false
		for _, f := range frames {
			if f.name != c.name {
				continue
			}
			found = true
			p, payload, err := Decode(f.kind, unhex(t, c.bytes))
			if err != nil || !reflect.DeepEqual(p, f.p) || !bytes.Equal(payload, unhex(t, f.payload)) {
				t.Errorf("%s, as %s: %+v with % x, %v", c.name, c.bytes, p, payload, err)
			}
		}
		if !found {
			t.Errorf("no frame %q", c.name)
		}
	}
}

var wrongFrames = []struct {
	name, bytes string
	kind        byte
}{
	{"no descriptor", "c0 04 01 a1 01 63", FrameAMQP},
	{"descriptor alone", "00 53 10", FrameAMQP},
	{"unknown type", "00 53 19 45", FrameAMQP},
	{"unknown name", "00 a3 01 78 45", FrameAMQP},
	{"a state is no performative", "00 53 24 45", FrameAMQP},
	{"SASL in a frame of AMQP", "00 53 44 c0 03 01 50 00", FrameAMQP},
	{"AMQP in a frame of SASL", "00 53 18 45", FrameSASL},
	{"nothing in a frame of SASL", "", FrameSASL},
	{"an unknown kind", "00 53 18 45", 2},
	{"open without container-id", "00 53 10 45", FrameAMQP},
	{"open as a map", "00 53 10 c1 01 00", FrameAMQP},
	{"open whose list is cut", "00 53 10 c0 05 01 a1 01 63", FrameAMQP},
	{"open whose list has more bytes", "00 53 10 c0 05 01 a1 01 63 40", FrameAMQP},
	{"open with a field too many", "00 53 10 c0 0e 0b a1 01 63 40 40 40 40 40 40 40 40 40 41", FrameAMQP},
	{"open whose channel-max is a uint", "00 53 10 c0 08 04 a1 01 63 40 40 52 01", FrameAMQP},
	{"open whose container-id is a symbol", "00 53 10 c0 04 01 a3 01 63", FrameAMQP},
	{"open whose container-id is no UTF-8", "00 53 10 c0 04 01 a1 01 ff", FrameAMQP},
	{"open whose container-id is described", "00 53 10 c0 07 01 00 53 01 a1 01 63", FrameAMQP},
	{"open whose locale is a string", "00 53 10 c0 09 06 a1 01 63 40 40 40 40 a1 00", FrameAMQP},
	{"open whose locales are strings", "00 53 10 c0 0d 06 a1 01 63 40 40 40 40 e0 04 01 a1 01 61", FrameAMQP},
	{"open whose locales are many nothings", "00 53 10 c0 11 06 a1 01 63 40 40 40 40 f0 00 00 00 05 00 ff ff ff 40", FrameAMQP},
	{"open whose properties are a list", "00 53 10 c0 0d 0a a1 01 63 40 40 40 40 40 40 40 40 45", FrameAMQP},
	{"open whose properties hold many nothings", "00 53 10 c0 1a 0a a1 01 63 40 40 40 40 40 40 40 40 c1 0c 02 40 f0 00 00 00 05 00 00 01 01 40", FrameAMQP},
	{"bytes after open", "00 53 10 c0 04 01 a1 01 63 40", FrameAMQP},
	{"begin without a window", "00 53 11 c0 05 03 40 43 52 01", FrameAMQP},
	{"attach without a role", "00 53 12 c0 06 03 a1 01 6e 43 40", FrameAMQP},
	{"attach whose source is a target", "00 53 12 c0 0c 06 a1 01 6e 43 42 40 40 00 53 29 45", FrameAMQP},
	{"attach whose target is a source", "00 53 12 c0 0d 07 a1 01 6e 43 42 40 40 40 00 53 28 45", FrameAMQP},
	{"attach whose source is a string", "00 53 12 c0 0b 06 a1 01 6e 43 42 40 40 a1 01 61", FrameAMQP},
	{"transfer whose tag is a string", "00 53 14 c0 06 03 43 40 a1 01 61", FrameAMQP},
	{"transfer whose tag is too long", "00 53 14 c0 26 03 43 40 a0 21 00*33", FrameAMQP},
	{"transfer whose handle is a ulong", "00 53 14 c0 02 01 44", FrameAMQP},
	{"transfer whose more is 2", "00 53 14 c0 08 06 43 40 40 40 40 56 02", FrameAMQP},
	{"disposition with a described nothing", "00 53 15 c0 09 05 41 43 40 41 00 53 24 40", FrameAMQP},
	{"disposition with a string for a state", "00 53 15 c0 08 05 41 43 40 41 a1 01 61", FrameAMQP},
	{"disposition of received without an offset", "00 53 15 c0 0c 05 41 43 40 40 00 53 23 c0 02 01 43", FrameAMQP},
	{"disposition of rejected without a condition", "00 53 15 c0 0f 05 41 43 40 40 00 53 25 c0 05 01 00 53 1d 45", FrameAMQP},
	{"end with a string for an error", "00 53 17 c0 04 01 a1 01 78", FrameAMQP},
	{"init without a mechanism", "00 53 41 c0 04 02 40 a0 00", FrameSASL},
	{"challenge without one", "00 53 42 45", FrameSASL},
	{"outcome without a code", "00 53 44 45", FrameSASL},
}

func TestWrongFrames(t *testing.T) {
	for _, c := range wrongFrames {
		p, _, err := Decode(c.kind, unhex(t, c.bytes))
		if !errors.Is(err, ErrMalformed) || p != nil {
			t.Errorf("%s: %+v, %v, want ErrMalformed", c.name, p, err)
		}
		if err != nil && ConditionOf(err) != ConditionDecodeError {
			t.Errorf("%s: condition %s", c.name, ConditionOf(err))
		}
	}
	for _, f := range frames { // cut anywhere, none reads
		body := unhex(t, f.bytes)
		for n := 1; n < len(body)-len(unhex(t, f.payload)); n++ {
			if p, _, err := Decode(f.kind, body[:n]); err == nil {
				t.Errorf("%s: the first %d of %d bytes read as %+v", f.name, n, len(body), p)
			}
		}
	}
}

func TestAnEmptyFrame(t *testing.T) {
	if got := AppendFrame(nil, FrameAMQP, 0, nil, nil); !bytes.Equal(got, []byte{0, 0, 0, 8, 2, 0, 0, 0}) {
		t.Errorf("% x", got)
	}
	if p, payload, err := Decode(FrameAMQP, nil); p != nil || payload != nil || err != nil {
		t.Error(p, payload, err)
	}
}

func TestHotPathsDoAsDecodeDoes(t *testing.T) {
	for _, f := range frames {
		if f.kind != FrameAMQP {
			continue
		}
		body := unhex(t, f.bytes)
		code, ok := DescriptorOf(body)
		if !ok || code != f.p.Descriptor() {
			t.Errorf("%s: descriptor %#x, %v", f.name, code, ok)
		}
		var got Performative
		var payload, whole []byte
		var err error
		switch p := f.p.(type) {
		case *Transfer:
			v := Transfer{Aborted: true, State: Released{}, DeliveryTag: []byte("left over")}
			payload, err = v.Decode(body)
			got, whole = &v, AppendTransfer(nil, 5, p, payload)
		case *Flow:
			v := Flow{Echo: true, Handle: Some[uint32](9)}
			err = v.Decode(body)
			got, whole = &v, AppendFlow(nil, 5, p)
		case *Disposition:
			v := Disposition{Settled: true, State: Accepted{}}
			err = v.Decode(body)
			got, whole = &v, AppendDisposition(nil, 5, p)
		default:
			if (&Flow{}).Decode(body) == nil || (&Disposition{}).Decode(body) == nil {
				t.Errorf("%s: read as something else", f.name)
			}
			if _, err := (&Transfer{}).Decode(body); err == nil {
				t.Errorf("%s: read as a transfer", f.name)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, f.p) || !bytes.Equal(payload, unhex(t, f.payload)) {
			t.Errorf("%s: %+v with % x, %v", f.name, got, payload, err)
		}
		if want := AppendFrame(nil, FrameAMQP, 5, f.p, payload); !bytes.Equal(whole, want) {
			t.Errorf("%s: written % x, want % x", f.name, whole, want)
		}
	}
	for _, body := range []string{"00 53 13 c0 06 04 40 43 43 43 01", "00 53 15 c0 03 02 42 43 01"} { // a payload
		if (&Flow{}).Decode(unhex(t, body)) == nil || (&Disposition{}).Decode(unhex(t, body)) == nil {
			t.Error(body)
		}
	}
}

func TestFramesOfTheStandard(t *testing.T) {
	for _, c := range frames {
		body := unhex(t, c.bytes)
		p, payload, err := Decode(c.kind, body)
		if err != nil {
			t.Errorf("%s: %v\n % x want", c.name, err, AppendFrame(nil, c.kind, 0x102, c.p, unhex(t, c.payload))[8:])
			continue
		}
		if !reflect.DeepEqual(p, c.p) || !bytes.Equal(payload, unhex(t, c.payload)) {
			t.Errorf("%s: decoded to %+v with % x, want %+v", c.name, p, payload, c.p)
		}
		size := len(body) + 8
		want := append([]byte{0, 0, byte(size >> 8), byte(size), 2, c.kind, 1, 2}, body...)
		got := AppendFrame([]byte{9}, c.kind, 0x102, c.p, unhex(t, c.payload))[1:]
		if !bytes.Equal(got, want) {
			t.Errorf("%s: written\n% x, want\n% x", c.name, got, want)
		}
	}
}
