package amqpdoor

import (
	"encoding/binary"
	"net/url"
	"strconv"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
)

// Application properties of calls and their answers (IoT Hub: AMQP, direct methods; device streams).
const (
	methodName     = "IoThub-methodname"
	methodStatus   = "IoThub-status"
	streamName     = "IoThub-streaming-name"
	streamHost     = "IoThub-streaming-hostname"
	streamPort     = "IoThub-streaming-port"
	streamURL      = "IoThub-streaming-url"
	streamToken    = "IoThub-streaming-auth-token"
	streamAccepted = "IoThub-streaming-is-accepted"
)

// MethodCalled implements hub.Receiver. Some SDKs answer an empty payload with an error of their own, so none given is null.
func (p *peer) MethodCalled(c hub.MethodCall) {
	body := []byte(c.Payload)
	if len(body) == 0 {
		body = []byte("null")
	}
	m := amqp.Message{
		Properties:            &amqp.Properties{CorrelationID: p.numbered(c.ID)},
		ApplicationProperties: amqp.Map{{Key: methodName, Value: c.Name}},
		Data:                  [][]byte{body},
	}
	p.tell(hub.Methods, &m, true)
}

// StreamRequested implements hub.StreamReceiver.
func (p *peer) StreamRequested(r hub.StreamRequest) {
	host, port := "", "443"
	if u, err := url.Parse(r.URL); err == nil {
		host = u.Hostname()
		if u.Port() != "" {
			port = u.Port()
		}
	}
	m := amqp.Message{
		Properties: &amqp.Properties{CorrelationID: p.numbered(r.ID)},
		ApplicationProperties: amqp.Map{
			{Key: streamName, Value: r.Name}, {Key: streamHost, Value: host}, {Key: streamPort, Value: port}, {Key: streamURL, Value: r.URL},
			{Key: streamToken, Value: r.Token},
		},
		Data: [][]byte{{}},
	}
	p.tell(hub.Streams, &m, true)
}

// numbered makes the correlation-id of a call: SDKs want a UUID, and the hub's own ids are short. Its last four bytes are the hub's; the
// others are the same for all calls of an identity's connection, so that nothing has to be remembered.
func (p *peer) numbered(id string) amqp.UUID {
	n, _ := strconv.ParseUint(id, 16, 32) // of at most six digits
	var u amqp.UUID
	copy(u[:], p.mark[:])
	binary.BigEndian.PutUint32(u[len(p.mark):], uint32(n))
	return u
}

// number reads what numbered wrote, from whichever type an SDK sends it back with.
func (p *peer) number(m *amqp.Message) (id string, err error) {
	if m.Properties != nil {
		u, ok := amqptext.ParseUUID(amqptext.ID(m.Properties.CorrelationID))
		if b, isBytes := m.Properties.CorrelationID.([]byte); isBytes && len(b) == len(u) {
			u, ok = amqp.UUID(b), true
		}
		if ok && [12]byte(u[:12]) == p.mark {
			return strconv.FormatUint(uint64(binary.BigEndian.Uint32(u[12:])), 16), nil
		}
	}
	return "", fault.New("amqpdoor.answer", fault.Invalid, "the correlation-id is not that of a call to this device").
		Advise("answer with the correlation-id of the request")
}

func (p *peer) answerMethod(m *amqp.Message) error {
	id, err := p.number(m)
	if err != nil {
		return err
	}
	status, ok := amqptext.Integer(m.ApplicationProperties.Get(methodStatus))
	if text, isText := m.ApplicationProperties.Get(methodStatus).(string); isText {
		status, err = strconv.ParseInt(text, 10, 32)
		ok = err == nil
	}
	if !ok || status != int64(int32(status)) {
		return fault.Newf("amqpdoor.answer", fault.Invalid, "the answer to a method has no %s", methodStatus).Advise("it is a number, such as 200")
	}
	body, err := payload(m)
	if err != nil {
		return err
	}
	p.session.AnswerMethod(id, int(status), body)
	return nil
}

func (p *peer) answerStream(m *amqp.Message) error {
	id, err := p.number(m)
	if err != nil {
		return err
	}
	v := m.ApplicationProperties.Get(streamAccepted)
	accepted, ok := v.(bool)
	if text, isText := v.(string); isText {
		accepted, err = strconv.ParseBool(text)
		ok = err == nil
	}
	if !ok {
		return fault.Newf("amqpdoor.answer", fault.Invalid, "the answer to a stream has no %s", streamAccepted).Advise("it is true or false")
	}
	p.session.AnswerStream(id, accepted)
	return nil
}
