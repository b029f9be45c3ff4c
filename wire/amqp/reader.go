package amqp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
)

const (
	smallBuffer = 4 << 10  // enough for most frames
	readAhead   = 16 << 10 // one TLS record: room for it whenever a burst comes in
	largeBuffer = 64 << 10 // the frame size most peers agree on
)

// Buffers lends buffers to the readers of many connections, of which few are reading at one time. The zero value works.
type Buffers struct{ small, middle, large sync.Pool }

func (b *Buffers) get(size int) []byte {
	if b != nil {
		switch size {
		case smallBuffer:
			if a, ok := b.small.Get().(*[smallBuffer]byte); ok {
				return a[:]
			}
		case readAhead:
			if a, ok := b.middle.Get().(*[readAhead]byte); ok {
				return a[:]
			}
		case largeBuffer:
			if a, ok := b.large.Get().(*[largeBuffer]byte); ok {
				return a[:]
			}
		}
	}
	return make([]byte, size)
}

func (b *Buffers) put(buf []byte) {
	if b == nil {
		return
	}
	switch len(buf) {
	case smallBuffer:
		b.small.Put((*[smallBuffer]byte)(buf))
	case readAhead:
		b.middle.Put((*[readAhead]byte)(buf))
	case largeBuffer:
		b.large.Put((*[largeBuffer]byte)(buf))
	}
}

// Reader cuts frames out of a byte stream. Its buffer grows with the bytes that have really arrived, never with the size a peer merely
// announces, and shrinks again once a large frame has passed. It is for one goroutine.
type Reader struct {
	src   io.Reader
	limit uint32
	buf   []byte // buf[from:to] has been read and not given out
	from  int
	to    int

	waited bool // Waiting has been called for this frame

	// Waiting, when set, is called each time the reader holds no whole frame and is about to wait for bytes: the place to write what
	// has been held back, to give the buffer back with Rest, and to start a clock. It is not called again until that frame is complete.
	Waiting func()
	// Buffers, when set, is where the reader takes its buffer from, and where Rest gives it back.
	Buffers *Buffers
}

// NewReader reads frames of at most [MinMaxFrame] bytes, header included, until Limit says otherwise.
func NewReader(src io.Reader) *Reader { return &Reader{src: src, limit: MinMaxFrame} }

// Limit changes the largest size of a frame, header included, from the next frame on. It is never below [MinMaxFrame].
func (r *Reader) Limit(maxFrame uint32) { r.limit = min(max(maxFrame, MinMaxFrame), math.MaxInt32) }

// Buffered is the number of bytes read ahead. When it is not 0 after Next, the peer has more to say already.
func (r *Reader) Buffered() int { return r.to - r.from }

// Rest gives the buffer back until the next call of Next, unless a part of a frame is in it. The last frame's body is not valid any more.
func (r *Reader) Rest() {
	if r.from == r.to {
		r.Buffers.put(r.buf)
		r.buf, r.from, r.to = nil, 0, 0
	}
}

// ProtocolHeader reads the eight bytes that stand before the frames of each layer (2.2), whatever they are: compare them with
// [ProtocolHeader] and answer what does not fit with the header that would.
func (r *Reader) ProtocolHeader() (header [8]byte, err error) {
	r.waited = false
	if err := r.need(len(header)); err != nil {
		return header, err
	}
	copy(header[:], r.buf[r.from:])
	r.from += len(header)
	return header, nil
}

// Next returns the next frame's kind, channel and body. The body is valid until the following call, and empty in a frame that only keeps
// the connection alive. io.EOF means that the stream ended between frames; io.ErrUnexpectedEOF inside one; [ErrFraming] that a size or a
// data offset is wrong (2.3.1) or the size above the limit, which is told before anything of that size is made.
func (r *Reader) Next() (kind byte, channel uint16, body []byte, err error) {
	r.waited = false
	if err := r.need(frameHead); err != nil {
		return 0, 0, nil, err
	}
	head := r.buf[r.from:r.to]
	size, offset := binary.BigEndian.Uint32(head), uint32(head[4])*4
	switch {
	case size < frameHead:
		return 0, 0, nil, fmt.Errorf("%w: a frame of %d bytes, fewer than its header has", ErrFraming, size)
	case size > r.limit:
		return 0, 0, nil, fmt.Errorf("%w: a frame of %d bytes, at most %d are allowed here", ErrFraming, size, r.limit)
	case offset < frameHead || offset > size:
		return 0, 0, nil, fmt.Errorf("%w: a data offset of %d bytes in a frame of %d", ErrFraming, offset, size)
	}
	if err := r.need(int(size)); err != nil {
		return 0, 0, nil, err
	}
	frame := r.buf[r.from : r.from+int(size) : r.from+int(size)]
	r.from += int(size)
	return frame[5], binary.BigEndian.Uint16(frame[6:]), frame[offset:], nil
}

// need reads until so many bytes are there.
func (r *Reader) need(want int) error {
	for r.to-r.from < want {
		if !r.waited && r.Waiting != nil {
			r.Waiting()
		}
		r.waited = true
		if err := r.fill(want); err != nil {
			if errors.Is(err, io.EOF) && r.to > r.from {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// fill reads once, making room first. want is the whole frame's size, or its header's while that is unknown.
func (r *Reader) fill(want int) error {
	have := r.to - r.from
	switch {
	case have == 0:
		switch {
		case r.buf == nil || len(r.buf) > largeBuffer: // nothing yet, or a large frame has passed
			r.Buffers.put(r.buf)
			r.buf = r.Buffers.get(smallBuffer)
		case r.to == len(r.buf) && r.to < readAhead: // the peer writes faster than we read: take more at a time
			r.Buffers.put(r.buf)
			r.buf = r.Buffers.get(readAhead)
		}
		r.from, r.to = 0, 0
	case r.to == len(r.buf):
		if r.from > 0 && have <= len(r.buf)/2 && want <= len(r.buf) {
			copy(r.buf, r.buf[r.from:r.to])
		} else {
			r.grow(have, want)
		}
		r.from, r.to = 0, have
	}
	n, err := r.src.Read(r.buf[r.to:])
	r.to += n
	if n > 0 {
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// grow takes a larger buffer, at most four times as large as the one that what has come has filled, and moves what has come to its
// beginning.
func (r *Reader) grow(have, want int) {
	var grown []byte
	switch {
	case len(r.buf) < readAhead:
		grown = r.Buffers.get(readAhead)
	case len(r.buf) < largeBuffer:
		grown = r.Buffers.get(largeBuffer)
	default:
		grown = make([]byte, max(min(2*len(r.buf), want), have+smallBuffer))
	}
	copy(grown, r.buf[r.from:r.to])
	r.Buffers.put(r.buf)
	r.buf = grown
}
