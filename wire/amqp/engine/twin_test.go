package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// failing is what is common to the t of testing and of rapid.
type failing interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// twin is a slow and obvious peer. It keeps to windows and credit, finds everything wrong that does not, and counts what comes and goes.
type twin struct {
	t        failing
	random   *rand.Rand
	conn     *amqptest.Conn
	frames   chan amqptest.Frame
	sessions map[uint16]*twinSession
	frameMax int // bytes of frames to it
}

type twinSession struct {
	twin    *twin
	channel uint16
	links   map[uint32]*twinLink

	nextOut, mayOut uint32 // transfer-id; transfers the engine takes
	nextIn, window  uint32 // transfer-id; transfers it may still send
	nextDelivery    uint32
	lastIn          uint32 // delivery-id, one before the first
	unsettledOut    map[uint32]*twinLink
	unsettledIn     []uint32 // in order
	unsettledBy     map[uint32]*twinLink
	settling        map[uint32]bool // told without settling: the engine is to settle
}

type twinLink struct {
	session *twinSession
	name    string
	handle  uint32
	sends   bool // the twin does
	credit  uint32
	count   uint32

	messages [][]byte // to send, or to be received
	next     int      // of messages
	rest     []byte   // of the one that is being sent
	partial  []byte   // of the one that comes
	current  uint32   // its delivery-id
	inside   bool     // a message
	settled  int
	outcome  map[uint32]byte // of deliveries sent, by id: the first byte of the message
}

func (w *twin) fatalf(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf(format, args...)
}

func (w *twin) send(channel uint16, p amqp.Performative, payload []byte) {
	if err := w.conn.Send(context.Background(), channel, p, payload); err != nil {
		w.fatalf("sending %T: %v", p, err)
	}
}

// outcomes are what the first byte of a message asks for.
var outcomes = []amqp.State{amqp.Accepted{}, amqp.Released{}, amqp.Rejected{Error: &amqp.Error{Condition: "x:y"}}, amqp.Modified{DeliveryFailed: true}}

func sameOutcome(a, b amqp.State) bool { return fmt.Sprintf("%T", a) == fmt.Sprintf("%T", b) }

// messagesOf makes messages that tell which they are.
func messagesOf(random *rand.Rand, n int) (all [][]byte) {
	for i := range n {
		m := make([]byte, 5+random.IntN(1<<random.IntN(14)))
		m[0] = byte(random.IntN(len(outcomes)))
		binary.BigEndian.PutUint32(m[1:], uint32(i))
		for j := 5; j < len(m); j++ {
			m[j] = byte(i + j)
		}
		all = append(all, m)
	}
	return all
}

// take works on a frame of the engine.
func (w *twin) take(f amqptest.Frame) {
	if f.Performative == nil {
		return
	}
	s := w.sessions[f.Channel]
	if s == nil {
		w.fatalf("there came %s", f)
	}
	switch p := f.Performative.(type) {
	case *amqp.Flow:
		s.mayOut = p.IncomingWindow - (s.nextOut - p.NextIncomingID.Value)
		if !p.Handle.Set {
			return
		}
		if l := s.links[p.Handle.Value]; l.sends {
			l.credit = p.DeliveryCount.Value + p.LinkCredit.Value - l.count
		}
	case *amqp.Transfer:
		s.transfer(p, f.Payload)
	case *amqp.Disposition:
		s.disposition(p)
	default:
		w.fatalf("there came %s", f)
	}
}

func (s *twinSession) transfer(p *amqp.Transfer, payload []byte) {
	w := s.twin
	l := s.links[p.Handle]
	if l == nil || l.sends {
		w.fatalf("a transfer for handle %d", p.Handle)
	}
	if s.window == 0 {
		w.fatalf("a transfer beyond the window")
	}
	s.window--
	s.nextIn++
	if !l.inside {
		if !p.DeliveryID.Set || p.DeliveryTag == nil || !p.MessageFormat.Set || p.DeliveryID.Value != s.lastIn+1 {
			w.fatalf("a delivery begins with %+v after %d", p, s.lastIn)
		}
		if l.credit == 0 {
			w.fatalf("a delivery beyond the credit")
		}
		l.credit--
		l.count++
		s.lastIn, l.current, l.inside, l.partial = p.DeliveryID.Value, p.DeliveryID.Value, true, nil
		if !p.Settled.Value {
			s.unsettledIn = append(s.unsettledIn, l.current)
			s.unsettledBy[l.current] = l
		} else {
			l.settled++
		}
	}
	l.partial = append(l.partial, payload...)
	if p.More {
		return
	}
	l.inside = false
	if l.next >= len(l.messages) || !bytes.Equal(l.partial, l.messages[l.next]) {
		w.fatalf("link %s: message %d of %d is not the one that was sent", l.name, l.next, len(l.messages))
	}
	l.next++
}

