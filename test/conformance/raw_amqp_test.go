package conformance

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

const rawAMQP = "raw AMQP"

// rawPeer says over AMQP what a test tells it to, in one session.
type rawPeer struct {
	*amqptest.Client
	session *amqptest.Session
	cbs     *amqptest.Requester
	t       *testing.T
	ctx     context.Context //nolint:containedctx // of the test, with a deadline
}

// dialAMQP connects to the port for AMQP, without SASL as the SDKs for Node.js.
func dialAMQP(t *testing.T, w *hubtest.World) *rawPeer {
	t.Helper()
	conn, err := w.Dial(w.AMQP, nil, hubtest.Contoso)
	if err != nil {
		t.Fatal(err)
	}
	p, err := speakRaw(t, conn, amqptest.Options{Hostname: hubtest.Contoso})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// speakRaw is a peer on a connection, or why there is none.
func speakRaw(t *testing.T, conn net.Conn, o amqptest.Options) (*rawPeer, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	client, err := amqptest.Connect(ctx, conn, o)
	if err != nil {
		return nil, err
	}
	t.Cleanup(client.Abort)
	p := &rawPeer{Client: client, t: t, ctx: ctx}
	p.session, err = client.Session(ctx)
	p.must(err)
	return p, nil
}

func (p *rawPeer) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// puts gives $cbs a token for a path of the hub.
func (p *rawPeer) puts(path, token string) int32 {
	p.t.Helper()
	var err error
	if p.cbs == nil {
		p.cbs, err = p.session.Requester(p.ctx, "$cbs")
		p.must(err)
	}
	code, _, err := p.cbs.PutToken(p.ctx, "servicebus.windows.net:sastoken", hubtest.Contoso+path, token)
	p.must(err)
	return code
}

// claims puts a device's own token, or a module's.
func (p *rawPeer) claims(w *hubtest.World, d hub.Device) {
	p.t.Helper()
	if code := p.puts(pathOf(d), tokenOf(w, d)); code != 200 {
		p.t.Fatalf("the token of %s: %d", pathOf(d), code)
	}
}

func (p *rawPeer) sends(address string) *amqptest.Sender {
	p.t.Helper()
	s, err := p.session.Sender(p.ctx, address, nil)
	p.must(err)
	return s
}

func (p *rawPeer) receives(address string, credit uint32) *amqptest.Receiver {
	p.t.Helper()
	r, err := p.session.Receiver(p.ctx, address, credit, nil)
	p.must(err)
	return r
}

// refused attaches a link and returns the condition with which it is detached.
func (p *rawPeer) refused(address string) amqp.Symbol {
	p.t.Helper()
	s, err := p.session.Sender(p.ctx, address, nil)
	if err == nil {
		err = s.WaitEnd(p.ctx)
	}
	return condition(err)
}

// says sends a message, which has to be accepted.
func (p *rawPeer) says(s *amqptest.Sender, body string) {
	p.t.Helper()
	p.must(s.SendAccepted(p.ctx, encoded(p.t, amqp.Message{Data: [][]byte{[]byte(body)}}), 0))
}

// hears takes the next message of a link.
func (p *rawPeer) hears(r *amqptest.Receiver) (*amqptest.Delivery, *amqp.Message) {
	p.t.Helper()
	d, err := r.Next(p.ctx)
	p.must(err)
	m, err := d.Decode()
	p.must(err)
	return d, m
}

func encoded(t *testing.T, m amqp.Message) []byte {
	t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// condition is that of an error of the hub.
func condition(err error) amqp.Symbol {
	if e, ok := errors.AsType[*amqp.Error](err); ok {
		return e.Condition
	}
	return ""
}

// pathOf is where a device, or a module, is.
func pathOf(d hub.Device) string {
	if d.Module != "" {
		return "/devices/" + d.ID + "/modules/" + d.Module
	}
	return "/devices/" + d.ID
}

func eventsOf(d hub.Device) string { return pathOf(d) + "/messages/events" }

// tokenOf is a token of a device, or of a module.
func tokenOf(w *hubtest.World, d hub.Device) string {
	if d.Module != "" {
		return w.ModuleToken(hubtest.Contoso, d)
	}
	return w.Token(hubtest.Contoso, d)
}
