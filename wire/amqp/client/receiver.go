package client

import (
	"context"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// ReceiverConfig says where a link comes from and how much may wait for its reader. Only Source is needed.
type ReceiverConfig struct {
	Source     string
	Filter     amqp.Map
	Desired    []amqp.Symbol
	Properties amqp.Map

	Prefetch      int // messages that were not read or may come: 1,000
	PrefetchBytes int // of messages that were not read; the last of them may be beyond: 4 MiB
	MaxMessage    int // bytes: 16 MiB
}

const (
	firstPiece = 4 << 10 // what messages are put into at first
	piece      = 128 << 10
)

// message is one that has come.
type message struct {
	b         []byte
	id        uint32
	unsettled bool
}

// Receiver is a link that messages come on.
type Receiver struct {
	link
	cfg     ReceiverConfig
	turn    chan struct{} // holds one: there is one reader
	buf     []byte        // messages are put into it one behind the other, until there is no room for the next
	start   int           // of the message that is coming
	coming  bool
	now     message // the one that is coming
	ready   []message
	held    int // bytes of ready
	average int // bytes of a message, lately
}

// Receiver attaches a link to a source. Faults are those of the peer, by its condition.
func (s *Session) Receiver(ctx context.Context, cfg ReceiverConfig) (*Receiver, error) {
	return s.receiver(ctx, cfg, "", "")
}

func (s *Session) receiver(ctx context.Context, cfg ReceiverConfig, name, target string) (*Receiver, error) {
	set := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	set(&cfg.Prefetch, 1000)
	set(&cfg.PrefetchBytes, 4<<20)
	set(&cfg.MaxMessage, 16<<20)
	r := &Receiver{cfg: cfg, average: 1 << 10, turn: make(chan struct{}, 1), link: link{address: cfg.Source, attach: &amqp.Attach{
		Name: name, Role: amqp.RoleReceiver, SndSettleMode: amqp.Some(amqp.SenderSettled), RcvSettleMode: amqp.Some(amqp.ReceiverFirst),
		Source: &amqp.Source{Address: cfg.Source, Filter: cfg.Filter}, Target: &amqp.Target{}, MaxMessageSize: amqp.Some(uint64(cfg.MaxMessage)),
		DesiredCapabilities: cfg.Desired, Properties: cfg.Properties,
	}}}
	if target != "" {
		r.attach.Target.Address = target
	}
	r.link.receiver = r
	if err := s.open(ctx, &r.link); err != nil {
		return nil, err
	}
	return r, nil
}

// Close detaches the link, forgets what was not read, ends a Next that waits, and waits for the peer's detach, at most until ctx ends.
func (r *Receiver) Close(ctx context.Context) { r.close(ctx) }

// Waiting is how many messages have come and were not read.
func (r *Receiver) Waiting() int {
	r.s.c.mu.Lock()
	defer r.s.c.mu.Unlock()
	return len(r.ready)
}

// Next appends messages to into: at least one, for which it waits, and of those that have come as many as the bounds allow; one message may
// be larger than maxBytes. They are the caller's from then on; each keeps some that came with it in memory. What had come before the link
// ended is still given; then the fault is that of its end.
func (r *Receiver) Next(ctx context.Context, into [][]byte, most, maxBytes int) ([][]byte, error) {
	c := r.s.c
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return into, c.late(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.until(ctx, &r.news, func() (bool, error) {
		switch {
		case len(r.ready) > 0:
			return true, nil
		case r.detaching && r.err == nil:
			return false, fault.Newf("amqp.Next", fault.Unavailable, "the link to %s is closed", r.address)
		}
		return false, r.err
	})
	if err != nil {
		return into, err
	}
	n, size := 0, 0
	for n < len(r.ready) && n < max(most, 1) && (n == 0 || size+len(r.ready[n].b) <= maxBytes) {
		size += len(r.ready[n].b)
		into = append(into, r.ready[n].b)
		n++
	}
	r.accept(r.ready[:n])
	if n == len(r.ready) {
		clear(r.ready)
		r.ready = r.ready[:0]
	} else {
		clear(r.ready[:n])
		r.ready = r.ready[n:]
	}
	r.held -= size
	r.grant()
	r.taken.ring()
	return into, nil
}

// accept settles what the peer has not.
func (r *Receiver) accept(list []message) {
	for i := 0; i < len(list); i++ {
		if !list[i].unsettled || r.err != nil {
			continue
		}
		d := amqp.Disposition{Role: amqp.RoleReceiver, First: list[i].id, Settled: true, State: amqp.Accepted{}}
		for i+1 < len(list) && list[i+1].unsettled && list[i+1].id == list[i].id+1 {
			i++
		}
		d.Last = amqp.Some(list[i].id)
		r.s.c.out = amqp.AppendDisposition(r.s.c.out, r.s.channel, &d)
		r.s.c.more.ring()
	}
}

// grant gives leave to send as much as is missing, once that is a good part: by number, and by what messages weigh lately.
func (r *Receiver) grant() {
	if r.err != nil || r.detaching || r.peer == nil {
		return
	}
	most := min(r.cfg.Prefetch, max(1, r.cfg.PrefetchBytes/r.average))
	fair := max(0, r.cfg.PrefetchBytes-r.held) / r.average
	want := min(most-len(r.ready), max(fair, 1))
	if want <= int(r.credit) || want-int(r.credit) < (most+3)/4 && (r.credit > 0 || len(r.ready) > 0) {
		return
	}
	r.credit = uint32(want)
	r.s.tell(&r.link)
}

func (r *Receiver) forget() {
	r.ready, r.held, r.buf, r.coming = nil, 0, nil, false
	r.taken.ring()
	r.news.ring()
}

// transferred is a frame of a message.
func (s *Session) transferred(t *amqp.Transfer, payload []byte) error {
	if s.inWindow == 0 {
		return against(amqp.ConditionWindowViolation, "a transfer beyond the session's window")
	}
	s.nextIn++
	if s.inWindow--; s.inWindow <= window/2 {
		s.inWindow = window
		s.tell(nil)
	}
	l := s.byPeer[t.Handle]
	switch {
	case l == nil || l.receiver == nil:
		return against(amqp.ConditionUnattachedHandle, "a transfer on handle %d, where nothing is received", t.Handle)
	case l.detaching:
		return nil
	}
	return l.receiver.add(t, payload)
}

func (r *Receiver) add(t *amqp.Transfer, payload []byte) error {
	if !r.coming {
		if r.credit == 0 {
			return against(amqp.ConditionTransferLimitExceeded, "a message without credit")
		}
		if !t.DeliveryID.Set {
			return against(amqp.ConditionInvalidField, "the first transfer of a message has no delivery-id")
		}
		r.credit--
		r.count++
		r.coming, r.start, r.now = true, len(r.buf), message{id: t.DeliveryID.Value}
	}
	size := len(r.buf) - r.start + len(payload)
	if size > r.cfg.MaxMessage {
		return against(amqp.ConditionMessageSizeExceeded, "a message of more than %d bytes", r.cfg.MaxMessage)
	}
	if len(payload) > cap(r.buf)-len(r.buf) {
		next := min(max(2*cap(r.buf), firstPiece), piece)
		if t.More {
			next = max(next, 2*size)
		}
		grown := make([]byte, len(r.buf)-r.start, max(next, size))
		copy(grown, r.buf[r.start:])
		r.buf, r.start = grown, 0
	}
	r.buf = append(r.buf, payload...)
	r.now.unsettled = !t.Settled.Value
	switch {
	case t.Aborted:
		r.coming, r.buf = false, r.buf[:r.start]
	case !t.More:
		r.coming = false
		r.now.b = r.buf[r.start:len(r.buf):len(r.buf)]
		r.ready = append(r.ready, r.now)
		r.now.b = nil
		r.held += size
		r.average = max(1, r.average+(size-r.average)/16)
		c := r.s.c
		c.woken[r] = struct{}{}
		c.hold(r)
	}
	return nil
}
