package mux_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// A queue is the slow twin of one direction of a stream: bytes, an end, a reset.
type queue struct {
	bytes []byte
	ended bool
}

// A half is one end of a stream beside its twin. The stream's bytes must be the twin's.
type half struct {
	st     *mux.Stream
	out    *queue // what this end has written and the other has not read
	in     *queue
	closed bool // Close was called here
}

type pairOfHalves struct {
	ends  [2]*half
	reset *mux.ResetError // by which end does not matter to the twin
	by    int
}

// model runs random operations on two sessions and on the twin. The operations are done one after the other, but the sessions carry
// them out whenever they like, so a read asks for exactly what the twin says there is.
type model struct {
	sides [2]*mux.Session
	all   []*pairOfHalves
	seq   byte
}

const twinBytes = 200 << 10 // stays under the first window, so that no write has to wait for a read

func (m *model) open(t *rapid.T) {
	side := rapid.IntRange(0, 1).Draw(t, "side")
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	f := flow
	f.Port = uint16(len(m.all) + 1)
	a, err := m.sides[side].Open(ctx, f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.sides[1-side].Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if b.Flow() != f {
		t.Fatalf("accepted %+v, opened %+v", b.Flow(), f)
	}
	if err := b.Accept(); err != nil {
		t.Fatal(err)
	}
	_ = a.SetDeadline(time.Now().Add(within))
	_ = b.SetDeadline(time.Now().Add(within))
	x, y := &queue{}, &queue{}
	m.all = append(m.all, &pairOfHalves{ends: [2]*half{{st: a, out: x, in: y}, {st: b, out: y, in: x}}})
}

// some draws a stream and one of its ends; nil when there is none.
func (m *model) some(t *rapid.T) (*pairOfHalves, *half, int) {
	if len(m.all) == 0 {
		t.Skip("no stream")
	}
	p := m.all[rapid.IntRange(0, len(m.all)-1).Draw(t, "stream")]
	i := rapid.IntRange(0, 1).Draw(t, "end")
	return p, p.ends[i], i
}

func (m *model) write(t *rapid.T) {
	p, h, i := m.some(t)
	n := rapid.OneOf(rapid.IntRange(1, 100), rapid.IntRange(4000, 4200), rapid.IntRange(60_000, 140_000)).Draw(t, "bytes")
	if len(h.out.bytes)+n > twinBytes {
		t.Skip("full")
	}
	b := make([]byte, n)
	for k := range b {
		m.seq++
		b[k] = m.seq
	}
	var err error
	var wrote int
	if rapid.Bool().Draw(t, "by ReadFrom") {
		var w int64
		w, err = h.st.ReadFrom(bytes.NewReader(b))
		wrote = int(w)
	} else {
		wrote, err = h.st.Write(b)
	}
	switch {
	case p.reset != nil:
		m.wantReset(t, p, i, err)
	case h.closed || h.out.ended:
		if !errors.Is(err, net.ErrClosed) {
			t.Fatalf("writing to a closed end: %v", err)
		}
	case err != nil || wrote != n:
		t.Fatalf("wrote %d of %d: %v", wrote, n, err)
	default:
		h.out.bytes = append(h.out.bytes, b...)
	}
}

func (m *model) read(t *rapid.T) {
	p, h, i := m.some(t)
	if p.reset != nil || h.closed {
		_, err := h.st.Read(make([]byte, 1))
		for err == nil { // what arrived before the reset did
			_, err = h.st.Read(make([]byte, 1000))
		}
		if p.reset != nil {
			m.wantReset(t, p, i, err)
		} else if !errors.Is(err, net.ErrClosed) {
			t.Fatalf("reading from a closed end: %v", err)
		}
		return
	}
	if len(h.in.bytes) == 0 {
		if !h.in.ended {
			t.Skip("nothing to read")
		}
		if n, err := h.st.Read(make([]byte, 1)); n != 0 || err != io.EOF { //nolint:errorlint // the contract is io.EOF itself
			t.Fatalf("at the end: %d, %v", n, err)
		}
		return
	}
	b := make([]byte, rapid.IntRange(1, len(h.in.bytes)).Draw(t, "bytes"))
	if _, err := io.ReadFull(h.st, b); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, h.in.bytes[:len(b)]) {
		t.Fatalf("%d bytes read are not those written", len(b))
	}
	h.in.bytes = h.in.bytes[len(b):]
}

