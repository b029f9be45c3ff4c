package mux

import (
	"io"

	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// A puller reads a source into segments with headroom for a frame header.
type puller struct {
	r    io.Reader
	raw  *rawSource // nil unless r is a connection that can wait without a buffer
	size int        // of the next segment for other sources
}

func newPuller(r io.Reader) *puller { return &puller{r: r, raw: newRawSource(r), size: 2 << 10} }

// pull reads once, at most limit bytes. The segment is nil when nothing was read.
func (p *puller) pull(limit int) (*segment, error) {
	if p.raw != nil {
		return p.raw.pull(limit)
	}
	// A source that may wait with our buffer in its hands gets a small one until it fills it.
	seg := newSegment(tunnel.HeaderLen + min(p.size, limit))
	end := min(len(seg.buf), tunnel.HeaderLen+limit)
	n, err := p.r.Read(seg.buf[tunnel.HeaderLen:end])
	if n <= 0 {
		seg.free()
		return nil, err
	}
	seg.w = tunnel.HeaderLen + n
	switch {
	case seg.w == len(seg.buf):
		p.size = min(2*len(seg.buf), maxPayload)
	case n < p.size/4:
		p.size = max(p.size/2, 2<<10)
	}
	return seg, err
}
