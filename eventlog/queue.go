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
	rec       []byte // append: the events, each with room for its header
	cuts      []int  // append: where each event ends in rec
	existing  bool   // append: the stream must be there
	producer  Producer
	number    int64     // create: count of partitions; trim: first sequence number kept
	hashed    hashKind  // create
	retention Retention // create, keep
	of        *stream   // trim: the very stream, not a later one of the same name

	answer answer
	err    error
	done   func(Position, error) // nil: answered over reply
	reply  chan struct{}         // one slot, so that the answer never waits
}

type answer struct {
	pos      Position
	producer Producer
}

type kind uint8

const (
	appendEvents kind = iota
	registerProducer
	createStream
	keepStream
	trimPartition
	deleteStream
)

// frees tells what is done on a full disk too, since it makes room.
func (k kind) frees() bool { return k >= keepStream }

// cost is what a request counts against the queue's bound: its bytes and about what it takes itself.
func (r *request) cost() int { return len(r.rec) + 8*len(r.cuts) + 256 }

func (r *request) finish() {
	if r.done == nil {
		r.reply <- struct{}{}
		return
	}
	pos, err, done := r.answer.pos, r.err, r.done
	putRequest(r)
	done(pos, err)
}

// Requests are used again with their buffers. Those of large batches are kept apart, so that they do not end up holding small events.
var (
	requests      = sync.Pool{New: newRequest}
	largeRequests = sync.Pool{New: newRequest}
)

const (
	largeBuffer  = 64 << 10
	spareForKeys = 1 << 20 // what the largest buffer kept has beyond MaxBatchBytes
)

func newRequest() any { return &request{reply: make(chan struct{}, 1)} }

func getRequest(k kind, stream string) *request { return getRequestFor(k, stream, 0) }

// getRequestFor is getRequest for events of about so many bytes.
func getRequestFor(k kind, stream string, size int) *request {
	pool := &requests
	if size > largeBuffer {
		pool = &largeRequests
	}
	r := pool.Get().(*request) //nolint:forcetypeassert // the pools hold nothing else
	r.kind, r.stream, r.partition = k, stream, -1
	return r
}

// putRequest gives a request back once nobody else has it. The largest buffers are left to the collector.
func putRequest(r *request) {
	rec, cuts := r.rec[:0], r.cuts[:0]
	if cap(rec) > MaxBatchBytes+spareForKeys {
		rec = nil
	}
	*r = request{rec: rec, cuts: cuts, reply: r.reply}
	if cap(rec) > largeBuffer {
		largeRequests.Put(r)
		return
	}
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

// take moves requests with at most so many events and about bytes bytes, but at least one if there is one, to dst.
func (q *queue) take(dst []*request, events, bytes int) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size := 0, 0
	for ; n < len(q.pending); n++ {
		r := q.pending[n]
		if events -= max(len(r.cuts), 1); n > 0 && (events < 0 || size+r.cost() > bytes) {
			break
		}
		size += r.cost()
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
		r.finish()
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
