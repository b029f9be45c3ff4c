package connectiontest

import (
	"context"
	"fmt"
	"net"

	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// Options say how the hub is. The zero value lets everybody in and grants a thousand messages.
type Options struct {
	MaxFrame   uint32 // bytes; 0: 65,536
	Window     uint32 // transfers; 0: 5,000
	Idle       uint32 // milliseconds of silence the hub bears; 0: any
	Credit     uint32 // of the link for messages, granted again when half of it is used; 0: 1,000
	NoCredit   bool   // until Grant
	MaxMessage uint64 // bytes; 0: any
	// Token says what becomes of a token: HTTP's code and words. Nil takes all of them.
	Token func(token string) (code int32, words string)
	// Close ends the connection after open, Refuse turns the link for messages away.
	Close, Refuse *amqp.Error
}

// Hub is the hub's end.
type Hub struct {
	*amqptest.Conn
	Open   *amqp.Open   // the device's
	Events *amqp.Attach // the device's link
	Tokens []*amqp.Message
	Beats  int // empty frames, each of which was answered

	o        Options
	taken    uint32 // transfers of the device's
	messages uint32 // on its link
	answers  uint32
}

// Our handles are the device's and this.
const apart = 10

// Message is one of the device's, whole.
type Message struct {
	*amqp.Message
	ID     uint32 // delivery-id
	Frames int
}

// Meet speaks until the device has attached its link. It returns nil without an error when the device left before, or was sent away.
func Meet(ctx context.Context, conn net.Conn, o Options) (*Hub, error) {
	h := &Hub{Conn: amqptest.New(conn), o: o}
	if h.o.MaxFrame == 0 {
		h.o.MaxFrame = 65_536
	}
	if h.o.Window == 0 {
		h.o.Window = 5_000
	}
	if h.o.Credit == 0 {
		h.o.Credit = 1_000
	}
	if header, err := h.ReadHeader(ctx); err != nil || header != amqp.ProtocolHeader(amqp.ProtocolAMQP) {
		return nil, err
	}
	if err := h.WriteHeader(ctx, amqp.ProtocolAMQP); err != nil {
		return nil, err
	}
	for h.Events == nil {
		if _, err := h.next(ctx); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// next takes one frame, answers what has an answer, and returns a transfer on the link for messages.
func (h *Hub) next(ctx context.Context) (*amqptest.Frame, error) {
	f, err := h.Next(ctx)
	if err != nil {
		return nil, err
	}
	switch p := f.Performative.(type) {
	case nil: // a hub would do so by itself
		h.Beats++
		return nil, h.Send(ctx, 0, nil, nil)
	case *amqp.Open:
		h.Open = p
		open := &amqp.Open{ContainerID: "hub", MaxFrameSize: amqp.Some(h.o.MaxFrame), IdleTimeout: amqp.Optional[uint32]{Value: h.o.Idle, Set: h.o.Idle > 0}}
		if err := h.Send(ctx, 0, open, nil); err != nil || h.o.Close == nil {
			return nil, err
		}
		return nil, h.Send(ctx, 0, &amqp.Close{Error: h.o.Close}, nil)
	case *amqp.Begin:
		return nil, h.Send(ctx, 0, &amqp.Begin{
			RemoteChannel: amqp.Some(f.Channel), NextOutgoingID: 7, IncomingWindow: h.o.Window, OutgoingWindow: 100, HandleMax: amqp.Some(uint32(255)),
		}, nil)
	case *amqp.Attach:
		return nil, h.attach(ctx, p)
	case *amqp.Transfer:
		h.taken++
		if h.Events != nil && p.Handle == h.Events.Handle {
			return &f, nil
		}
		return nil, h.token(ctx, p, f.Payload)
	case *amqp.Close:
		return nil, net.ErrClosed
	}
	return nil, nil //nolint:nilnil // a frame that is no message
}

func (h *Hub) attach(ctx context.Context, p *amqp.Attach) error {
	answer := *p
	answer.Handle, answer.Role, answer.Properties = p.Handle+apart, !p.Role, nil
	events := p.Role == amqp.RoleSender && p.Target.Address != "$cbs"
	switch {
	case p.Role == amqp.RoleReceiver:
		answer.InitialDeliveryCount = amqp.Some(uint32(40))
	case events && h.o.Refuse != nil:
		answer.Source, answer.Target = nil, nil
		if err := h.Send(ctx, 0, &answer, nil); err != nil {
			return err
		}
		return h.Send(ctx, 0, &amqp.Detach{Handle: answer.Handle, Closed: true, Error: h.o.Refuse}, nil)
	case events:
		answer.MaxMessageSize = amqp.Optional[uint64]{Value: h.o.MaxMessage, Set: h.o.MaxMessage > 0}
	}
	if err := h.Send(ctx, 0, &answer, nil); err != nil || p.Role == amqp.RoleReceiver {
		return err
	}
	if events {
		if h.Events = p; h.o.NoCredit {
			return nil
		}
		return h.Grant(ctx, h.o.Credit)
	}
	return h.flow(ctx, answer.Handle, 0, 10)
}

// Grant lets the device send so many messages from now on.
func (h *Hub) Grant(ctx context.Context, credit uint32) error {
	return h.flow(ctx, h.Events.Handle+apart, h.messages, credit)
}

// Flow is a flow of the session and its link for messages, for a test to change.
func (h *Hub) Flow(handle, count, credit uint32) *amqp.Flow {
	return &amqp.Flow{
		NextIncomingID: amqp.Some(h.taken), IncomingWindow: h.o.Window, NextOutgoingID: 7 + h.answers, OutgoingWindow: 100,
		Handle: amqp.Some(handle), DeliveryCount: amqp.Some(count), LinkCredit: amqp.Some(credit),
	}
}

func (h *Hub) flow(ctx context.Context, handle, count, credit uint32) error {
	return h.Send(ctx, 0, h.Flow(handle, count, credit), nil)
}

// EventsFlow is a flow of the link for messages.
func (h *Hub) EventsFlow(credit uint32) *amqp.Flow {
	return h.Flow(h.Events.Handle+apart, h.messages, credit)
}

// token answers what was put to $cbs, in two frames.
func (h *Hub) token(ctx context.Context, p *amqp.Transfer, payload []byte) error {
	if p.More {
		return fmt.Errorf("a token in several frames")
	}
	m, err := amqp.Unmarshal(payload)
	if err != nil {
		return err
	}
	h.Tokens = append(h.Tokens, m)
	if err := h.Settle(ctx, p.DeliveryID.Value, p.DeliveryID.Value, amqp.Accepted{}); err != nil {
		return err
	}
	if err := h.flow(ctx, p.Handle+apart, uint32(len(h.Tokens)), 10); err != nil {
		return err
	}
	code, words := int32(200), "OK"
	if h.o.Token != nil {
		text, _ := m.Value.(string)
		code, words = h.o.Token(text)
	}
	answer, err := (&amqp.Message{
		Properties:            &amqp.Properties{CorrelationID: m.Properties.MessageID},
		ApplicationProperties: amqp.Map{{Key: "status-code", Value: code}, {Key: "status-description", Value: words}},
	}).Append(nil)
	if err != nil {
		return err
	}
	h.answers++
	return h.SendMessage(ctx, 0, amqp.Transfer{
		Handle: 1 + apart, DeliveryID: amqp.Some(h.answers), DeliveryTag: []byte{1}, MessageFormat: amqp.Some(uint32(0)), Settled: amqp.Some(h.answers%2 == 1),
	}, answer, len(answer)/2+1)
}

// Receive returns the device's next message.
func (h *Hub) Receive(ctx context.Context) (Message, error) {
	var out Message
	var text []byte
	for {
		f, err := h.next(ctx)
		if err != nil {
			return out, err
		}
		if f == nil {
			continue
		}
		p, _ := f.Performative.(*amqp.Transfer)
		if p.DeliveryID.Set {
			out.ID = p.DeliveryID.Value
		}
		out.Frames++
		if text = append(text, f.Payload...); p.More {
			continue
		}
		if h.messages++; !h.o.NoCredit && h.messages%(h.o.Credit/2+1) == 0 {
			if err := h.Grant(ctx, h.o.Credit); err != nil {
				return out, err
			}
		}
		out.Message, err = amqp.Unmarshal(text)
		return out, err
	}
}

// Settle tells the device what became of deliveries.
func (h *Hub) Settle(ctx context.Context, first, last uint32, state amqp.State) error {
	return h.Send(ctx, 0, &amqp.Disposition{Role: amqp.RoleReceiver, First: first, Last: amqp.Optional[uint32]{Value: last, Set: last != first}, Settled: true, State: state}, nil)
}
