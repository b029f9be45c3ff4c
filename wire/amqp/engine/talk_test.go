package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// said is a frame in short.
func said(f amqptest.Frame) string {
	var b strings.Builder
	if f.Channel != 0 {
		fmt.Fprintf(&b, "[%d] ", f.Channel)
	}
	why := func(e *amqp.Error) {
		if e != nil {
			b.WriteString(" " + string(e.Condition))
		}
	}
	switch p := f.Performative.(type) {
	case nil:
		return "empty"
	case *amqp.Open:
		fmt.Fprintf(&b, "open frame=%d channels=%d idle=%d", p.MaxFrameSize.Value, p.ChannelMax.Value, p.IdleTimeout.Value)
	case *amqp.Begin:
		fmt.Fprintf(&b, "begin remote=%d windows=%d,%d handles=%d", p.RemoteChannel.Value, p.IncomingWindow, p.OutgoingWindow, p.HandleMax.Value)
	case *amqp.Attach:
		fmt.Fprintf(&b, "attach %s %d %s", p.Name, p.Handle, p.Role)
		if p.Source == nil && p.Target == nil {
			b.WriteString(" null")
		}
	case *amqp.Flow:
		fmt.Fprintf(&b, "flow next=%d", p.NextIncomingID.Value)
		if p.Handle.Set {
			fmt.Fprintf(&b, " link=%d count=%d credit=%d", p.Handle.Value, p.DeliveryCount.Value, p.LinkCredit.Value)
		}
		if p.Drain {
			b.WriteString(" drain")
		}
	case *amqp.Transfer:
		fmt.Fprintf(&b, "transfer link=%d", p.Handle)
		if p.DeliveryID.Set {
			fmt.Fprintf(&b, " id=%d", p.DeliveryID.Value)
		}
		if p.Settled.Value {
			b.WriteString(" settled")
		}
		if p.More {
			b.WriteString(" more")
		}
		if p.Aborted {
			b.WriteString(" aborted")
		}
		fmt.Fprintf(&b, " %d", len(f.Payload))
	case *amqp.Disposition:
		fmt.Fprintf(&b, "disposition %s %d %s", p.Role, p.First, strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", p.State), "amqp.")))
		if r, ok := p.State.(amqp.Rejected); ok {
			why(r.Error)
		}
		if !p.Settled {
			b.WriteString(" unsettled")
		}
	case *amqp.Detach:
		fmt.Fprintf(&b, "detach %d closed=%t", p.Handle, p.Closed)
		why(p.Error)
	case *amqp.End:
		b.WriteString("end")
		why(p.Error)
	case *amqp.Close:
		b.WriteString("close")
		why(p.Error)
	}
	return b.String()
}

// say is a frame to be sent.
type say struct {
	channel uint16
	p       amqp.Performative
	payload int // bytes
}

// talk is a conversation after open: what the peer says, and all it hears. The last it says is close, if it has not said so and the
// engine has not either.
type talk struct {
	name string
	cfg  Config
	open *amqp.Open
	peer []say
	want []string
}

func on0(ps ...amqp.Performative) (says []say) {
	for _, p := range ps {
		says = append(says, say{p: p})
	}
	return says
}

func begun(ps ...amqp.Performative) []say {
	return on0(append([]amqp.Performative{&amqp.Begin{IncomingWindow: 100, OutgoingWindow: 100}}, ps...)...)
}

func some[T any](v T) amqp.Optional[T] { return amqp.Some(v) }

func transfer(handle, id uint32, settled bool) *amqp.Transfer {
	return &amqp.Transfer{Handle: handle, DeliveryID: some(id), DeliveryTag: []byte{1}, MessageFormat: some(uint32(0)), Settled: some(settled)}
}

const (
	beginsWell = "begin remote=0 windows=5000,5000 handles=255"
	closesWell = "close"
)

var (
	sends    = amqptest.SenderTo("s", 0, "queue")
	receives = amqptest.ReceiverFrom("r", 1, "queue")
	gives    = &amqp.Flow{NextIncomingID: some(uint32(0)), IncomingWindow: 100, Handle: some(uint32(1)), DeliveryCount: some(uint32(0)), LinkCredit: some(uint32(2))}
)

var talks = []talk{
	{name: "nothing but close", peer: nil, want: []string{closesWell}},
	{name: "a session ends", peer: begun(&amqp.End{}), want: []string{beginsWell, "end", closesWell}},
	{name: "a channel is used again", peer: begun(&amqp.End{}, &amqp.Begin{}), want: []string{beginsWell, "end", beginsWell, closesWell}},
	{name: "the peer has few channels", open: &amqp.Open{ChannelMax: some(uint16(1))},
		peer: []say{{channel: 7, p: &amqp.Begin{}}, {channel: 0, p: &amqp.Begin{}}, {channel: 8, p: &amqp.Begin{}}},
		want: []string{"begin remote=7 windows=5000,5000 handles=255", "[1] begin remote=0 windows=5000,5000 handles=255", "close amqp:resource-limit-exceeded"}},
	{name: "too many sessions", cfg: Config{MaxSessions: 1}, peer: []say{{p: &amqp.Begin{}}, {channel: 1, p: &amqp.Begin{}}, {channel: 1, p: &amqp.End{}}},
		want: []string{beginsWell, "[1] begin remote=1 windows=5000,5000 handles=255", "[1] end amqp:resource-limit-exceeded", closesWell}},
	{name: "a channel beyond channel-max", peer: []say{{channel: 5000, p: &amqp.Begin{}}}, want: []string{"close amqp:connection:framing-error"}},
	{name: "begin twice", peer: begun(&amqp.Begin{}), want: []string{beginsWell, "close amqp:illegal-state"}},
	{name: "an answer nobody asked for", peer: on0(&amqp.Begin{RemoteChannel: some(uint16(3))}), want: []string{"close amqp:illegal-state"}},
	{name: "a session that is not there", peer: on0(&amqp.End{}), want: []string{"close amqp:illegal-state"}},
	{name: "attach without begin", peer: on0(sends), want: []string{"close amqp:illegal-state"}},
	{name: "open twice", peer: on0(&amqp.Open{}), want: []string{"close amqp:illegal-state"}},

	{name: "a sender", peer: begun(sends, transfer(0, 5, false), &amqp.Detach{Handle: 0, Closed: true}),
		want: []string{beginsWell, "attach s 0 receiver", "flow next=0 link=0 count=0 credit=1000", "disposition receiver 5 accepted", "detach 0 closed=true", closesWell}},
	{name: "detach without closed is answered with closed", peer: begun(sends, &amqp.Detach{Handle: 0}),
		want: []string{beginsWell, "attach s 0 receiver", "flow next=0 link=0 count=0 credit=1000", "detach 0 closed=true", closesWell}},
	{name: "a receiver", peer: begun(receives, gives, &amqp.Detach{Handle: 1, Closed: true}),
		want: []string{beginsWell, "attach r 1 sender", "detach 1 closed=true", closesWell}},
	{name: "a handle is used again", peer: begun(receives, &amqp.Detach{Handle: 1, Closed: true}, amqptest.SenderTo("s", 1, "queue")),
		want: []string{beginsWell, "attach r 1 sender", "detach 1 closed=true", "attach s 1 receiver", "flow next=0 link=1 count=0 credit=1000", closesWell}},
	{name: "the peer has few handles", peer: on0(&amqp.Begin{HandleMax: some(uint32(0))}, receives, amqptest.ReceiverFrom("x", 2, "queue")),
		want: []string{beginsWell, "attach r 0 sender", "end amqp:resource-limit-exceeded", closesWell}},
	{name: "two links of one name", peer: begun(sends, amqptest.SenderTo("s", 3, "queue")),
		want: []string{beginsWell, "attach s 0 receiver", "flow next=0 link=0 count=0 credit=1000", "attach s 3 receiver", "flow next=0 link=3 count=0 credit=1000", closesWell}},
	{name: "a handle in use", peer: begun(sends, sends),
		want: []string{beginsWell, "attach s 0 receiver", "flow next=0 link=0 count=0 credit=1000", "end amqp:session:handle-in-use", closesWell}},
	{name: "a handle beyond handle-max", peer: begun(amqptest.SenderTo("s", 256, "queue")), want: []string{beginsWell, "close amqp:connection:framing-error"}},
	{name: "end without detach", peer: begun(sends, &amqp.End{}),
		want: []string{beginsWell, "attach s 0 receiver", "flow next=0 link=0 count=0 credit=1000", "end", closesWell}},

	{name: "refused", peer: begun(amqptest.SenderTo("s", 0, "nowhere"), transfer(0, 0, false), &amqp.Detach{Handle: 0, Closed: true}, sends),
		want: []string{beginsWell, "attach s 0 receiver null", "detach 0 closed=true amqp:not-found", "attach s 0 receiver", "flow next=1 link=0 count=0 credit=1000", closesWell}},
	{name: "refused receiver, pipelined with its flow", peer: begun(amqptest.ReceiverFrom("r", 1, "nowhere"), gives, &amqp.Detach{Handle: 1, Closed: true}),
		want: []string{beginsWell, "attach r 1 sender null", "detach 1 closed=true amqp:not-found", closesWell}},
	{name: "transactions", peer: begun(&amqp.Attach{Name: "t", Source: &amqp.Source{}, Coordinator: true}),
		want: []string{beginsWell, "attach t 0 receiver null", "detach 0 closed=true amqp:not-implemented", closesWell}},
	{name: "dynamic nodes", peer: begun(&amqp.Attach{Name: "d", Role: amqp.RoleReceiver, Source: &amqp.Source{Dynamic: true}}),
		want: []string{beginsWell, "attach d 0 sender null", "detach 0 closed=true amqp:not-implemented", closesWell}},

	{name: "too many links", cfg: Config{MaxLinks: 1}, peer: begun(receives, amqptest.ReceiverFrom("x", 2, "queue"), amqptest.ReceiverFrom("y", 3, "queue")),
		want: []string{beginsWell, "attach r 1 sender", "attach x 2 sender null", "detach 2 closed=true amqp:resource-limit-exceeded", "close amqp:resource-limit-exceeded"}},
	{name: "after our detach nothing counts until the peer's", peer: begun(amqptest.SenderTo("s", 0, "one only"), transfer(0, 0, false), transfer(0, 1, false),
		&amqp.Flow{Handle: some(uint32(0)), Echo: true}, &amqp.Detach{Handle: 0, Closed: true}),
		want: []string{beginsWell, "attach s 0 receiver", "flow next=0 link=0 count=0 credit=1000", "disposition receiver 0 accepted", "detach 0 closed=true x:enough", closesWell}},
	{name: "no link", peer: begun(transfer(0, 0, false)), want: []string{beginsWell, "end amqp:session:unattached-handle", closesWell}},
	{name: "no link for a flow", peer: begun(gives), want: []string{beginsWell, "end amqp:session:unattached-handle", closesWell}},
	{name: "no link for a detach", peer: begun(&amqp.Detach{Handle: 9}), want: []string{beginsWell, "end amqp:session:unattached-handle", closesWell}},
	{name: "after an end nothing counts until the peer's", peer: begun(&amqp.Detach{Handle: 9}, sends, gives, transfer(0, 1, true), &amqp.End{}, &amqp.Begin{}),
		want: []string{beginsWell, "end amqp:session:unattached-handle", beginsWell, closesWell}},
	{name: "a transfer on a link that sends", peer: begun(receives, transfer(1, 0, false)),
		want: []string{beginsWell, "attach r 1 sender", "detach 1 closed=true amqp:not-allowed", closesWell}},
	{name: "no delivery-id", peer: begun(sends, &amqp.Transfer{}),
		want: []string{beginsWell, "attach s 0 receiver", "flow next=0 link=0 count=0 credit=1000", "detach 0 closed=true amqp:invalid-field", closesWell}},
	{name: "resume", peer: begun(sends, &amqp.Transfer{DeliveryID: some(uint32(1)), Resume: true}),
		want: []string{beginsWell, "attach s 0 receiver", "flow next=0 link=0 count=0 credit=1000", "detach 0 closed=true amqp:not-implemented", closesWell}},
	{name: "a delivery-id twice", peer: begun(sends, transfer(0, 3, true), transfer(0, 3, true)),
		want: []string{beginsWell, "attach s 0 receiver", "flow next=0 link=0 count=0 credit=1000", "end amqp:invalid-field", closesWell}},
	{name: "more than the credit", peer: begun(amqptest.SenderTo("s", 0, "one at a time"), transfer(0, 0, false), transfer(0, 1, false)),
		want: []string{beginsWell, "attach s 0 receiver", "flow next=0 link=0 count=0 credit=1", "detach 0 closed=true amqp:link:transfer-limit-exceeded", closesWell}},
	{name: "credit without a handle", peer: begun(&amqp.Flow{LinkCredit: some(uint32(1))}), want: []string{beginsWell, "end amqp:invalid-field", closesWell}},
	{name: "a flow from the future", peer: begun(&amqp.Flow{NextIncomingID: some(uint32(1))}), want: []string{beginsWell, "end amqp:invalid-field", closesWell}},
	{name: "a delivery-count from the future", peer: begun(receives, &amqp.Flow{Handle: some(uint32(1)), DeliveryCount: some(uint32(1)), LinkCredit: some(uint32(1))}),
		want: []string{beginsWell, "attach r 1 sender", "detach 1 closed=true amqp:invalid-field", closesWell}},
	{name: "a receiver's flow without credit", peer: begun(receives, &amqp.Flow{Handle: some(uint32(1))}),
		want: []string{beginsWell, "attach r 1 sender", "detach 1 closed=true amqp:invalid-field", closesWell}},
	{name: "a disposition backwards", peer: begun(&amqp.Disposition{Role: amqp.RoleReceiver, First: 2, Last: some(uint32(1))}),
		want: []string{beginsWell, "end amqp:invalid-field", closesWell}},
	{name: "a disposition of what was never sent", peer: begun(&amqp.Disposition{Role: amqp.RoleReceiver, First: 2, Last: some(uint32(1 << 31)), Settled: true, State: amqp.Accepted{}}),
		want: []string{beginsWell, closesWell}},
	{name: "echo of a session", peer: begun(&amqp.Flow{Echo: true}), want: []string{beginsWell, "flow next=0", closesWell}},
	{name: "echo of links", peer: begun(sends, &amqp.Flow{Handle: some(uint32(0)), Echo: true}, receives,
		&amqp.Flow{Handle: some(uint32(1)), DeliveryCount: some(uint32(0)), LinkCredit: some(uint32(7)), Echo: true}),
		want: []string{beginsWell, "attach s 0 receiver", "flow next=0 link=0 count=0 credit=1000", "flow next=0 link=0 count=0 credit=1000", "attach r 1 sender",
			"flow next=0 link=1 count=0 credit=7", closesWell}},

	{name: "in several frames, over two links", peer: append(begun(sends, amqptest.SenderTo("t", 2, "queue")),
		say{p: &amqp.Transfer{DeliveryID: some(uint32(0)), DeliveryTag: []byte{1}, More: true}, payload: 1000},
		say{p: &amqp.Transfer{Handle: 2, DeliveryID: some(uint32(1)), DeliveryTag: []byte{1}, More: true}, payload: 10},
		say{p: &amqp.Transfer{DeliveryID: some(uint32(0)), More: true}, payload: 60000},
		say{p: &amqp.Transfer{Handle: 2}, payload: 10},
		say{p: &amqp.Transfer{}, payload: 1}),
		want: []string{beginsWell, "attach s 0 receiver", "flow next=0 link=0 count=0 credit=1000", "attach t 2 receiver", "flow next=0 link=2 count=0 credit=1000",
			"disposition receiver 0 accepted", "disposition receiver 1 accepted", closesWell}},
	{name: "a delivery inside a delivery", peer: begun(sends, &amqp.Transfer{DeliveryID: some(uint32(0)), DeliveryTag: []byte{1}, More: true}, transfer(0, 1, false)),
		want: []string{beginsWell, "attach s 0 receiver", "flow next=0 link=0 count=0 credit=1000", "detach 0 closed=true amqp:invalid-field", closesWell}},
	{name: "aborted", peer: begun(sends, &amqp.Transfer{DeliveryID: some(uint32(0)), DeliveryTag: []byte{1}, More: true}, &amqp.Transfer{Aborted: true}, transfer(0, 1, false)),
		want: []string{beginsWell, "attach s 0 receiver", "flow next=0 link=0 count=0 credit=1000", "disposition receiver 1 accepted", closesWell}},
	{name: "too large, in one frame", cfg: Config{MaxMessage: 100}, peer: append(begun(sends), say{p: transfer(0, 0, false), payload: 101}, say{p: transfer(0, 1, false), payload: 100}),
		want: []string{beginsWell, "attach s 0 receiver", "flow next=0 link=0 count=0 credit=1000", "disposition receiver 0 rejected amqp:link:message-size-exceeded",
			"disposition receiver 1 accepted", closesWell}},
	{name: "too large, in several frames", cfg: Config{MaxMessage: 100}, peer: append(begun(sends),
		say{p: &amqp.Transfer{DeliveryID: some(uint32(0)), More: true}, payload: 50}, say{p: &amqp.Transfer{More: true}, payload: 51}, say{p: &amqp.Transfer{}, payload: 50}),
		want: []string{beginsWell, "attach s 0 receiver", "flow next=0 link=0 count=0 credit=1000", "disposition receiver 0 rejected amqp:link:message-size-exceeded", closesWell}},
	{name: "too large and settled", cfg: Config{MaxMessage: 100}, peer: append(begun(sends), say{p: transfer(0, 0, true), payload: 101}),
		want: []string{beginsWell, "attach s 0 receiver", "flow next=0 link=0 count=0 credit=1000", "detach 0 closed=true amqp:link:message-size-exceeded", closesWell}},
	{name: "many links in the middle of messages", cfg: Config{MaxUnsettledBytes: 3000}, peer: append(begun(sends, amqptest.SenderTo("t", 2, "queue")),
		say{p: &amqp.Transfer{DeliveryID: some(uint32(0)), More: true}, payload: 800}, say{p: &amqp.Transfer{Handle: 2, DeliveryID: some(uint32(1)), More: true}, payload: 800}),
		want: []string{beginsWell, "attach s 0 receiver", "flow next=0 link=0 count=0 credit=1000", "attach t 2 receiver", "flow next=0 link=2 count=0 credit=1000",
			"detach 2 closed=true amqp:resource-limit-exceeded", closesWell}},
	{name: "a tiny frame size", open: &amqp.Open{MaxFrameSize: some(uint32(511))}, want: []string{"close amqp:invalid-field"}},
	{name: "impatient", open: &amqp.Open{IdleTimeout: some(uint32(10))}, want: []string{"close amqp:not-allowed"}},
}

func TestTalks(t *testing.T) {
	for _, test := range talks {
		t.Run(test.name, func(t *testing.T) {
			h := &house{attach: talker}
			e := newEngine(test.cfg)
			ctx := soon(t)
			c := h.raw(t, e, amqptest.Options{Open: test.open})
			for _, s := range test.peer {
				if err := c.Send(ctx, s.channel, s.p, make([]byte, s.payload)); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Send(ctx, 0, &amqp.Close{}, nil); err != nil {
				t.Fatal(err)
			}
			var got []string
			for {
				f, err := c.Next(ctx)
				if err != nil {
					break
				}
				for _, f := range apart(f) {
					got = append(got, said(f))
				}
			}
			inOrder(got)
			if !slices.Equal(got, test.want) {
				t.Errorf("\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(test.want, "\n     "))
			}
			<-h.ended
			e.idle(t)
		})
	}
}

// talker is what the addresses of talks do.
func talker(l *Link) {
	switch l.Address() {
	case "nowhere":
		l.Refuse(&amqp.Error{Condition: amqp.ConditionNotFound, Description: "There is no such thing."})
	case "one at a time":
		l.Accept(Accept{Credit: 1, Receive: func(*Delivery) {}})
	case "one only":
		l.Accept(Accept{Receive: func(d *Delivery) {
			d.Accept()
			l.Detach(&amqp.Error{Condition: "x:enough"})
		}})
	default:
		l.Accept(Accept{Receive: (*Delivery).Accept})
	}
}

// apart makes of a disposition of several deliveries several: how many go into one is a matter of time.
func apart(f amqptest.Frame) (frames []amqptest.Frame) {
	d, ok := f.Performative.(*amqp.Disposition)
	if !ok {
		return []amqptest.Frame{f}
	}
	for id := d.First; ; id++ {
		one := *d
		one.First, one.Last = id, amqp.Optional[uint32]{}
		frames = append(frames, amqptest.Frame{Channel: f.Channel, Performative: &one})
		if id == d.Last.Or(d.First) {
			return frames
		}
	}
}

// inOrder puts dispositions that follow each other in order: the engine need not.
func inOrder(said []string) {
	for i := 0; i < len(said); i++ {
		j := i
		for j < len(said) && strings.HasPrefix(said[j], "disposition") {
			j++
		}
		slices.Sort(said[i:j])
		i = max(i, j-1)
	}
}

// idle fails when anything is left of connections.
func (e *Engine) idle(t testing.TB) {
	t.Helper()
	e.watch.mu.Lock()
	defer e.watch.mu.Unlock()
	if n := len(e.watch.all); n > 0 {
		t.Errorf("%d connections are watched", n)
	}
}
