package mqtt

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

var spec = resource.MQTTDestination{Topic: "plant/{device}"}

func batchOf(n int) []*event.Event {
	var out []*event.Event
	for i := range n {
		out = append(out, made(i, fmt.Sprint("d", i%3), fmt.Sprint(i)))
	}
	return out
}

func repeated(batch []*event.Event) []*event.Event {
	for _, e := range batch {
		e.Repeat = true
	}
	return batch
}

func TestWindow(t *testing.T) {
	for _, c := range []struct {
		name  string
		hello []byte
		most  int
	}{
		{"ours", []byte{0x20, 3, 0, 0, 0}, 256},
		{"the broker's", []byte{0x20, 6, 0, 0, 3, propReceiveMaximum, 0, 3}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			full := make(chan bool, 1)
			var b *broker
			b = newBroker(t, func(heard) int {
				if len(b.got) == c.most {
					full <- true
				}
				return say
			})
			b.hello = func(byte, []byte) []byte { return c.hello }
			ctx, cancel := context.WithCancel(t.Context())
			over := make(chan error)
			d := open(t, leads(t, b.ln.Addr().String()), spec, nil)
			go func() { over <- d.Write(ctx, "0", batchOf(1000)) }()
			<-full
			cancel()
			if err := <-over; !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			if n := len(b.heard()); n != c.most {
				t.Errorf("%d were sent and not acknowledged, want %d", n, c.most)
			}
		})
	}
}

func TestWhatTheBrokerAnswersOfAnEvent(t *testing.T) {
	for _, c := range []struct {
		code    int
		refused fault.Kind
		wait    fault.Kind
		words   string
	}{
		{0x10, 0, 0, ""},
		{codeTopicInvalid, fault.Invalid, 0, "does not take the topic"},
		{codePayloadInvalid, fault.Invalid, 0, "content type"},
		{codePacketTooLarge, fault.TooLarge, 0, "so large"},
		{codeNotAuthorized, 0, fault.Denied, "does not let"},
		{codeQuota, 0, fault.Exhausted, "quota"},
		{0x80, 0, fault.Unavailable, "does not say why"},
		{0xf0, 0, fault.Unavailable, "does not say why"},
	} {
		t.Run(fmt.Sprintf("0x%02x", c.code), func(t *testing.T) {
			b := newBroker(t, func(h heard) int {
				if h.body == "5" {
					return c.code
				}
				return 0
			})
			err := open(t, leads(t, b.ln.Addr().String()), spec, nil).Write(t.Context(), "0", batchOf(10))
			if r, ok := errors.AsType[*event.Refused](err); ok {
				if len(r.At) != 1 || fault.KindOf(r.At[5]) != c.refused || !strings.Contains(fault.Message(r.At[5]), c.words) {
					t.Errorf("refused %v", r.At)
				}
				return
			}
			if c.refused != 0 || (err == nil) != (c.wait == 0) || err != nil && (fault.KindOf(err) != c.wait || !strings.Contains(fault.Message(err), c.words)) {
				t.Errorf("%v", err)
			}
		})
	}
}

// After an answer that waiting mends, only what was not taken is sent again, one by one.
func TestTheRestIsSentAgain(t *testing.T) {
	spent := false
	b := newBroker(t, func(h heard) int {
		if h.body == "5" && !spent {
			spent = true
			return codeQuota
		}
		return 0
	})
	d, batch := open(t, leads(t, b.ln.Addr().String()), spec, nil), batchOf(10)
	if err := d.Write(t.Context(), "0", batch); fault.KindOf(err) != fault.Exhausted {
		t.Fatal(err)
	}
	before := len(b.heard())
	if err := d.Write(t.Context(), "0", repeated(batch)); err != nil {
		t.Fatal(err)
	}
	got := b.heard()[before:]
	if len(got) != 1 || got[0].body != "5" || !got[0].repeat {
		t.Errorf("sent again: %v", got)
	}
}

func TestAnEventThatTheBrokerCannotBear(t *testing.T) {
	b := newBroker(t, func(h heard) int {
		if h.body == "7" {
			return goAway
		}
		return 0
	})
	d, batch := open(t, leads(t, b.ln.Addr().String()), spec, nil), batchOf(20)
	var err error
	for tries := 0; ; tries++ {
		if err = d.Write(t.Context(), "0", batch); err == nil || tries > 20 {
			break
		}
		if _, ok := errors.AsType[*event.Refused](err); ok {
			break
		}
		if fault.KindOf(err) != fault.Unavailable {
			t.Fatal(err)
		}
		repeated(batch)
	}
	r, ok := errors.AsType[*event.Refused](err)
	if !ok || len(r.At) != 1 || !strings.Contains(fault.Message(r.At[7]), "5 times") {
		t.Fatalf("%v", err)
	}
	next := 0
	for _, h := range b.heard() { // first copies are in order
		if n, _ := strconv.Atoi(h.body); n > next {
			t.Errorf("%s before %d", h.body, next)
		} else if n == next {
			next++
		}
	}
	if next != 20 {
		t.Errorf("%d of 20 arrived", next)
	}
}