func (m *model) finish(t *rapid.T) {
	p, h, i := m.some(t)
	err := h.st.CloseWrite()
	if p.reset != nil {
		if !h.out.ended { // a reset after the end may find it gone out or not
			m.wantReset(t, p, i, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	h.out.ended = true
}

func (m *model) resets(t *rapid.T) {
	p, h, i := m.some(t)
	code := tunnel.ResetCode(rapid.IntRange(1, 9).Draw(t, "code"))
	ended := p.ends[0].out.ended && p.ends[1].out.ended
	if ended || p.reset != nil || p.ends[0].closed || p.ends[1].closed {
		t.Skip("over already, or as good as")
	}
	h.st.Reset(code, fmt.Sprint("code ", int(code)))
	p.reset, p.by = &mux.ResetError{Code: code, Message: fmt.Sprint("code ", int(code))}, i
}

// close is only done where it has one outcome: nothing unread, and the other side ended.
func (m *model) close(t *rapid.T) {
	p, h, _ := m.some(t)
	if p.reset != nil || h.closed || !h.in.ended || len(h.in.bytes) > 0 {
		t.Skip("would reset")
	}
	if _, err := h.st.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // the contract is io.EOF itself
		t.Fatalf("at the end: %v", err)
	}
	_ = h.st.Close()
	h.closed, h.out.ended = true, true
}

// wantReset checks the error of an operation on a stream that was reset; the other end may not know yet.
func (m *model) wantReset(t *rapid.T, p *pairOfHalves, end int, err error) {
	var r *mux.ResetError
	if end != p.by && !errors.As(err, &r) {
		if _, rerr := io.Copy(io.Discard, onlyReader{p.ends[end].st}); !errors.As(rerr, &r) && !p.ends[p.by].out.ended {
			t.Fatalf("after a reset: %v, then %v", err, rerr)
		}
		return
	}
	if p.ends[end].out.ended && errors.Is(err, net.ErrClosed) {
		return
	}
	if !errors.As(err, &r) || r.Code != p.reset.Code || r.Message != p.reset.Message || r.Remote != (end != p.by) {
		t.Fatalf("after a reset with %v: %v", p.reset, err)
	}
}

// TestTwin does the same to two sessions, over a pipe or over TCP with carriers, and to byte queues.
func TestTwin(t *testing.T) {
	t.Run("memory", func(t *testing.T) { checkTwin(t, pipe) })
	t.Run("TCP", func(t *testing.T) {
		checkTwin(t, func() (net.Conn, net.Conn) {
			a, b := tcpPair(t)
			return mux.NewCarrier(a), mux.NewCarrier(b)
		})
	})
}

func checkTwin(t *testing.T, join func() (a, b net.Conn)) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := join()
		m := &model{sides: [2]*mux.Session{mux.Client(a, mux.Config{}), mux.Server(b, mux.Config{})}}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for _, s := range m.sides {
			wg.Go(func() {
				if err := s.Run(ctx); err != nil && ctx.Err() == nil {
					panic(err)
				}
			})
		}
		defer wg.Wait()
		defer cancel()
		t.Repeat(map[string]func(*rapid.T){
			"open": m.open, "write": m.write, "write more": m.write, "read": m.read, "read more": m.read,
			"finish": m.finish, "reset": m.resets, "close": m.close,
		})
		// In the end everything written and not reset can still be read.
		for _, p := range m.all {
			for _, h := range p.ends {
				if p.reset != nil || h.closed {
					continue
				}
				b := make([]byte, len(h.in.bytes))
				if _, err := io.ReadFull(h.st, b); err != nil || !bytes.Equal(b, h.in.bytes) {
					t.Fatalf("the last %d bytes: %v", len(b), err)
				}
			}
		}
	})
}

// TestManyAtOnce moves much through many streams at once, both ways, with every way of reading and writing, over small pipes.
func TestManyAtOnce(t *testing.T) {
	t.Run("memory", func(t *testing.T) { manyAtOnce(t, two) })
	t.Run("TCP", func(t *testing.T) { manyAtOnce(t, overTCP) })
}

func manyAtOnce(t *testing.T, join func(testing.TB, mux.Config) (running, running)) {
	c, s := join(t, mux.Config{})
	const flows, size = 40, 400_000
	ctx := bounded(t)
	pattern := func(id int) []byte {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(i*7 + i>>8 + id)
		}
		return b
	}
	var wg sync.WaitGroup
	both := func(st *mux.Stream, id int) {
		wg.Go(func() {
			if id%2 == 0 {
				_, _ = st.ReadFrom(bytes.NewReader(pattern(id)))
			} else {
				for p := pattern(id); len(p) > 0; {
					n, err := st.Write(p[:min(len(p), 1+id*1000)])
					if err != nil {
						t.Error(err)
						return
					}
					p = p[n:]
				}
			}
			_ = st.CloseWrite()
		})
		wg.Go(func() {
			var got bytes.Buffer
			var err error
			switch id % 3 {
			case 0:
				_, err = st.WriteTo(&got)
			case 1:
				sink := &pickySink{tb: t, take: func(n int) (int, error) { return n * (id % 5) / 4, nil }}
				_, err = st.WriteTo(sink)
				got.Write(sink.got.Bytes())
			default:
				_, err = io.Copy(&got, onlyReader{st})
			}
			if err != nil || !bytes.Equal(got.Bytes(), pattern(id)) {
				t.Errorf("stream %d: %d bytes, %v", id, got.Len(), err)
			}
		})
	}
	wg.Go(func() {
		for range flows {
			st, err := s.Session.Accept(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			both(st, int(st.Flow().Port))
		}
	})
	for id := range flows {
		f := flow
		f.Port = uint16(id + 1)
		st, err := c.Open(ctx, f)
		if err != nil {
			t.Fatal(err)
		}
		both(st, id+1)
	}
	wg.Wait()
}
