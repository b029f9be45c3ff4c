package mqtt

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

const (
	smallBuffer = 4 << 10  // enough for most packets
	readAhead   = 16 << 10 // one TLS record: room for it whenever a burst comes in
)

// Buffers lends buffers to the readers of many connections, of which few are reading at one time. The zero value works.
type Buffers struct{ small, large sync.Pool }

func (b *Buffers) get(size int) []byte {
	if b != nil && size == smallBuffer {
		if a, ok := b.small.Get().(*[smallBuffer]byte); ok {
			return a[:]
		}
	}
	if b != nil && size == readAhead {
		if a, ok := b.large.Get().(*[readAhead]byte); ok {
			return a[:]
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
		b.large.Put((*[readAhead]byte)(buf))
	}
}

// Reader cuts packets out of a byte stream. Its buffer grows with the bytes that have really arrived, never with the length a peer
// merely announces, and shrinks again once a large packet has passed.
type Reader struct {
	src   io.Reader
	limit int
	buf   []byte // buf[from:to] has been read and not given out
	from  int
	to    int

	// Waiting, when set, is called each time the reader holds no whole packet and is about to wait for bytes: the place to start
	// the keep-alive's clock. It is not called again until that packet is complete.
	Waiting func()

	// First is the size of the first buffer, for one who never rests; 4 KiB when 0.
	First int
	// Buffers, when set, is where the reader takes its buffer from, and where Rest gives it back.
	Buffers *Buffers
}

// NewReader reads packets whose remaining length is at most limit.
func NewReader(src io.Reader, limit int) *Reader { return &Reader{src: src, limit: limit} }

// SetLimit changes the largest remaining length, from the next packet on.
func (r *Reader) SetLimit(limit int) { r.limit = limit }

// Rest gives the buffer back until the next call of Next, unless a part of a packet is in it. The last packet's body is not valid any more.
func (r *Reader) Rest() {
	if r.from == r.to {
		r.Buffers.put(r.buf)
		r.buf, r.from, r.to = nil, 0, 0
	}
}

// Next returns the first byte and the body of the next packet. The body is valid until the following call. io.EOF means that the
// stream ended between packets; io.ErrUnexpectedEOF inside one; [ErrTooLarge] is returned before the body is read.
func (r *Reader) Next() (first byte, body []byte, err error) {
	waited := false
	for {
		head, n, err := header(r.buf[r.from:r.to])
		switch {
		case err != nil:
			return 0, nil, err
		case head > 0 && n > r.limit:
			return r.buf[r.from], nil, fmt.Errorf("%w: %s of %d bytes, at most %d are allowed here", ErrTooLarge, TypeOf(r.buf[r.from]), n, r.limit)
		case head > 0 && r.to-r.from >= head+n:
			at := r.from
			r.from += head + n
			return r.buf[at], r.buf[at+head : r.from : r.from], nil
		}
		if !waited && r.Waiting != nil {
			r.Waiting()
			waited = true
		}
		if err := r.fill(head + n); err != nil {
			if errors.Is(err, io.EOF) && r.to > r.from {
				err = io.ErrUnexpectedEOF
			}
			return 0, nil, err
		}
	}
}

// header reads a fixed header: its size (0 when more bytes are needed) and the remaining length.
func header(b []byte) (size, remaining int, err error) {
	for i := 1; i < len(b); i++ {
		remaining |= int(b[i]&127) << (7 * (i - 1))
		if b[i] < 128 {
			return i + 1, remaining, nil
		}
		if i == 4 {
			return 0, 0, malformed("2.2.3", "remaining length of more than four bytes")
		}
	}
	return 0, 0, nil
}

// fill reads once, making room first. want is the whole packet's size, or 0 while unknown.
func (r *Reader) fill(want int) error {
	have := r.to - r.from
	switch {
	case have == 0:
		switch {
		case r.buf == nil && r.First > 0:
			r.buf = make([]byte, r.First)
		case r.buf == nil || len(r.buf) > 4*readAhead: // nothing yet, or a large packet has passed
			r.buf = r.Buffers.get(smallBuffer)
		case r.to == len(r.buf) && r.to < readAhead: // the peer writes faster than we read: take more at a time
			r.Buffers.put(r.buf)
			r.buf = r.Buffers.get(readAhead)
		}
		r.from, r.to = 0, 0
	case r.to == len(r.buf):
		if r.from > 0 && have <= len(r.buf)/2 {
			copy(r.buf, r.buf[r.from:r.to])
		} else {
			size := min(2*len(r.buf), max(want, readAhead))
			grown := make([]byte, max(size, len(r.buf)+smallBuffer))
			copy(grown, r.buf[r.from:r.to])
			r.Buffers.put(r.buf)
			r.buf = grown
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
