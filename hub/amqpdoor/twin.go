package amqpdoor

import (
	"bytes"
	"encoding/json"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/limit"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// What requests about a twin name in their annotations (IoT Hub: AMQP, device twins).
const (
	reportedResource = "/properties/reported"
	desiredResource  = "/notifications/twin/properties/desired"
)

// reports counts patches whose answer is awaited, so that what is asked after them is answered after them.
type reports struct {
	mu     sync.Mutex // guards the fields below
	less   sync.Cond
	count  int
	closed bool
}

func (r *reports) begin() {
	r.mu.Lock()
	r.count++
	r.mu.Unlock()
}

func (r *reports) end() {
	r.mu.Lock()
	if r.count--; r.count == 0 {
		r.less.Broadcast()
	}
	r.mu.Unlock()
}

// settle waits until every patch is answered; false once the identity is over.
func (r *reports) settle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.count > 0 && !r.closed {
		r.less.Wait()
	}
	return !r.closed
}

func (r *reports) close() {
	r.mu.Lock()
	r.closed = true
	r.less.Broadcast()
	r.mu.Unlock()
}

// request is one about the twin.
type request struct {
	channel     *channel
	correlation any // as it came
	operation   string
	resource    string
}

// ask answers a request about the twin. Requests of an identity come here one after the other.
func (c *channel) ask(d *engine.Delivery) {
	p := c.peer
	c.peer.mu.Lock()
	out := c.out
	c.peer.mu.Unlock()
	if p.isOver() || out != nil && !out.await() {
		d.Release()
		return
	}
	m, err := amqp.Unmarshal(d.Message())
	if err != nil {
		d.Reject(p.says(unreadable(err)))
		return
	}
	if out == nil { // whatever came of it, nobody would hear it
		d.Reject(p.says(fault.New("amqpdoor.ask", fault.Precondition, "there is no link for the answer").
			Advise("attach a receiver with the same %s", pairProperty)))
		return
	}
	r := &request{channel: c}
	if m.Properties != nil {
		r.correlation = m.Properties.CorrelationID
	}
	r.operation, _ = amqptext.Text(m.MessageAnnotations.Get("operation"))
	r.resource, _ = amqptext.Text(m.MessageAnnotations.Get("resource"))
	r.serve(p, m)
	d.Accept()
}

func (r *request) serve(p *peer, m *amqp.Message) {
	op := "amqpdoor.ask"
	patch := r.operation == "PATCH" && r.resource == reportedResource
	subscribe := (r.operation == "PUT" || r.operation == "DELETE") && r.resource == desiredResource
	if patch {
		body, err := payload(m)
		if err != nil {
			r.fails(p, err)
			return
		}
		r.patch(p, body)
		return
	}
	if !p.reports.settle() {
		return
	}
	switch {
	case r.operation == "GET":
		r.read(p)
	case subscribe:
		r.answer(p, 200, nil, nil)
		p.mu.Lock()
		r.channel.subscribed = r.operation == "PUT" && r.channel.out != nil
		p.mu.Unlock()
		p.tune(hub.DesiredProperties)
	default:
		r.fails(p, fault.Newf(op, fault.Invalid, "the hub does not know the operation %.20q upon %.100q of a twin", r.operation, r.resource).
			Advise("it knows GET, PATCH of %s, and PUT and DELETE of %s", reportedResource, desiredResource))
	}
}

func (r *request) read(p *peer) {
	if !p.session.Await(limit.TwinReads, 1) {
		return
	}
	text, err := p.session.Twin(p.talk.engine.Context())
	if err != nil {
		r.fails(p, err)
		return
	}
	r.answer(p, 200, nil, text)
}

// patch answers once the change is durable.
func (r *request) patch(p *peer, body []byte) {
	if !p.session.Await(limit.TwinUpdates, 1) {
		return
	}
	p.reports.begin()
	p.session.PatchReported(body, func(version int64, err error) {
		defer p.reports.end()
		if err != nil {
			r.fails(p, err)
			return
		}
		r.answer(p, 204, amqp.Map{{Key: amqp.Symbol("version"), Value: version}, {Key: amqp.Symbol("resource"), Value: reportedResource}}, []byte{})
	})
}

// answer sends what came of a request. SDKs want JSON in the body of a failure, or no body.
func (r *request) answer(p *peer, status int32, more amqp.Map, body []byte) {
	m := amqp.Message{
		MessageAnnotations: append(amqp.Map{{Key: amqp.Symbol("status"), Value: status}}, more...),
		Properties:         &amqp.Properties{CorrelationID: r.correlation},
	}
	if status < 300 || body != nil {
		m.Data = [][]byte{body}
	}
	if err := r.channel.answer(&m); err != nil {
		p.talk.track(p.name.String(), err)
	}
}

// fails answers a request with what is wrong. SDKs of Node keep the class of an error only when there is no body, and retry by it; words
// are for what is not to be retried.
func (r *request) fails(p *peer, err error) {
	k := code.Of(err)
	id := p.talk.track(p.name.String(), err)
	if k.Status >= 500 || k == code.Throttled {
		r.answer(p, int32(k.Status), nil, nil)
		return
	}
	text := fault.Message(err)
	if next := fault.Next(err); next != "" {
		text += ". " + next
	}
	body, _ := json.Marshal(struct {
		ErrorCode  int    `json:"errorCode"`
		TrackingID string `json:"trackingId"`
		Message    string `json:"message"`
		Timestamp  string `json:"timestampUtc"`
	}{k.Number, id, text, p.talk.door.clock.Now().UTC().Format(time.RFC3339)}) // strings and a number always marshal
	r.answer(p, 400, nil, body)
}

// DesiredChanged implements hub.Receiver.
func (p *peer) DesiredChanged(version int64, patch json.RawMessage) {
	m := amqp.Message{
		MessageAnnotations: amqp.Map{{Key: amqp.Symbol("resource"), Value: desiredResource}, {Key: amqp.Symbol("version"), Value: version}},
		Data:               [][]byte{patch},
	}
	p.tell(hub.DesiredProperties, &m, false)
}

// tell sends what the hub has for the device, to the newest pair or to all that want it.
func (p *peer) tell(t hub.Topic, m *amqp.Message, one bool) {
	text, err := m.Append(nil)
	if err != nil {
		p.talk.door.log.Error("hub: what a device is to be told cannot be written", "device", p.name.String(), "err", err)
		return
	}
	for _, o := range p.hearing(t) {
		o.push(text)
		if one {
			return
		}
	}
}

// payload is the body of a request or an answer.
func payload(m *amqp.Message) ([]byte, error) {
	switch v := m.Value.(type) {
	case nil:
		return bytes.Join(m.Data, nil), nil
	case string:
		return []byte(v), nil
	case []byte:
		return v, nil
	}
	return nil, fault.New("amqpdoor.payload", fault.Invalid, "the body is neither data nor text").Advise("send it as a data section")
}