// A broker that goes away now and then is no reason to refuse anything.
func TestABrokerThatStops(t *testing.T) {
	for _, code := range []byte{codeShuttingDown, codeTakenOver, codeQuota} {
		b := newBroker(t, func(heard) int { return say })
		b.stray = []byte{0xe0, 1, code}
		d, batch := open(t, leads(t, b.ln.Addr().String()), spec, nil), batchOf(1)
		for range 8 {
			err := d.Write(t.Context(), "0", batch)
			if _, refused := errors.AsType[*event.Refused](err); err == nil || refused {
				t.Fatalf("%v", err)
			}
		}
	}
}

func TestEventsTooLarge(t *testing.T) {
	b := newBroker(t, nil)
	b.hello = func(byte, []byte) []byte { return []byte{0x20, 8, 0, 0, 5, propMaximumPacket, 0, 0, 1, 0} } // 256 bytes
	d := open(t, leads(t, b.ln.Addr().String()), resource.MQTTDestination{Topic: "t"}, nil)
	batch := batchOf(3)
	batch[1].Body = make([]byte, 300)
	r, ok := errors.AsType[*event.Refused](d.Write(t.Context(), "0", batch))
	if !ok || len(r.At) != 1 || fault.KindOf(r.At[1]) != fault.TooLarge {
		t.Errorf("%v", r)
	}
	if n := len(b.heard()); n != 2 {
		t.Errorf("%d were sent", n)
	}
	long := made(9, "d", "x")
	long.Properties = []event.Property{{Name: "p", Value: strings.Repeat("x", 70000)}}
	if r, ok := errors.AsType[*event.Refused](d.Write(t.Context(), "0", []*event.Event{long})); !ok || fault.KindOf(r.At[0]) != fault.TooLarge {
		t.Errorf("%v", r)
	}
}

