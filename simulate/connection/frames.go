package connection

import (
	"encoding/binary"
	"io"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

const (
	// smallFrame holds what a hub says day by day: dispositions, flows, and nothing at all.
	smallFrame = 96
	// largestFrame is what we tell the hub we take.
	largestFrame = 64 << 10
)

// frames cuts frames out of what a hub sends. The codec's reader would keep kilobytes for each of tens of thousands of connections; here a
// frame that does not fit has a buffer of its own, for as long as it is looked at.
type frames struct {
	src      io.Reader
	at, have int
	buf      [smallFrame]byte
}

// next returns the body of the next AMQP frame, which is good until the following call; empty for one that only keeps the connection alive.
// Channels are not looked at: there is one session.
func (f *frames) next() ([]byte, error) {
	if err := f.fill(8); err != nil {
		return nil, err
	}
	head := f.buf[f.at:]
	size, offset := int(binary.BigEndian.Uint32(head)), int(head[4])*4
	if offset < 8 || size < offset || size > largestFrame || head[5] != amqp.FrameAMQP { // 2.3.1
		return nil, noAMQP(amqp.ErrFraming)
	}
	if size <= len(f.buf) {
		if err := f.fill(size); err != nil {
			return nil, err
		}
		body := f.buf[f.at+offset : f.at+size]
		f.at += size
		return body, nil
	}
	large := make([]byte, size)
	n := copy(large, f.buf[f.at:f.have])
	f.at, f.have = 0, 0
	if _, err := io.ReadFull(f.src, large[n:]); err != nil {
		return nil, err
	}
	return large[offset:], nil
}

// fill reads until n bytes are there, which is at most the buffer's size.
func (f *frames) fill(n int) error {
	if f.at+n > len(f.buf) || f.at == f.have {
		f.have = copy(f.buf[:], f.buf[f.at:f.have])
		f.at = 0
	}
	for f.have-f.at < n {
		read, err := f.src.Read(f.buf[f.have:])
		if f.have += read; read == 0 && err != nil {
			return err
		}
	}
	return nil
}

// header reads what stands before the frames (2.2).
func (f *frames) header() error {
	if err := f.fill(8); err != nil {
		return err
	}
	got := [8]byte(f.buf[f.at:])
	f.at += 8
	if got != amqp.ProtocolHeader(amqp.ProtocolAMQP) {
		return noAMQP(nil)
	}
	return nil
}

func noAMQP(err error) error {
	return fault.New("connection.read", fault.Unavailable, "the hub sent what is no AMQP").Because(err)
}
