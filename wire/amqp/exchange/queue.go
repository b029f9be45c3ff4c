package exchange

import (
	"context"

	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
	"github.com/isthmus-io/isthmus/wire/amqp/inturn"
)

// requests takes those of one link.
func (n *Node) requests() func(*engine.Delivery) {
	line := &inturn.Line{}
	return func(d *engine.Delivery) {
		n.busy.Add(1)
		line.Do(func() {
			defer n.busy.Done()
			if err := n.answer(d); err != nil {
				d.Reject(err)
			} else {
				d.Accept()
			}
		})
	}
}

// answer serves one request. The error is for the peer, whom no answer could tell.
func (n *Node) answer(d *engine.Delivery) *amqp.Error {
	request, err := amqp.Unmarshal(d.Message())
	if err != nil {
		return &amqp.Error{Condition: amqp.ConditionDecodeError, Description: "The request is no AMQP message."}
	}
	if request.Properties == nil || request.Properties.MessageID == nil {
		return &amqp.Error{Condition: amqp.ConditionInvalidField, Description: "A request has a message-id: its answer bears it as correlation-id."}
	}
	l := d.Link()
	reply := n.serve(l.Conn().Context(), request)
	if reply.Properties == nil {
		reply.Properties = &amqp.Properties{}
	}
	reply.Properties.CorrelationID = request.Properties.MessageID
	b, err := reply.Append(nil)
	if err != nil {
		return &amqp.Error{Condition: amqp.ConditionInternalError, Description: "The answer could not be written."}
	}
	ctx, cancel := context.WithTimeout(l.Context(), n.cfg.Within)
	defer cancel()
	for {
		to, came := n.replyLink(l, request.Properties.ReplyTo)
		if to != nil {
			_ = to.Send(ctx, engine.Outgoing{Parts: [][]byte{b}, Settled: true}) // nobody is left to tell
			return nil
		}
		select {
		case <-came:
		case <-ctx.Done():
			return nil
		}
	}
}