func TestConnack(t *testing.T) {
	for name, c := range map[string]struct {
		answer []byte
		retain bool
		kind   fault.Kind
		words  string
	}{
		"wrong password":    {[]byte{0x20, 3, 0, codeUserOrPassword, 0}, false, fault.Unauthenticated, "password"},
		"not allowed":       {[]byte{0x20, 3, 0, codeNotAuthorized, 0}, false, fault.Denied, "does not let"},
		"with its reason":   {[]byte{0x20, 10, 0, codeBanned, 7, propReason, 0, 4, 'y', 'o', 'u', '!'}, false, fault.Denied, "banned"},
		"busy":              {[]byte{0x20, 3, 0, codeBusy, 0}, false, fault.Unavailable, "busy"},
		"no QoS 1":          {[]byte{0x20, 5, 0, 0, 2, propMaximumQoS, 0}, false, fault.Invalid, "quality of service"},
		"no retain":         {[]byte{0x20, 5, 0, 0, 2, propRetainAvailable, 0}, true, fault.Invalid, "keeps no messages"},
		"no retain, unused": {[]byte{0x20, 5, 0, 0, 2, propRetainAvailable, 0}, false, 0, ""},
		"another packet":    {[]byte{0xd0, 0, 0, 0}, false, fault.Unavailable, "does not answer as"},
		"no MQTT":           {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), false, fault.Unavailable, "instead of an answer"},
		"a packet for ever": {[]byte{0x20, 0xff, 0xff, 0x7f}, false, fault.Unavailable, "instead of an answer"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBroker(t, nil)
			b.hello = func(byte, []byte) []byte { return c.answer }
			s := spec
			s.Retain = c.retain
			err := open(t, leads(t, b.ln.Addr().String()), s, nil).Write(t.Context(), "0", batchOf(1))
			if (err == nil) != (c.words == "") || err != nil && (fault.KindOf(err) != c.kind || !strings.Contains(fault.Message(err), c.words)) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestABrokerOf311(t *testing.T) {
	for name, refusal := range map[string][]byte{"as 3.1.1 says": {0x20, 2, 0, 1}, "as 5 says": {0x20, 3, 0, codeVersion, 0}} {
		t.Run(name, func(t *testing.T) {
			b := newBroker(t, nil)
			b.hello = func(level byte, connect []byte) []byte {
				if level != 4 {
					return refusal
				}
				if !strings.HasSuffix(string(connect), "\x00\x06bridge\x00\x04pass") {
					return []byte{0x20, 2, 0, 4}
				}
				return []byte{0x20, 2, 0, 0}
			}
			e := leads(t, b.ln.Addr().String())
			e.Secret = "bridge:pass"
			batch := repeated(batchOf(300))
			if err := open(t, e, resource.MQTTDestination{Topic: "t/{device}/{origin}/{repeat}"}, nil).Write(t.Context(), "0", batch); err != nil {
				t.Fatal(err)
			}
			got := b.heard()
			if len(got) != 300 || got[4].topic != "t/d1/b1%2F0%2F4/true" || got[4].body != "4" {
				t.Errorf("%d, %v", len(got), got[4])
			}
		})
	}
}

// What a broker says that no broker says ends the connection, and nothing else.
func TestStrayPackets(t *testing.T) {
	for name, stray := range map[string][]byte{
		"an acknowledgement of nothing": {0x40, 2, 0, 99},
		"a thousand of them":            []byte(strings.Repeat("\x40\x02\x00\x63", 1000)),
		"a PUBLISH":                     {0x30, 4, 0, 1, 't', 'x'},
		"a long packet":                 {0x30, 0xff, 0xff, 0x7f},
		"a broken acknowledgement":      {0x40, 1, 0},
		"broken properties":             {0x40, 5, 0, 1, 0, 9, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBroker(t, func(heard) int { return say })
			b.stray = stray
			err := open(t, leads(t, b.ln.Addr().String()), spec, nil).Write(t.Context(), "0", batchOf(5))
			if fault.KindOf(err) != fault.Unavailable {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestABrokerThatAcknowledgesNothing(t *testing.T) {
	heardAll := make(chan bool, 1)
	b := newBroker(t, func(heard) int { heardAll <- true; return say })
	clk := clock.NewFake(at)
	d := open(t, leads(t, b.ln.Addr().String()), spec, clk)
	over := make(chan error)
	go func() { over <- d.Write(t.Context(), "0", batchOf(1)) }()
	<-heardAll
	for {
		select {
		case err := <-over:
			if fault.KindOf(err) != fault.Timeout || !strings.Contains(fault.Message(err), "acknowledged nothing for 30s") {
				t.Errorf("%v", err)
			}
			return
		case <-time.After(time.Millisecond): // the wait for the answer may not have begun
			clk.Advance(ackTime / 4)
		}
	}
}

func TestNew(t *testing.T) {
	for name, c := range map[string]struct{ topic, secret, words string }{
		"as it should be":  {"a/{device}", "user:password", ""},
		"a user alone":     {"a", "user", ""},
		"no user":          {"a", ":password", "not user:password"},
		"a wild card":      {"a/+", "", "what no topic has"},
		"an open brace":    {"a/{device", "", "a brace without"},
		"a closed brace":   {"a/device}", "", "a brace without"},
		"braces in braces": {"a/{{device}}", "", "a brace without"},
		"no name":          {"a/{}", "", "a brace without"},
		"empty":            {"", "", "empty"},
		"a control letter": {"a\x07", "", "what no topic has"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(bridge.DestinationArgs{End: &end.End{Secret: c.secret}, Destination: resource.BridgeDestination{MQTT: &resource.MQTTDestination{Topic: c.topic}}})
			if (err == nil) != (c.words == "") || err != nil && (fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), c.words) || strings.Contains(err.Error(), ":password\"")) {
				t.Errorf("%v", err)
			}
		})
	}
}

// Whatever breaks between: every event is there, first copies in order, every further copy marked.
func TestOrderAndMarksUnderFaults(t *testing.T) {
	for seed := range uint64(40) {
		r, theirs := rand.New(rand.NewPCG(seed, 2)), rand.New(rand.NewPCG(seed, 3))
		b := newBroker(t, func(heard) int {
			switch theirs.IntN(60) {
			case 0:
				return goAway
			case 1:
				return say
			}
			return 0
		})
		d := open(t, leads(t, b.ln.Addr().String()), spec, nil)
		total := 0
		for range 3 {
			var batch []*event.Event
			for range 1 + r.IntN(100) {
				batch = append(batch, made(total, fmt.Sprint("d", total%3), fmt.Sprint(total)))
				total++
			}
			for tries := range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond) // instead of the time for an acknowledgement
				err := d.Write(ctx, "0", batch)
				cancel()
				if err == nil {
					break
				}
				if _, refused := errors.AsType[*event.Refused](err); refused || tries == 99 {
					t.Fatalf("seed %d: %v", seed, err)
				}
				repeated(batch)
			}
		}
		seen, next := map[string]bool{}, 0
		for _, h := range b.heard() {
			n, _ := strconv.Atoi(h.body)
			switch {
			case seen[h.body] && !h.repeat:
				t.Errorf("seed %d: a second copy of %s is not marked", seed, h.body)
			case !seen[h.body] && n != next:
				t.Errorf("seed %d: %s instead of %d", seed, h.body, next)
			}
			if !seen[h.body] {
				next++
			}
			seen[h.body] = true
		}
		if next != total {
			t.Errorf("seed %d: %d of %d", seed, next, total)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	w := newBroker(b, nil)
	w.answer = func(heard) int { w.got = w.got[:0]; return 0 }
	d := open(b, leads(b, w.ln.Addr().String()), spec, nil)
	batch := batchOf(500)
	for _, e := range batch {
		e.Body = make([]byte, 256)
		e.Properties = []event.Property{{Name: "line", Value: int64(3)}}
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Write(b.Context(), "0", batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(batch))/b.Elapsed().Seconds(), "events/s")
}
