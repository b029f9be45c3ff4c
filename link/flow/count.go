package flow

import "sync/atomic"

// Bytes to the socket pass through our hands and are counted as they go. Bytes from the socket do not where the stream reads it
// itself; there the kernel is asked, whenever somebody wants to know, and the end tells exactly.

// countWritten adds to the total of bytes written to sockets of this direction.
func (f *flow) countWritten(n uint64) {
	if f.provider {
		f.count.sent.Add(n)
	} else {
		f.count.received.Add(n)
	}
}

func (f *flow) readTotal() *atomic.Uint64 {
	if f.provider {
		return &f.count.received
	}
	return &f.count.sent
}

// progress brings the count of bytes read up to date. The total only ever grows.
func (f *flow) progress() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.socket == nil || f.readAll || f.cut {
		return
	}
	f.advance(f.source.bytes(f))
}

// finalRead takes the exact count when there is nothing more to read.
func (f *flow) finalRead(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readAll = true
	f.advance(uint64(n))
	f.read = uint64(n)
}

// advance is called with mu held.
func (f *flow) advance(n uint64) {
	if n > f.counted {
		f.readTotal().Add(n - f.counted)
		f.counted = n
	}
	f.read = n
}

// snapshot returns the flow as it is now.
func (f *flow) snapshot() Info {
	f.progress()
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.info
	i.Sent, i.Received = f.read, f.written.Load()
	if f.provider {
		i.Sent, i.Received = i.Received, i.Sent
	}
	return i
}