func (s *twinSession) disposition(p *amqp.Disposition) {
	w := s.twin
	if p.Last.Or(p.First)-p.First > 10000 {
		w.fatalf("a disposition from %d to %d", p.First, p.Last.Value)
	}
	for id := p.First; ; id++ {
		if p.Role == amqp.RoleSender {
			if !s.settling[id] || !p.Settled {
				w.fatalf("the engine settles %d", id)
			}
			delete(s.settling, id)
		} else {
			l := s.unsettledOut[id]
			if l == nil || !p.Settled {
				w.fatalf("a disposition of %d, which is not unsettled", id)
			}
			if want := outcomes[l.outcome[id]]; !sameOutcome(want, p.State) {
				w.fatalf("%d: %+v, want %+v", id, p.State, want)
			}
			delete(s.unsettledOut, id)
			l.settled++
		}
		if id == p.Last.Or(p.First) {
			return
		}
	}
}

// flow says how much may come.
func (s *twinSession) flow(l *twinLink, window uint32) {
	f := &amqp.Flow{NextIncomingID: some(s.nextIn), IncomingWindow: window, NextOutgoingID: s.nextOut, OutgoingWindow: 100}
	s.window = window
	if l != nil {
		f.Handle, f.DeliveryCount, f.LinkCredit = some(l.handle), some(l.count), some(l.credit)
	}
	s.twin.send(s.channel, f, nil)
}

// act does something that can be done, if there is anything.
func (w *twin) act() bool {
	var can []func()
	for _, s := range w.sessions {
		if s.window < 3 {
			can = append(can, func() { s.flow(nil, s.window+uint32(1+w.random.IntN(30))) })
		}
		if len(s.unsettledIn) > 0 {
			can = append(can, s.settleSome)
		}
		for _, l := range s.links {
			switch {
			case !l.sends:
				if l.credit == 0 || w.random.IntN(8) == 0 {
					can = append(can, func() {
						l.credit += uint32(1 + w.random.IntN(8)) // never less: messages may be on their way
						s.flow(l, s.window+uint32(w.random.IntN(5)))
					})
				}
			case s.mayOut > 0 && (l.inside || l.next < len(l.messages) && l.credit > 0):
				can = append(can, l.sendFrame)
			}
		}
	}
	if len(can) == 0 {
		return false
	}
	can[w.random.IntN(len(can))]()
	return true
}

func (l *twinLink) sendFrame() {
	s, random := l.session, l.session.twin.random
	t := &amqp.Transfer{Handle: l.handle}
	if !l.inside {
		l.inside, l.rest = true, l.messages[l.next]
		l.current = s.nextDelivery
		s.nextDelivery++
		l.credit--
		l.count++
		t.DeliveryID, t.DeliveryTag, t.MessageFormat = some(l.current), []byte{1}, some(uint32(0))
		if l.next%4 == 3 {
			t.Settled = some(true)
			l.settled++
		} else {
			s.unsettledOut[l.current] = l
			l.outcome[l.current] = l.rest[0]
		}
	}
	n := len(l.rest)
	if random.IntN(3) == 0 {
		n = random.IntN(n + 1)
	}
	n = min(n, 4000)
	t.More = n < len(l.rest)
	s.nextOut++
	s.mayOut--
	s.twin.send(s.channel, t, l.rest[:n])
	l.rest = l.rest[n:]
	if !t.More {
		l.inside = false
		l.next++
	}
}

// settleSome settles a few deliveries that stand beside each other, as the first of them asks for, or as each does.
func (s *twinSession) settleSome() {
	random := s.twin.random
	from := random.IntN(len(s.unsettledIn))
	first := s.unsettledIn[from]
	if s.unsettledBy[first].inside && s.unsettledBy[first].current == first {
		return // not all of it is here
	}
	outcome := random.IntN(len(outcomes))
	to, most := from, random.IntN(10)
	for to+1 < len(s.unsettledIn) && to-from < most {
		id := s.unsettledIn[to+1]
		if l := s.unsettledBy[id]; l.inside && l.current == id {
			break
		}
		to++
	}
	d := &amqp.Disposition{Role: amqp.RoleReceiver, First: first, Last: some(s.unsettledIn[to]), Settled: random.IntN(4) > 0, State: outcomes[outcome]}
	for _, id := range s.unsettledIn[from : to+1] {
		s.unsettledBy[id].settled++
		delete(s.unsettledBy, id)
		if !d.Settled {
			s.settling[id] = true
		}
	}
	s.unsettledIn = slices.Delete(s.unsettledIn, from, to+1)
	s.twin.send(s.channel, d, nil)
}

func (w *twin) done() bool {
	for _, s := range w.sessions {
		for _, l := range s.links {
			if l.next < len(l.messages) || l.settled < len(l.messages) {
				return false
			}
		}
		if len(s.settling) > 0 {
			return false
		}
	}
	return true
}

