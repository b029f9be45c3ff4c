package upstream

import (
	"context"
	"hash/maphash"
	"slices"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// Query is a question for a group of servers. It is copied by [Pool.Ask].
type Query struct {
	Name []byte // on the wire, uncompressed, with the root's zero, any case; see WireName
	Type uint16 // the class is always IN
	CD   bool   // checking disabled
	AD   bool   // authentic data is understood (RFC 6840 section 5.7)
	DO   bool   // with DNSSEC records

	// Via is the data of the LoopOption of the query that makes this one necessary; nil without. The resolver's own token is added.
	Via []byte
}

// Answer is what became of a question.
type Answer struct {
	// Message is the whole answer on the wire, the OPT record of the hop included; nil when Err is not. Its identifier is 0 and the
	// question's name is in lower case, however it was asked. It is valid until done returns, and shared with others who asked
	// the same: copy what is kept, change nothing.
	Message []byte
	Err     error         // a fault: Timeout, Unavailable, Exhausted, Invalid
	Server  *Server       // whose answer it is; nil when Err is not
	RTT     time.Duration // of the try that succeeded
	RCode   uint16        // with the upper bits of the OPT record

	// Truncated: the answer is cut, and the whole one could not be had over TCP.
	Truncated bool
	Joined    bool // another's question was in flight already, and this is its answer
}

// waiter is somebody who asked.
type waiter struct {
	done   func(Answer)
	stop   func() bool // of the context; nil without
	seq    uint64
	joined bool
}

const (
	flagCD = 1 << iota
	flagAD
	flagDO
)

// key is what makes two questions the same. Names are compared as well, so a hash that collides only costs the joining.
type key struct {
	group *Group
	hash  uint64
	qtype uint16
	flags uint8
}

// Ask puts a question to a group. It never waits: done is called exactly once, from a goroutine of the pool, and must not block
// either, because that goroutine has other answers to deliver. A question which the pool cannot take because it is full is answered
// in the same way, with fault.Exhausted; only a pool that does not run, or is asked MaxInFlight times more while it is full, calls
// done from Ask itself.
//
// ctx takes the one question back: done gets fault.Timeout or fault.Unavailable, and when nobody else waits for the answer, the
// server is not waited for. A context that never ends costs nothing; others cost an allocation or two. The pool ends every
// question by Config.QueryTimeout, and all when Run ends.
func (p *Pool) Ask(ctx context.Context, g *Group, q Query, done func(Answer)) {
	k := key{group: g, qtype: q.Type}
	if q.CD {
		k.flags |= flagCD
	}
	if q.AD {
		k.flags |= flagAD
	}
	if q.DO {
		k.flags |= flagDO
	}
	f := p.spare.Get().(*flight) //nolint:forcetypeassert // its own
	f.nameLen = lowerName(&f.name, q.Name)
	k.hash = maphash.Bytes(p.seed, f.name[:f.nameLen])
	f.key = k
	f.via = append(f.via[:0], q.Via[:min(len(q.Via)&^7, maxVia*8)]...)
	w := p.works.Get().(*work) //nolint:forcetypeassert // its own
	w.asking = true
	now := p.clk.Now()

	p.mu.Lock()
	if err := p.refusal(f, g); err != nil {
		running := p.running
		if running && len(p.late) < p.cfg.MaxInFlight {
			p.late = append(p.late, ending{one: waiter{done: done}, answer: Answer{Err: err}})
			p.wakeUp()
			done = nil
		}
		p.mu.Unlock()
		p.recycle(f)
		p.works.Put(w)
		if done != nil {
			done(Answer{Err: err})
		}
		return
	}
	p.asks++
	p.seq++
	wt := waiter{done: done, seq: p.seq}
	if same := p.flights[k]; same != nil && slices.Equal(same.name[:same.nameLen], f.name[:f.nameLen]) {
		wt.joined = true
		p.await(ctx, same, wt)
		p.metrics.joined.Inc()
		p.mu.Unlock()
		p.recycle(f)
		p.works.Put(w)
		return
	} else if same == nil {
		p.flights[k] = f
		f.listed = true
	}
	p.await(ctx, f, wt)
	f.deadline = now.Add(p.cfg.QueryTimeout)
	p.all.push(f)
	p.proceed(f, now, w)
	p.mu.Unlock()
	p.do(w)
	p.works.Put(w)
}

// refusal says why a question cannot be taken.
func (p *Pool) refusal(f *flight, g *Group) error {
	const op = "upstream.Ask"
	switch {
	case !p.running:
		return fault.New(op, fault.Unavailable, "the resolver is stopping")
	case f.nameLen == 0:
		return fault.New(op, fault.Invalid, "the question has no domain name on the wire")
	case g == nil || len(g.servers) == 0:
		return fault.New(op, fault.Unavailable, "there is no server to ask").Advise("name at least one")
	case p.asks >= p.cfg.MaxInFlight:
		p.metrics.refused.Inc()
		return fault.New(op, fault.Exhausted, "too many questions wait for servers").Advise("ask again in a second")
	}
	return nil
}

// await adds a waiter, who leaves when ctx ends.
func (p *Pool) await(ctx context.Context, f *flight, w waiter) {
	if ctx.Done() != nil {
		seq := w.seq
		w.stop = context.AfterFunc(ctx, func() { p.cancel(ctx, seq) })
		p.leaving[seq] = f
	}
	f.waiters = append(f.waiters, w)
}

// cancel takes one waiter out, and the question back when it was the last.
func (p *Pool) cancel(ctx context.Context, seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.leaving[seq]
	if f == nil {
		return
	}
	delete(p.leaving, seq)
	i := slices.IndexFunc(f.waiters, func(w waiter) bool { return w.seq == seq })
	kind, words := fault.Unavailable, "the question was taken back"
	if context.Cause(ctx) == context.DeadlineExceeded { //nolint:errorlint // the context's own value
		kind, words = fault.Timeout, "no server answered in time"
	}
	p.late = append(p.late, ending{
		one: f.waiters[i], answer: Answer{Err: fault.New("upstream.Ask", kind, words).Because(context.Cause(ctx))},
	})
	p.asks--
	f.waiters = slices.Delete(f.waiters, i, i+1)
	if len(f.waiters) == 0 {
		p.leave(f)
		p.drop(f)
		p.late = append(p.late, ending{flight: f}) // to be used again
	}
	p.wakeUp()
}

// Exchange asks and waits. The message of its answer is the caller's own. For tests and tools: a server has Ask.
func (p *Pool) Exchange(ctx context.Context, g *Group, q Query) (Answer, error) {
	got := make(chan Answer, 1)
	p.Ask(ctx, g, q, func(a Answer) {
		a.Message = slices.Clone(a.Message)
		got <- a
	})
	a := <-got
	return a, a.Err
}
