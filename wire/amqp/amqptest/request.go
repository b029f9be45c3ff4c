package amqptest

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

// Requester asks a node and waits for its answers, as clients do with $cbs and $management: one link each way, and a message-id that
// comes back as correlation-id.
type Requester struct {
	Sender   *Sender
	Receiver *Receiver

	mu    sync.Mutex // one question at a time
	count int
}

// Requester attaches both links to an address.
func (s *Session) Requester(ctx context.Context, address string) (*Requester, error) {
	receiver, err := s.Receiver(ctx, address, 10, func(a *amqp.Attach) {
		a.Target.Address = address + "-replies"
		a.SndSettleMode = amqp.Some(amqp.SenderSettled)
	})
	if err != nil {
		return nil, err
	}
	sender, err := s.Sender(ctx, address, nil)
	if err != nil {
		return nil, err
	}
	return &Requester{Sender: sender, Receiver: receiver}, nil
}

// Ask sends a request and returns its answer. A message-id and a reply-to are filled in when they are missing. Answers to nothing asked
// are an error.
func (r *Requester) Ask(ctx context.Context, m amqp.Message) (*amqp.Message, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var p amqp.Properties
	if m.Properties != nil {
		p = *m.Properties
	}
	if p.MessageID == nil {
		r.count++
		p.MessageID = "question-" + strconv.Itoa(r.count)
	}
	if p.ReplyTo == "" {
		p.ReplyTo, _ = r.Receiver.attach.Target.Address.(string)
	}
	m.Properties = &p
	b, err := m.Append(nil)
	if err != nil {
		return nil, err
	}
	if err := r.Sender.SendAccepted(ctx, b, 0); err != nil {
		return nil, err
	}
	d, err := r.Receiver.Next(ctx)
	if err != nil {
		return nil, err
	}
	if !d.Settled {
		d.Settle(amqp.Accepted{})
	}
	answer, err := d.Decode()
	if err != nil {
		return nil, err
	}
	if answer.Properties == nil || fmt.Sprintf("%T%v", answer.Properties.CorrelationID, answer.Properties.CorrelationID) != fmt.Sprintf("%T%v", p.MessageID, p.MessageID) {
		return answer, fmt.Errorf("amqptest: the answer to %v has the properties %+v", p.MessageID, answer.Properties)
	}
	return answer, nil
}

// Status reads the status-code and status-description of an answer.
func Status(answer *amqp.Message) (code int32, description string) {
	code, _ = answer.ApplicationProperties.Get("status-code").(int32)
	description, _ = answer.ApplicationProperties.Get("status-description").(string)
	return code, description
}

// PutToken gives $cbs a token for an audience, of a kind such as "servicebus.windows.net:sastoken" or "jwt".
func (r *Requester) PutToken(ctx context.Context, kind, audience, token string) (code int32, description string, err error) {
	answer, err := r.Ask(ctx, amqp.Message{
		ApplicationProperties: amqp.Map{{Key: "operation", Value: "put-token"}, {Key: "type", Value: kind}, {Key: "name", Value: audience}},
		Value:                 token, HasValue: true,
	})
	if err != nil {
		return 0, "", err
	}
	code, description = Status(answer)
	return code, description, nil
}
