package carry

import "golang.org/x/sys/unix"

// What one turn of one direction moves, and what that may hold. The figures are from docs/performance-gateway.md.
const (
	turnBytes   = 512 << 10 // before another connection has its turn
	copyBytes   = 128 << 10 // at once through the worker's buffer
	spliceAfter = 4         // reads of copyBytes in a row, before a pipe is worth its price
	spliceLeast = 16 << 10  // and what it must bring to stay so

	mostHeld     = 128 // buffers of copyBytes for slow peers, for each worker
	spareBuffers = 4
	mostPipes    = 128 // in use, for each worker
	sparePipes   = 16
	pipeBytes    = 1 << 20 // asked of the kernel, which gives less to users with many
)

// stores are what a worker lends to links, in bounded numbers.
type stores struct {
	buffers [][]byte // spare
	held    int      // lent
	pipes   []*pipe  // spare
	lent    int      // pipes
	denied  bool     // the kernel gave no pipe
}

// pipe is a pipe of the kernel's, through which pages go from socket to socket.
type pipe struct {
	from, to int32 // the ends to read and to write
	bytes    int   // now in it
}

// hold keeps what is in the worker's scratch buffer by taking a spare one in its place.
func (w *worker) hold(f *flow, n, end int) {
	f.buffer, f.at, f.end = w.scratch, n, end
	w.stores.held++
	w.tally.held.Add(copyBytes)
	if last := len(w.stores.buffers) - 1; last >= 0 {
		w.scratch = w.stores.buffers[last]
		w.stores.buffers[last] = nil
		w.stores.buffers = w.stores.buffers[:last]
		return
	}
	w.scratch = make([]byte, copyBytes)
}

// unhold gives a flow's buffer back.
func (w *worker) unhold(f *flow) {
	if f.buffer == nil {
		return
	}
	w.stores.held--
	w.tally.held.Add(-copyBytes)
	if len(w.stores.buffers) < spareBuffers {
		w.stores.buffers = append(w.stores.buffers, f.buffer)
	}
	f.buffer = nil
}

// borrow gives a pipe, or nil.
func (w *worker) borrow() *pipe {
	s := &w.stores
	if s.lent >= mostPipes || s.denied {
		return nil
	}
	var p *pipe
	if last := len(s.pipes) - 1; last >= 0 {
		p = s.pipes[last]
		s.pipes = s.pipes[:last]
	} else {
		var ends [2]int
		if unix.Pipe2(ends[:], unix.O_NONBLOCK|unix.O_CLOEXEC) != nil {
			s.denied = true
			return nil
		}
		_, _ = unix.FcntlInt(uintptr(ends[1]), unix.F_SETPIPE_SZ, pipeBytes)
		p = &pipe{from: int32(ends[0]), to: int32(ends[1])}
	}
	s.lent++
	w.tally.pipes.Add(1)
	return p
}

// giveBack takes a pipe, whatever is still in it.
func (w *worker) giveBack(f *flow) {
	p := f.pipe
	if p == nil {
		return
	}
	f.pipe = nil
	w.stores.lent--
	w.stores.denied = false
	w.tally.pipes.Add(-1)
	if p.bytes > 0 || len(w.stores.pipes) >= sparePipes {
		p.close()
		return
	}
	w.stores.pipes = append(w.stores.pipes, p)
}

func (p *pipe) close() {
	closeFD(p.from)
	closeFD(p.to)
}

func (s *stores) drop() {
	for _, p := range s.pipes {
		p.close()
	}
	s.pipes, s.buffers = nil, nil
}
