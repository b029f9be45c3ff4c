package eventhubs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// frame is bytes as a frame of a kind on channel 0, of the size they say they have.
func frame(kind byte, body []byte) []byte {
	head := []byte{0, 0, 0, 0, 2, kind, 0, 0}
	binary.BigEndian.PutUint32(head, uint32(len(body)+8))
	return append(head, body...)
}

// TestMalformed: whatever a peer says, it gets an error or the end, soon, and others notice nothing. The decoders and the engine have
// fuzzers of their own; these are frames that fit no state.
func TestMalformed(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	hub := w.hub(t, 1)
	sasl, plain := amqp.ProtocolHeader(amqp.ProtocolSASL), amqp.ProtocolHeader(amqp.ProtocolAMQP)
	performative := func(p amqp.Performative) []byte { return amqp.AppendFrame(nil, amqp.FrameAMQP, 0, p, nil) }
	open := append(plain[:], performative(&amqp.Open{ContainerID: "x", Hostname: w.namespace})...)
	begun := append(bytes.Clone(open), performative(&amqp.Begin{IncomingWindow: 10, OutgoingWindow: 10})...)
	nested := bytes.Repeat([]byte{0xd0, 0, 0, 0xff, 0xff, 0, 0, 0, 1}, 2000)
	t.Run("frames", func(t *testing.T) {
		for name, said := range map[string][]byte{
			"HTTP":                         []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
			"version 0.9.1":                {'A', 'M', 'Q', 'P', 0, 0, 9, 1},
			"TLS header":                   {'A', 'M', 'Q', 'P', 2, 1, 0, 0},
			"SASL frame of no kind":        append(sasl[:], frame(9, nil)...),
			"open instead of SASL":         append(append([]byte{}, sasl[:]...), performative(&amqp.Open{ContainerID: "x"})...),
			"unknown mechanism":            append(append([]byte{}, sasl[:]...), amqp.AppendFrame(nil, amqp.FrameSASL, 0, &amqp.SASLInit{Mechanism: "NOPE"}, nil)...),
			"a frame shorter than a head":  append(bytes.Clone(plain[:]), 0, 0, 0, 4, 2, 0, 0, 0),
			"a frame of 4 GB":              append(bytes.Clone(plain[:]), 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0),
			"data offset beyond the frame": append(bytes.Clone(plain[:]), 0, 0, 0, 8, 200, 0, 0, 0),
			"begin before open":            append(bytes.Clone(plain[:]), performative(&amqp.Begin{})...),
			"open twice":                   append(bytes.Clone(open), open[8:]...),
			"no performative":              append(bytes.Clone(open), frame(0, []byte{0x40})...),
			"unknown performative":         append(bytes.Clone(open), frame(0, []byte{0, 0x53, 0x77, 0x45})...),
			"nested lists":                 append(bytes.Clone(open), frame(0, append([]byte{0, 0x53, 0x12}, nested...))...),
			"a list of 4 billion":          append(bytes.Clone(open), frame(0, []byte{0, 0x53, 0x12, 0xd0, 0, 0, 0, 8, 0xff, 0xff, 0xff, 0xff})...),
			"attach without a session":     append(bytes.Clone(open), performative(amqptest.SenderTo("x", 0, hub))...),
			"transfer without a link":      append(bytes.Clone(begun), performative(&amqp.Transfer{Handle: 7, DeliveryID: amqp.Some[uint32](0), DeliveryTag: []byte{1}})...),
			"a handle beyond the highest":  append(bytes.Clone(begun), performative(amqptest.SenderTo("x", 1<<30, hub))...),
			"end of no session":            append(bytes.Clone(open), performative(&amqp.End{})...),
			"a channel beyond the highest": append(bytes.Clone(open), amqp.AppendFrame(nil, amqp.FrameAMQP, 60000, &amqp.Begin{}, nil)...),
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				covers(t, "EH28", withRaw)
				c := w.dial(t)
				_ = c.SetDeadline(time.Now().Add(patience))
				if _, err := c.Write(said); err != nil {
					t.Fatal(err)
				}
				// An error ends the session or the connection; who was told so, and stays, is closed by us.
				heard := make([]byte, 0, 1024)
				buf := make([]byte, 4096)
				for {
					n, err := c.Read(buf)
					heard = append(heard, buf[:n]...)
					if errors.Is(err, io.EOF) || err != nil && strings.Contains(err.Error(), "reset") || endsSession(heard) {
						return
					}
					if err != nil {
						t.Fatalf("it says % x, then %v", heard, err)
					}
				}
			})
		}
	})
	s := w.session(t, hub, time.Hour)
	if err := sender(t, s, hub, nil).SendAccepted(within(t), text(t, "others go on"), 0); err != nil {
		t.Error(err)
	}
}

// endsSession tells whether an end with an error is among what was heard: descriptor 0x17.
func endsSession(heard []byte) bool { return bytes.Contains(heard, []byte{0, 0x53, 0x17}) }