// TestAllThatIsSentArrivesOnce lets a peer that keeps the rules and the engine send each other messages on several links of several
// sessions, with small windows, little credit and ids that wrap around.
func TestAllThatIsSentArrivesOnce(test *testing.T) {
	rapid.Check(test, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		random := rand.New(rand.NewPCG(seed, 1))
		e := newEngine(Config{Window: uint32(1 + random.IntN(50)), MaxUnsettled: 1 + random.IntN(10)})
		e.first = -uint32(random.IntN(40))
		o := &owner{t: t, messages: map[string][][]byte{}, told: map[string]int{}}
		h := &house{attach: o.attach}
		w := &twin{t: t, random: random, sessions: map[uint16]*twinSession{}, frameMax: 512 + random.IntN(3000), frames: make(chan amqptest.Frame, 100)}
		near, far := pair(test)
		h.ended, h.serve, h.came = make(chan error, 1), make(chan error, 1), make(chan *Link)
		go func() { h.serve <- e.Serve(context.Background(), far, h) }()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		var err error
		if w.conn, err = amqptest.Dial(ctx, near, amqptest.Options{Open: &amqp.Open{MaxFrameSize: some(uint32(w.frameMax))}}); err != nil {
			t.Fatal(err)
		}
		_ = near.SetDeadline(time.Time{})
		w.conn.Limit(uint32(w.frameMax))
		for channel := range uint16(1 + random.IntN(2)) {
			w.begin(ctx, channel, o, e.first)
		}
		go func() {
			defer close(w.frames)
			for {
				f, err := w.conn.Next(context.Background())
				if err != nil {
					return
				}
				w.frames <- f
			}
		}()
		w.run(ctx)
		w.send(0, &amqp.Close{}, nil)
		for range w.frames { //nolint:revive // until the engine has closed
		}
		if err := <-h.serve; err != nil {
			t.Errorf("Serve: %v", err)
		}
		_ = near.Close()
		o.work.Wait()
		w.compare(o)
	})
}

func (w *twin) begin(ctx context.Context, channel uint16, o *owner, first uint32) {
	s := &twinSession{twin: w, channel: channel, links: map[uint32]*twinLink{}, nextOut: -uint32(w.random.IntN(40)), window: uint32(w.random.IntN(20)),
		nextDelivery: -uint32(w.random.IntN(40)), nextIn: first, lastIn: first - 1, unsettledOut: map[uint32]*twinLink{}, unsettledBy: map[uint32]*twinLink{}, settling: map[uint32]bool{}}
	w.sessions[channel] = s
	w.send(channel, &amqp.Begin{NextOutgoingID: s.nextOut, IncomingWindow: s.window, OutgoingWindow: 100}, nil)
	s.mayOut = awaiting[*amqp.Begin](ctx, w).IncomingWindow
	for handle := range uint32(1 + w.random.IntN(4)) {
		l := &twinLink{session: s, name: fmt.Sprint(channel, "/", handle), handle: handle, sends: w.random.IntN(2) == 0, outcome: map[uint32]byte{},
			messages: messagesOf(w.random, w.random.IntN(40))}
		s.links[handle] = l
		a := amqptest.ReceiverFrom(l.name, handle, "queue")
		if l.sends {
			a = amqptest.SenderTo(l.name, handle, "queue")
			l.count = -uint32(w.random.IntN(20))
			a.InitialDeliveryCount = some(l.count)
		} else {
			o.mu.Lock()
			o.messages[l.name] = l.messages
			o.mu.Unlock()
			l.count = first
		}
		w.send(channel, a, nil)
		awaiting[*amqp.Attach](ctx, w)
	}
}

// awaiting reads up to a P, and works on what comes before.
func awaiting[P amqp.Performative](ctx context.Context, w *twin) P {
	for {
		f, err := w.conn.Next(ctx)
		if err != nil {
			w.fatalf("%v", err)
		}
		if p, ok := f.Performative.(P); ok {
			return p
		}
		w.take(f)
	}
}

func (w *twin) run(ctx context.Context) {
	for !w.done() {
		select {
		case f, open := <-w.frames:
			if !open {
				w.fatalf("the connection ended")
			}
			w.take(f)
			continue
		default:
		}
		if w.act() {
			continue
		}
		select {
		case f, open := <-w.frames:
			if !open {
				w.fatalf("the connection ended")
			}
			w.take(f)
		case <-ctx.Done():
			w.fatalf("nothing happens any more: %s", w.state())
		}
	}
}

func (w *twin) state() string {
	var b bytes.Buffer
	for _, s := range w.sessions {
		fmt.Fprintf(&b, "session %d: may send %d, window %d, unsettled %d out, %d in\n", s.channel, s.mayOut, s.window, len(s.unsettledOut), len(s.unsettledIn))
		for _, l := range s.links {
			fmt.Fprintf(&b, "  link %s sends=%t: %d of %d, settled %d, credit %d, inside %t\n", l.name, l.sends, l.next, len(l.messages), l.settled, l.credit, l.inside)
		}
	}
	return b.String()
}

// compare looks at what the engine's side has seen.
func (w *twin) compare(o *owner) {
	for _, s := range w.sessions {
		for _, l := range s.links {
			if l.sends {
				if got := o.messages[l.name]; !slices.EqualFunc(got, l.messages, bytes.Equal) {
					w.fatalf("link %s: there came %d messages of %d, or others", l.name, len(got), len(l.messages))
				}
				continue
			}
			want := 0
			for i := range l.messages {
				if i%3 != 0 {
					want++
				}
			}
			if got := o.told[l.name]; got != want {
				w.fatalf("link %s: %d outcomes were told, want %d", l.name, got, want)
			}
		}
	}
}
