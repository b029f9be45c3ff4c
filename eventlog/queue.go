package eventlog

import (
	"context"
	"sync"
)

// request is one thing asked of the committer. It belongs to the queue from push until its answer.
type request struct {
	kind      kind
	stream    string
	partition int    // chosen by the caller, or -1: by key
	key       string // partition key
	rec       []byte // append: room for the header, then the payload
	number    int64  // create: count of partitions; trim: first sequence number kept

	pos   Position
	err   error
	done  func(Position, error) // nil: answered over reply
	reply chan struct{}         // one slot, so that the answer never waits
}

type kind uint8

const (
	appendEvent kind = iota
	createStream
	trimPartition
)

// cost is what a request counts against the queue's bound: its bytes and about what it takes itself.
func (r *request) cost() int { return len(r.rec) + 256 }

func (r *request) answer() {
	if r.done == nil {
		r.reply <- struct{}{}
		return
	}
	pos, err, done := r.pos, r.err, r.done
	putRequest(r)
	done(pos, err)
}

var requests = sync.Pool{New: func() any { return &request{reply: make(chan struct{}, 1)} }}

func getRequest(k kind, stream string) *request {
	r := requests.Get().(*request) //nolint:forcetypeassert // the pool holds nothing else
	r.kind, r.stream, r.partition = k, stream, -1
	return r
}

// putRequest gives a request back once nobody else has it. Very large buffers are left to the collector.
func putRequest(r *request) {
	rec := r.rec[:0]
	if cap(rec) > 64<<10 {
		rec = nil
	}
	*r = request{rec: rec, reply: r.reply}
	requests.Put(r)
}

// queue is what waits for the committer: bounded in bytes, first in first out.
type queue struct {
	news chan struct{} // one slot: something waits

	mu      sync.Mutex // guards the fields below
	pending []*request
	bytes   int
	limit   int
	closed  error         // set: nothing more is taken in
	space   chan struct{} // closed when room appears; nil while nobody waits for room
}

func (q *queue) init(limit int) {
	q.news = make(chan struct{}, 1)
	q.limit = limit
}

// push waits for room. On an error the request is still the caller's.
func (q *queue) push(ctx context.Context, r *request) error {
	for {
		q.mu.Lock()
		if q.closed != nil {
			q.mu.Unlock()
			return q.closed
		}
		if len(q.pending) == 0 || q.bytes+r.cost() <= q.limit {
			q.pending = append(q.pending, r)
			q.bytes += r.cost()
			first := len(q.pending) == 1
			q.mu.Unlock()
			if first {
				select {
				case q.news <- struct{}{}:
				default:
				}
			}
			return nil
		}
		if q.space == nil {
			q.space = make(chan struct{})
		}
		space := q.space
		q.mu.Unlock()
		select {
		case <-space:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take moves at most events requests and about bytes bytes, but at least one if there is one, to dst.
func (q *queue) take(dst []*request, events, bytes int) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size := 0, 0
	for n < len(q.pending) && n < events && (n == 0 || size+q.pending[n].cost() <= bytes) {
		size += q.pending[n].cost()
		n++
	}
	dst = append(dst, q.pending[:n]...)
	rest := copy(q.pending, q.pending[n:])
	clear(q.pending[rest:])
	q.pending = q.pending[:rest]
	q.bytes -= size
	q.wakeLocked()
	return dst
}

func (q *queue) wakeLocked() {
	if q.space != nil {
		close(q.space)
		q.space = nil
	}
}

// close refuses every push from now on with cause; what waits is still taken.
func (q *queue) close(cause error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed == nil {
		q.closed = cause
	}
	q.wakeLocked()
}

// refuse answers all that waits with the cause of the close. For when no committer will ever come.
func (q *queue) refuse() {
	q.mu.Lock()
	waiting, cause := q.pending, q.closed
	q.pending, q.bytes = nil, 0
	q.mu.Unlock()
	for _, r := range waiting {
		r.err = cause
		r.answer()
	}
}

// news is a broadcast for which nobody polls.
type news struct {
	mu sync.Mutex // guards ch
	ch chan struct{}
}

func (n *news) listen() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		n.ch = make(chan struct{})
	}
	return n.ch
}

func (n *news) announce() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch != nil {
		close(n.ch)
		n.ch = nil
	}
}
