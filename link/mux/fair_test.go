package mux_test

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// stuff writes until the stream takes no more, while nobody reads the connection, and returns how much it took.
func stuff(t *testing.T, st *mux.Stream) int {
	t.Helper()
	_ = st.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	n, err := st.Write(make([]byte, 1<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("wrote %d, %v", n, err)
	}
	_ = st.SetWriteDeadline(time.Time{})
	return n
}

// TestTurns fills the queues while the peer reads nothing, and then looks at the order in which things arrive.
func TestTurns(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	s := run(t, mux.Client(a, mux.Config{KeepAlive: -1}))
	open := func() *mux.Stream {
		st, err := s.Open(bounded(t), flow)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	bulk := open()
	stuffed := stuff(t, bulk) // a batch is under way, the rest waits in line
	other := open()
	stuffed += stuff(t, other)
	few := make([]*mux.Stream, 10)
	for i := range few {
		few[i] = open()
		mustWrite(t, few[i], "a few bytes")
	}
	if stuffed > 2*tunnel.InitialWindow {
		t.Errorf("%d bytes were queued by two streams", stuffed)
	}

	const bulkID, otherID = 1, 3
	ahead := 0             // bytes of bulk that arrive before the few
	inRow, longest := 0, 0 // frames of one stream while another waited
	last := uint32(0)
	seen := 0
	left := stuffed
	_ = b.SetReadDeadline(time.Now().Add(within))
	for left > 0 {
		f, err := tunnel.ReadFrame(b)
		if err != nil {
			t.Fatal(err)
		}
		if f.Type != tunnel.TypeData {
			continue
		}
		if len(f.Payload) > 64<<10 {
			t.Errorf("a turn of %d bytes", len(f.Payload))
		}
		if f.Stream != bulkID && f.Stream != otherID {
			seen++
			continue
		}
		left -= len(f.Payload)
		if seen < len(few) {
			ahead += len(f.Payload)
			continue
		}
		if f.Stream == last {
			inRow++
		} else {
			inRow = 1
		}
		last = f.Stream
		longest = max(longest, inRow)
	}
	if seen != len(few) {
		t.Errorf("%d of %d streams with a few bytes were served", seen, len(few))
	}
	// What was under way when the few came, and the other bulk stream's first turn, which was in line before them.
	if most := 128 << 10; ahead > most {
		t.Errorf("%d bytes of bulk went ahead of a few, at most %d may", ahead, most)
	}
	if longest > 2 {
		t.Errorf("%d turns in a row for one of two bulk streams", longest)
	}
}
