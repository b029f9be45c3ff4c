package flow

import (
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// Meter limits bytes. Of want bytes n may pass now, and count as passed; when n is 0, ask again once wait has passed. It is safe for
// concurrent use and does not block.
type Meter interface {
	Take(want int) (n int, wait time.Duration)
}

func meterOf(m Meter) *Meter {
	if m == nil {
		return nil
	}
	return &m
}

// setMeter makes a meter hold from now on, also for bytes that move already. A flow without one moves bytes without looking for one, so
// it is stopped, by its deadlines, and begins anew; one that has had a meter looks for it each time.
func (f *flow) setMeter(m Meter) {
	if m == nil && f.meter.Load() == nil {
		return
	}
	if f.meter.Swap(&m) != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.anew.Store(true)
	past := time.Unix(1, 0)
	if f.socket != nil {
		_ = f.socket.SetReadDeadline(past)
	}
	if f.stream != nil {
		_ = f.stream.SetReadDeadline(past)
	}
}

// moveSocket moves bytes from the socket to the stream until the end of data, and moveStream the other way.
func (f *flow) moveSocket() (total int64, err error) {
	for {
		n, err := f.stream.ReadFrom(f.from())
		total += n
		if !f.stopped(err) {
			return total, err
		}
		_ = f.socket.SetReadDeadline(time.Time{})
	}
}

func (f *flow) moveStream() error {
	for {
		_, err := f.stream.WriteTo(f.to())
		if !f.stopped(err) {
			return err
		}
		_ = f.stream.SetReadDeadline(time.Time{})
	}
}

// stopped says whether bytes stopped only to begin anew. The deadline is taken back before the meter is looked for, and set after it is
// there.
func (f *flow) stopped(err error) bool {
	return err != nil && f.anew.Load() && errors.Is(err, os.ErrDeadlineExceeded)
}

// from is what the stream reads the socket through.
func (f *flow) from() io.Reader {
	r := f.source.reader(f)
	if f.meter.Load() != nil {
		return &meteredSource{f: f, from: r, piece: leastPiece}
	}
	return r
}

// to is what the stream's bytes go to.
func (f *flow) to() io.Writer {
	if f.meter.Load() != nil {
		return meteredSink{socketWriter{f}}
	}
	return f.sink()
}

// pass waits until some of want bytes may pass, and returns how many.
func (f *flow) pass(want int) (int, error) {
	for {
		m := f.meter.Load()
		if m == nil || *m == nil {
			return want, nil
		}
		n, wait := (*m).Take(want)
		if n > 0 {
			return n, nil
		}
		due, stop := f.clk.After(wait)
		select {
		case <-due:
		case <-f.ctx.Done():
			stop()
			return 0, context.Cause(f.ctx)
		}
	}
}

// Bounds of what is read at once from a metered socket: what has been read goes on in one piece, when all of it may.
const (
	leastPiece = 2 << 10
	mostPiece  = 64 << 10
)

// meteredSource reads the socket no faster than the meter lets it, in pieces that grow while nobody has to wait for them.
type meteredSource struct {
	f     *flow
	from  io.Reader
	piece int
}

func (m *meteredSource) Read(b []byte) (int, error) {
	b = b[:min(len(b), m.piece)]
	n, err := m.from.Read(b)
	asked := 0
	for left := n; left > 0; asked++ {
		passed, err := m.f.pass(left)
		if err != nil {
			return 0, err
		}
		left -= passed
	}
	switch {
	case asked > 1:
		m.piece = max(m.piece/2, leastPiece)
	case n == len(b):
		m.piece = min(2*m.piece, mostPiece)
	}
	return n, err
}

// meteredSink writes to the socket no faster than the meter lets it.
type meteredSink struct{ socketWriter }

func (m meteredSink) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		n, err := m.f.pass(len(b) - done)
		if err != nil {
			return done, err
		}
		n, err = m.socketWriter.Write(b[done : done+n])
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}
