package mqtt_test

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/isthmus-io/isthmus/wire/mqtt"
)

func TestEveryPacketBothWays(t *testing.T) {
	for _, c := range good {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.packet.Append([]byte("before"))
			if err != nil || string(got) != "before"+c.bytes {
				t.Errorf("Append = %q, %v\nwant      %q", got, err, "before"+c.bytes)
			}
			first, body, err := mqtt.NewReader(strings.NewReader(c.bytes), 1000).Next()
			if err != nil {
				t.Fatal(err)
			}
			p, err := mqtt.Decode(first, body)
			if err != nil || !reflect.DeepEqual(p, c.packet) {
				t.Errorf("Decode = %#v, %v\nwant     %#v", p, err, c.packet)
			}
			if p.Type() != mqtt.TypeOf(c.bytes[0]) {
				t.Errorf("Type = %v", p.Type())
			}
		})
	}
}

func TestMalformedPacketsNameTheClause(t *testing.T) {
	for _, c := range bad {
		t.Run(c.name, func(t *testing.T) {
			p, err := mqtt.Decode(c.bytes[0], []byte(c.bytes[2:]))
			if !errors.Is(err, mqtt.ErrMalformed) || !strings.HasSuffix(err.Error(), "(MQTT "+c.clause+")") {
				t.Errorf("Decode = %#v, %v; want a malformed packet by clause %s", p, err, c.clause)
			}
		})
	}
	for _, head := range []string{"\x10\x0c\x00\x04MQTT\x05\x02\x00\x00\x00\x00", "\x10\x0e\x00\x06MQIsdp\x03\x02\x00\x00\x00\x00"} {
		if _, err := mqtt.Decode(head[0], []byte(head[2:])); !errors.Is(err, mqtt.ErrVersion) {
			t.Errorf("another version gives %v", err)
		}
	}
}

func TestEveryCutOfAPacketIsRefused(t *testing.T) {
	for _, c := range good {
		for n := 1; n < len(c.bytes); n++ {
			_, _, err := mqtt.NewReader(strings.NewReader(c.bytes[:n]), 1000).Next()
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s cut at %d: %v", c.name, n, err)
			}
		}
	}
}

func TestReaderGivesTheSamePacketsHoweverTheBytesArrive(t *testing.T) {
	var stream []byte
	for range 300 {
		for _, c := range good {
			stream = append(stream, c.bytes...)
		}
	}
	large, _ := (&mqtt.Publish{Topic: []byte("large"), Payload: bytes.Repeat([]byte("0123456789"), 20_000)}).Append(nil)
	stream = append(stream, large...)
	stream = append(stream, stream...)
	lent := &mqtt.Buffers{}
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"at once": func(r io.Reader) io.Reader { return r }, "by the byte": iotest.OneByteReader, "by halves": iotest.HalfReader, "with the end": iotest.DataErrReader,
	} {
		t.Run(name, func(t *testing.T) {
			r := mqtt.NewReader(wrap(bytes.NewReader(stream)), 300_000)
			r.Buffers = lent
			r.First = 40 * (len(name) % 2)
			waits, packets := 0, 0
			r.Waiting = func() { waits++ }
			var got []byte
			for {
				first, body, err := r.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				p, err := mqtt.Decode(first, body)
				if err != nil {
					t.Fatal(err)
				}
				if got, err = p.Append(got); err != nil {
					t.Fatal(err)
				}
				packets++
				if packets%3 == 0 {
					r.Rest()
				}
			}
			r.Rest()
			if !bytes.Equal(got, stream) {
				t.Error("what came out is not what went in")
			}
			if waits > packets+1 {
				t.Errorf("waited %d times for %d packets: more than once a packet", waits, packets)
			}
		})
	}
}

func TestReaderRefusesBeforeItReads(t *testing.T) {
	src := io.MultiReader(strings.NewReader("\x30\xff\xff\xff\x7f"), iotest.ErrReader(errors.New("the reader went on")))
	r := mqtt.NewReader(src, 1000)
	if first, _, err := r.Next(); !errors.Is(err, mqtt.ErrTooLarge) || mqtt.TypeOf(first) != mqtt.PUBLISH {
		t.Errorf("first %x, err %v", first, err)
	}
	if _, _, err := mqtt.NewReader(strings.NewReader("\x30\xff\xff\xff\xff\x00"), 1<<30).Next(); !errors.Is(err, mqtt.ErrMalformed) {
		t.Errorf("five bytes of length: %v", err)
	}
	long := strings.Repeat("x", 65536)
	for _, p := range []mqtt.Packet{
		&mqtt.Connect{ClientID: long}, &mqtt.Connect{HasUserName: true, UserName: long}, &mqtt.Connect{HasPassword: true, Password: []byte(long)},
		&mqtt.Connect{Will: &mqtt.Will{Topic: long}}, &mqtt.Publish{Topic: []byte(long)},
		&mqtt.Subscribe{Topics: []mqtt.Subscription{{Filter: long}}}, &mqtt.Unsubscribe{Filters: []string{long}},
	} {
		if _, err := p.Append(nil); !errors.Is(err, mqtt.ErrTooLarge) {
			t.Errorf("%v with a field of 65536 bytes: %v", p.Type(), err)
		}
	}
}

func TestSilence(t *testing.T) {
	for keepAlive, want := range map[uint16]float64{0: 1767, 1: 1.5, 180: 270, 1177: 1765.5, 1178: 1767, 65535: 1767} {
		if got := (&mqtt.Connect{KeepAlive: keepAlive}).Silence(1767 * time.Second).Seconds(); got != want {
			t.Errorf("keep-alive %d gives %v s", keepAlive, got)
		}
	}
}

func TestDecodePublishDoesNotAllocate(t *testing.T) {
	body := []byte("\x00\x01a\x00\x0ax")
	var p mqtt.Publish
	if n := testing.AllocsPerRun(100, func() {
		if mqtt.DecodePublish(0x32, body, &p) != nil {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range good {
		f.Add([]byte(c.bytes))
	}
	for _, c := range bad {
		f.Add([]byte(c.bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		first, body, err := mqtt.NewReader(bytes.NewReader(b), 1<<20).Next()
		if err != nil {
			return
		}
		p, err := mqtt.Decode(first, body)
		if err != nil {
			return
		}
		again, err := p.Append(nil)
		if err != nil {
			t.Fatalf("%#v was read and cannot be written: %v", p, err)
		}
		first, body, err = mqtt.NewReader(bytes.NewReader(again), 1<<20).Next()
		if err != nil {
			t.Fatal(err)
		}
		q, err := mqtt.Decode(first, body)
		if err != nil || !reflect.DeepEqual(p, q) {
			t.Fatalf("%#v came back as %#v, %v", p, q, err)
		}
	})
}
