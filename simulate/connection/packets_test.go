package connection

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// pieces is a connection that gives its bytes out a few at a time.
type pieces struct {
	net.Conn
	rest []byte
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.rest[:min(p.size, len(p.rest))])
	p.rest = p.rest[n:]
	return n, nil
}

type heardOf []uint16

func (h *heardOf) Acknowledged(_ *Conn, id uint16)  { *h = append(*h, id) }
func (*heardOf) Refused(*Conn, uint16, error, bool) {}
func (*heardOf) Ready(*Conn)                        {}
func (*heardOf) Renewed(*Conn)                      {}
func (*heardOf) Ended(*Conn, error)                 {}

// twin reads with the whole codec.
func twin(b []byte) (acks []uint16, whole bool) {
	r := mqtt.NewReader(bytes.NewReader(b), mqtt.MaxRemaining)
	for {
		first, body, err := r.Next()
		if err != nil {
			return acks, errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		}
		if mqtt.TypeOf(first) == mqtt.PUBACK {
			if len(body) != 2 {
				return acks, false
			}
			acks = append(acks, uint16(body[0])<<8|uint16(body[1]))
		}
	}
}

func FuzzPackets(f *testing.F) {
	f.Add([]byte{0x40, 2, 0, 1, 0xd0, 0, 0x30, 0x85, 1, 0, 1, 'a'}, uint8(1))
	f.Add(append([]byte{0x30, 0xc8, 1}, append(make([]byte, 200), 0x40, 2, 1, 2)...), uint8(7))
	f.Add([]byte{0x40, 0xff, 0xff, 0xff, 0xff, 1}, uint8(3))
	f.Add([]byte{0x40, 3, 0, 0, 0}, uint8(64))
	f.Fuzz(func(t *testing.T, b []byte, size uint8) {
		var got heardOf
		c := &Conn{way: New(Config{Now: func() time.Time { return time.Unix(1, 0) }}), net: &pieces{rest: b, size: int(size%80) + 1}, sink: &got}
		err := (&mqttTalk{c: c}).packets()
		want, whole := twin(b)
		// A packet that is cut off may be known to be wrong before its end.
		if !slices.Equal(got, want) || errors.Is(err, io.EOF) && !whole {
			t.Fatalf("%x in pieces of %d: %v, %v; want %v, %t", b, size%80+1, got, err, want, whole)
		}
	})
}
