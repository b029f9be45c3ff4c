package engine

import (
	"math/bits"
	"sync"
)

const (
	leastMessage = 9  // log2 of the smallest buffer of a message
	mostMessage  = 21 // of the largest that is kept for another
)

// messages lends buffers for messages that have come, by size: powers of two.
type messages struct {
	pools [mostMessage - leastMessage + 1]sync.Pool
}

type buffer struct{ b []byte }

func sizeClass(n int) int { return max(bits.Len(uint(max(n, 1)-1))-leastMessage, 0) }

// get returns an empty buffer with room for n bytes.
func (m *messages) get(n int) *buffer {
	class := sizeClass(n)
	if class >= len(m.pools) {
		return &buffer{b: make([]byte, 0, n)}
	}
	if b, ok := m.pools[class].Get().(*buffer); ok {
		return b
	}
	return &buffer{b: make([]byte, 0, 1<<(leastMessage+class))}
}

func (m *messages) put(b *buffer) {
	if class := sizeClass(cap(b.b)); class < len(m.pools) && cap(b.b) == 1<<(leastMessage+class) {
		b.b = b.b[:0]
		m.pools[class].Put(b)
	}
}
