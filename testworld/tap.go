package testworld

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Tap stands on the wire between the agents and the relay and reads everything that passes, as somebody who owned the relay's
// machine could. Markers that it is told to look for and sees are counted.
type Tap struct {
	listener net.Listener
	relay    string
	bytes    atomic.Int64
	seen     atomic.Int64
	wg       sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	markers [][]byte
	conns   map[net.Conn]struct{}
	closed  bool
}

func newTap(ctx context.Context, listen string) (*Tap, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", listen)
	if err != nil {
		return nil, err
	}
	return &Tap{listener: l, conns: map[net.Conn]struct{}{}}, nil
}

// Look adds something which must never be seen in the clear.
func (t *Tap) Look(marker []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.markers = append(t.markers, bytes.Clone(marker))
}

// Seen returns how often a marker was seen.
func (t *Tap) Seen() int64 { return t.seen.Load() }

// Bytes returns how much has passed.
func (t *Tap) Bytes() int64 { return t.bytes.Load() }

// start forwards every connection to the relay at target until close.
func (t *Tap) start(target string) {
	t.relay = target
	t.wg.Go(func() {
		for {
			c, err := t.listener.Accept()
			if err != nil {
				return
			}
			t.wg.Go(func() { t.forward(c) })
		}
	})
}

func (t *Tap) forward(c net.Conn) {
	defer c.Close()
	var d net.Dialer
	r, err := d.DialContext(context.Background(), "tcp", t.relay)
	if err != nil {
		return
	}
	defer r.Close()
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return
	}
	t.conns[c], t.conns[r] = struct{}{}, struct{}{}
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		delete(t.conns, c)
		delete(t.conns, r)
		t.mu.Unlock()
	}()
	var both sync.WaitGroup
	both.Go(func() { t.copy(r, c) })
	both.Go(func() { t.copy(c, r) })
	both.Wait()
}

// copy passes bytes on and looks for markers, also where one lies across two reads.
func (t *Tap) copy(dst, src net.Conn) {
	const keep = 256
	buf := make([]byte, keep+64<<10)
	have := 0
	for {
		n, err := src.Read(buf[have:])
		if n > 0 {
			t.bytes.Add(int64(n))
			t.scan(buf[:have+n], have)
			if _, werr := dst.Write(buf[have : have+n]); werr != nil {
				return
			}
			tail := min(keep, have+n)
			copy(buf, buf[have+n-tail:have+n])
			have = tail
		}
		if err != nil {
			if err == io.EOF { //nolint:errorlint // net.Conn returns it bare
				if cw, ok := dst.(*net.TCPConn); ok {
					_ = cw.CloseWrite()
				}
				return
			}
			dst.Close()
			return
		}
	}
}

// scan counts markers that end behind the first `old` bytes, which were scanned before.
func (t *Tap) scan(window []byte, old int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.markers {
		for from := max(0, old-len(m)+1); ; {
			i := bytes.Index(window[from:], m)
			if i < 0 {
				break
			}
			t.seen.Add(1)
			from += i + 1
		}
	}
}

func (t *Tap) close() {
	t.listener.Close()
	t.mu.Lock()
	t.closed = true
	for c := range t.conns {
		c.Close()
	}
	t.mu.Unlock()
	t.wg.Wait()
}
