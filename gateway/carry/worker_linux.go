package carry

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isthmus-io/isthmus/fault"
)

const (
	eventsATurn = 256
	reviewATurn = 512 // connections asked about before others have their turn
	busyTurns   = 32  // without waiting, before the process's goroutines have theirs
)

// What an event is about: the low bits of EpollEvent.Pad, above which stands the generation of the link in the slot EpollEvent.Fd.
const (
	aboutClient = iota
	aboutTarget
	aboutDoor // Fd is the number of the door
	aboutWake
	aboutBits = 2
)

// worker owns its links alone; others send it orders.
type worker struct {
	c     *Carrier
	tally tally
	busy  atomic.Bool // it has links, and so deadlines

	epoll   int32
	events  [eventsATurn]unix.EpollEvent
	scratch []byte
	now     int64 // nanoseconds, see Carrier.nanos, of this turn
	wheel   wheel
	resting resting
	doors   []*door // by number; nil when shut
	paused  int64   // when not 0, nothing is accepted before
	spare   int32   // a file descriptor to give up when there are no others
	slots   []*link
	free    *link // linked by later
	ready   []*link
	turning []*link // the other half of ready
	stores  stores
	over    bool // everything is to end
	busyFor int  // turns

	mu     sync.Mutex // guards the fields below
	waker  int32      // an eventfd; -1 before begin
	orders []func()
	ended  bool // no order is taken any more
}

func newWorker(c *Carrier) *worker { return &worker{c: c, epoll: -1, waker: -1, spare: -1} }

// begin makes what finish lets go of.
func (w *worker) begin() error {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fault.Wrap("carry.Run", fault.Unavailable, os.NewSyscallError("epoll_create1", err), "the gateway cannot start: "+err.Error())
	}
	w.epoll = int32(epoll)
	waker, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fault.Wrap("carry.Run", fault.Unavailable, os.NewSyscallError("eventfd", err), "the gateway cannot start: "+err.Error())
	}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, waker, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Pad: aboutWake}); err != nil {
		closeFD(int32(waker))
		return fault.Wrap("carry.Run", fault.Unavailable, os.NewSyscallError("epoll_ctl", err), "the gateway cannot start: "+err.Error())
	}
	w.mu.Lock()
	w.waker = int32(waker)
	w.mu.Unlock()
	w.spare = spareFD()
	w.scratch = make([]byte, copyBytes)
	w.tell()
	w.wheel.at = ticks(w.now)
	w.wake() // orders may have come before
	return nil
}

// finish carries out the orders that are left, whose senders wait, and takes no others.
func (w *worker) finish() {
	w.mu.Lock()
	w.ended = true
	orders := w.orders
	w.orders = nil
	waker := w.waker
	w.waker = -1
	w.mu.Unlock()
	for _, order := range orders {
		order()
	}
	w.stores.drop()
	for _, fd := range []int32{w.epoll, waker, w.spare} {
		if fd >= 0 {
			closeFD(fd)
		}
	}
	w.epoll, w.spare = -1, -1
}

// post sends an order to the worker; false when it has ended.
func (w *worker) post(order func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return false
	}
	w.orders = append(w.orders, order)
	w.wakeLocked()
	return true
}

func (w *worker) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wakeLocked()
}

func (w *worker) wakeLocked() {
	if w.waker >= 0 {
		one := [8]byte{1}
		_, _ = unix.Write(int(w.waker), one[:])
	}
}

func (w *worker) tell() { w.now = w.c.nanos(w.c.clk.Now()) }

func (w *worker) run() {
	for !w.over {
		n := w.poll()
		w.tell()
		for i := range n {
			w.event(&w.events[i])
		}
		w.turn()
		if w.paused != 0 && w.now >= w.paused {
			w.resume()
		}
		w.wheel.turn(w.now, w.look)
		w.resting.due(w.now, w.rested)
		w.busy.Store(w.wheel.links > 0 || w.paused != 0)
	}
	for _, l := range w.slots {
		if l.stage != ended {
			w.end(l, ReasonDrain)
		}
	}
	w.finish()
}

// poll asks for events without waiting first, which does not trouble Go's scheduler, and waits only when there are none.
func (w *worker) poll() int {
	n := epollNow(w.epoll, w.events[:])
	if n > 0 || len(w.ready) > 0 {
		if w.busyFor++; w.busyFor%busyTurns == 0 {
			runtime.Gosched()
		}
		return n
	}
	timeout := -1
	if next, ok := w.resting.next(); ok {
		timeout = int(min(max(1, (next-w.now+int64(time.Millisecond)-1)/int64(time.Millisecond)), 1000))
	}
	n, err := unix.EpollWait(int(w.epoll), w.events[:], timeout)
	if err != nil {
		return 0 // EINTR
	}
	return n
}

func (w *worker) event(e *unix.EpollEvent) {
	switch about := e.Pad & (1<<aboutBits - 1); about {
	case aboutWake:
		w.obey()
	case aboutDoor:
		if d := w.doors[e.Fd]; d != nil && w.paused == 0 {
			w.accept(d)
		}
	default:
		l := w.slots[e.Fd]
		if l.generation == uint32(e.Pad)>>aboutBits && l.stage != ended {
			w.happened(l, int(about), e.Events)
		}
	}
}

func (w *worker) obey() {
	var count [8]byte
	_, _ = unix.Read(int(w.waker), count[:])
	w.mu.Lock()
	orders := w.orders
	w.orders = nil
	w.mu.Unlock()
	for _, order := range orders {
		order()
	}
}

// turn goes on with those links that had more to pass than one turn allows.
func (w *worker) turn() {
	w.ready, w.turning = w.turning[:0], w.ready
	for _, l := range w.turning {
		l.queued = false
		if l.stage == passing {
			w.pass(l)
		}
	}
	clear(w.turning)
}

// again gives l another turn.
func (w *worker) again(l *link) {
	if !l.queued {
		l.queued = true
		w.ready = append(w.ready, l)
	}
}

// review asks about the links from slot first on, in several turns.
func (w *worker) review(first int, keep func(Visit) bool, done func()) {
	end := min(first+reviewATurn, len(w.slots))
	for _, l := range w.slots[first:end] {
		if l.stage != ended && l.visit != nil && !keep(l.visit) {
			w.end(l, ReasonCut)
		}
	}
	if end == len(w.slots) || !w.post(func() { w.review(end, keep, done) }) {
		done()
	}
}

// look is called when a deadline of l may have come.
func (w *worker) look(l *link) {
	switch due := l.due(); {
	case due > w.now:
		w.wheel.arm(l, due)
		if l.stage == passing && !l.tuned {
			// Most connections are gone by now, and have saved these calls.
			l.tuned = true
			tune(l.fd[target])
		}
	case l.stage == opening:
		w.end(l, ReasonHelloTimeout)
	case l.stage == joining:
		w.failed(l, unix.ETIMEDOUT)
	default:
		w.end(l, ReasonIdle)
	}
}
