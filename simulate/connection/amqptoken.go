package connection

import (
	"strconv"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// keptAnswer bounds an answer of $cbs.
const keptAnswer = 16 << 10

// put asks $cbs to take a token (OASIS AMQP CBS 1.0). One is asked about at a time.
func (t *amqpTalk) put(token string) error {
	t.mu.Lock()
	t.asked++
	m := amqp.Message{
		Properties: &amqp.Properties{MessageID: strconv.FormatUint(t.asked, 10), To: "$cbs", ReplyTo: "cbs"},
		ApplicationProperties: amqp.Map{
			{Key: "operation", Value: "put-token"}, {Key: "type", Value: "servicebus.windows.net:sastoken"}, {Key: "name", Value: t.audience},
		},
		HasValue: true, Value: token,
	}
	again := t.asked > 1
	grant := &amqp.Flow{
		NextIncomingID: amqp.Some(t.theirNext), IncomingWindow: ourWindow, NextOutgoingID: t.outgoing, OutgoingWindow: ourWindow,
		Handle: amqp.Some(answerHandle), DeliveryCount: amqp.Some(t.answers), LinkCredit: amqp.Some(uint32(1)),
	}
	t.mu.Unlock()
	request, err := m.Append(nil)
	if err != nil {
		return fault.Wrap("connection.put", fault.Invalid, err, "the device's id or token cannot be sent")
	}
	t.c.write.Lock()
	defer t.c.write.Unlock()
	if again { // room for the answer
		if err := t.c.put(t.append(nil, grant)); err != nil {
			return err
		}
	}
	return t.deliver(new(buffers), tokenHandle, flight{token: true}, request, nil)
}

// reply takes a part of an answer of $cbs.
func (t *amqpTalk) reply(x *amqp.Transfer, payload []byte) error {
	if x.DeliveryID.Set {
		t.answer, t.answerID, t.settled = t.answer[:0], x.DeliveryID.Value, false
	}
	t.settled = t.settled || x.Settled.Or(false)
	t.mu.Lock()
	t.theirNext++
	if !x.More {
		t.answers++
	}
	t.mu.Unlock()
	if len(t.answer)+len(payload) > keptAnswer {
		return noAMQP(nil)
	}
	if t.answer = append(t.answer, payload...); x.More {
		return nil
	}
	text := t.answer
	t.answer = nil
	if x.Aborted {
		return nil
	}
	if !t.settled {
		if err := t.c.send(amqp.AppendDisposition(nil, 0, &amqp.Disposition{
			Role: amqp.RoleReceiver, First: t.answerID, Settled: true, State: amqp.Accepted{},
		})); err != nil {
			return err
		}
	}
	m, err := amqp.Unmarshal(text)
	if err != nil {
		return noAMQP(err)
	}
	code, _ := integer(m.ApplicationProperties.Get("status-code"))
	if code < 200 || code > 299 {
		return ended("connection", tokenError(code, m))
	}
	if !t.trusted {
		t.trusted = true
		return nil
	}
	t.c.sink.Renewed(t.c)
	return nil
}

// tokenError is why $cbs did not take a token, in the terms of links.
func tokenError(code int64, m *amqp.Message) *amqp.Error {
	e := &amqp.Error{Condition: amqp.ConditionInternalError}
	switch code {
	case 401, 403, 404: // HTTP's codes for who is nobody
		e.Condition = amqp.ConditionUnauthorizedAccess
	case 429:
		e.Condition = amqp.ConditionResourceLimitExceeded
	}
	e.Description, _ = m.ApplicationProperties.Get("status-description").(string)
	if e.Description == "" {
		e.Description = "$cbs answered with code " + strconv.FormatInt(code, 10)
	}
	return e
}

// integer reads a number of any width.
func integer(v any) (int64, bool) {
	switch n := v.(type) {
	case int32:
		return int64(n), true
	case int64:
		return n, true
	case uint32:
		return int64(n), true
	case uint16:
		return int64(n), true
	case int16:
		return int64(n), true
	}
	return 0, false
}
