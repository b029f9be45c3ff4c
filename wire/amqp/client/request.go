package client

import (
	"context"
	"fmt"
	"strconv"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
)

// Requester asks a node and waits for its answers: a link each way, and message-ids that come back as correlation-ids.
type Requester struct {
	node  string
	to    *Sender
	from  *Receiver
	turn  chan struct{} // holds one: one question at a time
	count uint64
}

// Requester attaches both links to a node, such as $cbs or $management.
func (s *Session) Requester(ctx context.Context, node string) (*Requester, error) {
	s.c.mu.Lock()
	s.c.links++
	name := node + "-replies-" + s.c.cfg.ContainerID + "-" + strconv.Itoa(s.c.links)
	s.c.mu.Unlock()
	q := &Requester{node: node, turn: make(chan struct{}, 1)}
	var err error
	// Some services answer to the link of this name, others to the one with this address.
	if q.from, err = s.receiver(ctx, ReceiverConfig{Source: node, Prefetch: 16, MaxMessage: 1 << 20}, name, name); err != nil {
		return nil, err
	}
	if q.to, err = s.Sender(ctx, SenderConfig{Target: node}); err != nil {
		return nil, err
	}
	return q, nil
}

// Ask sends a request and returns its answer. Properties of the request are overwritten.
func (q *Requester) Ask(ctx context.Context, m *amqp.Message) (*amqp.Message, error) {
	const op = "amqp.Ask"
	c := q.to.s.c
	select {
	case q.turn <- struct{}{}:
		defer func() { <-q.turn }()
	case <-ctx.Done():
		return nil, c.late(ctx)
	}
	q.count++
	id := "q" + strconv.FormatUint(q.count, 10)
	m.Properties = &amqp.Properties{MessageID: id, ReplyTo: q.from.attach.Name}
	b, err := m.Append(nil)
	if err != nil {
		return nil, fault.New(op, fault.Invalid, "the request cannot be written").Because(err)
	}
	if err := q.to.Send(ctx, b, 0); err != nil {
		return nil, err
	}
	for {
		got, err := q.from.Next(ctx, nil, 1, 0)
		if err != nil {
			return nil, err
		}
		answer, err := amqp.Unmarshal(got[0])
		if err != nil {
			return nil, fault.Newf(op, fault.Unavailable, "%s of %s gave an answer that cannot be read", q.node, c.name()).Because(err)
		}
		if answer.Properties != nil && answer.Properties.CorrelationID == any(id) {
			return answer, nil
		} // else to a question that was given up
	}
}

// Status reads how a request ended: nil for a status-code of 200 to 299, or a fault by the condition or code of the answer, with the
// words of its description.
func (q *Requester) Status(answer *amqp.Message) error {
	p := answer.ApplicationProperties
	code, _ := amqptext.Integer(first(p, "status-code", "statusCode"))
	if code >= 200 && code <= 299 {
		return nil
	}
	e := &amqp.Error{}
	e.Description, _ = amqptext.Text(first(p, "status-description", "statusDescription"))
	condition, _ := amqptext.Text(first(p, "error-condition", "errorCondition"))
	if e.Condition = amqp.Symbol(condition); condition == "" {
		e.Condition = amqp.Symbol(fmt.Sprintf("status-code: %d", code))
	}
	return fault.Newf("amqp.Ask", statusKind(code), "%s of %s answered: %s", q.node, q.to.s.c.name(), Words(e)).Because(e)
}

func first(m amqp.Map, names ...string) any {
	for _, n := range names {
		if v := m.Get(n); v != nil {
			return v
		}
	}
	return nil
}

func statusKind(code int64) fault.Kind {
	switch code {
	case 400:
		return fault.Invalid
	case 401:
		return fault.Unauthenticated
	case 403:
		return fault.Denied
	case 404, 410:
		return fault.NotFound
	case 408, 504:
		return fault.Timeout
	case 409:
		return fault.Conflict
	case 413:
		return fault.TooLarge
	case 429:
		return fault.Exhausted
	}
	return fault.Unavailable
}

// Kinds of tokens for PutToken.
const (
	TokenSAS = "servicebus.windows.net:sastoken"
	TokenJWT = "jwt"
)

// PutToken gives $cbs, the node of the requester, a token for an audience. A second one for the same audience takes the place of the first.
func (q *Requester) PutToken(ctx context.Context, kind, audience, token string) error {
	answer, err := q.Ask(ctx, &amqp.Message{
		ApplicationProperties: amqp.Map{{Key: "operation", Value: "put-token"}, {Key: "type", Value: kind}, {Key: "name", Value: audience}},
		Value:                 token, HasValue: true,
	})
	if err != nil {
		return err
	}
	return q.Status(answer)
}

// Close detaches both links.
func (q *Requester) Close(ctx context.Context) {
	q.to.Close(ctx)
	q.from.Close(ctx)
}
