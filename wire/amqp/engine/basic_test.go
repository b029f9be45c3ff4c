package engine

import (
	"bytes"
	"testing"

	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

func TestMessagesComeAndGo(t *testing.T) {
	h := &house{mechanisms: []amqp.Symbol{"ANONYMOUS"}}
	var queue *Link
	h.attach = func(l *Link) {
		if l.PeerReceives() {
			queue = l
			l.Accept(Accept{})
			return
		}
		l.Accept(Accept{Receive: func(d *Delivery) {
			if !queue.TrySend(Outgoing{Parts: [][]byte{d.Message()}, Format: d.Format()}) {
				t.Error("no room to send")
			}
			d.Accept()
		}})
	}
	ctx := soon(t)
	c := h.client(t, newEngine(Config{}), amqptest.Options{SASL: amqptest.Anonymous("me"), Hostname: "hub.example"})
	s := must[*amqptest.Session](t)(c.Session(ctx))
	r := must[*amqptest.Receiver](t)(s.Receiver(ctx, "queue", 10, nil))
	snd := must[*amqptest.Sender](t)(s.Sender(ctx, "queue", nil))
	big := bytes.Repeat([]byte("0123456789abcdef"), 20000)
	for _, m := range [][]byte{[]byte("\x00Sw\xa1\x01a"), append([]byte{0, 0x53, 0x75, 0xb0, 0, 4, 0xe2, 0}, big...)} {
		if err := snd.SendAccepted(ctx, m, 0); err != nil {
			t.Fatal(err)
		}
		d := must[*amqptest.Delivery](t)(r.Next(ctx))
		if !bytes.Equal(d.Message, m) {
			t.Errorf("sent %d bytes, there came %d", len(m), len(d.Message))
		}
		d.Settle(amqp.Accepted{})
	}
	if h.conn.Who() != "me" || h.conn.PeerOpen().Hostname != "hub.example" {
		t.Errorf("who %v, open %+v", h.conn.Who(), h.conn.PeerOpen())
	}
	if err := s.End(ctx); err != nil {
		t.Error(err)
	}
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := <-h.ended; err != nil {
		t.Error(err)
	}
	if err := <-h.serve; err != nil {
		t.Error(err)
	}
}
