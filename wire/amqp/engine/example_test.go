package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// broker has queues that live as long as it does. Whoever knows the password may use them.
type broker struct {
	mu     sync.Mutex
	queues map[string]chan []byte
}

func (b *broker) queue(name string) chan []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.queues[name] == nil {
		b.queues[name] = make(chan []byte, 100)
	}
	return b.queues[name]
}

// Mechanisms, Authenticate and Open make it an engine.Acceptor.
func (b *broker) Mechanisms() []amqp.Symbol { return []amqp.Symbol{"PLAIN"} }

func (b *broker) Authenticate(_ context.Context, x *engine.SASL) (any, error) {
	parts := bytes.Split(x.Initial, []byte{0})
	if x.Mechanism != "PLAIN" || len(parts) != 3 || string(parts[2]) != "open sesame" {
		return nil, fault.New("broker", fault.Unauthenticated, "wrong password")
	}
	return string(parts[1]), nil
}

func (b *broker) Open(_ context.Context, c *engine.Conn) (engine.Handler, error) {
	fmt.Println(c.Who(), "has come")
	return b, nil
}

// Attach and Ended make it an engine.Handler.
func (b *broker) Attach(l *engine.Link) {
	q := b.queue(l.Address())
	switch {
	case l.Address() == "":
		l.Refuse(&amqp.Error{Condition: amqp.ConditionNotFound, Description: "Which queue?"})
	case l.PeerReceives():
		l.Accept(engine.Accept{})
		go deliver(l, q)
	default:
		l.Accept(engine.Accept{Receive: func(d *engine.Delivery) {
			select {
			case q <- bytes.Clone(d.Message()):
				d.Accept()
			default:
				d.Reject(&amqp.Error{Condition: amqp.ConditionResourceLimitExceeded, Description: "The queue is full."})
			}
		}})
	}
}

func (b *broker) Ended(error) { fmt.Println("good bye") }

func deliver(l *engine.Link, q chan []byte) {
	for l.Await(l.Context()) == nil {
		select {
		case m := <-q:
			back := func(s amqp.State) {
				if s != (amqp.Accepted{}) {
					q <- m
				}
			}
			if l.Send(l.Context(), engine.Outgoing{Parts: [][]byte{m}, Done: back}) != nil {
				q <- m
			}
		case <-l.Flowed(): // perhaps the peer wants its credit back
			l.Idle()
		case <-l.Context().Done():
		}
	}
}

func Example() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	e := engine.New(engine.Config{}, slog.New(slog.DiscardHandler), clock.System{}, nil)
	served := make(chan error)
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			err = e.Serve(context.Background(), conn, &broker{queues: map[string]chan []byte{}})
		}
		served <- err
	}()

	ctx := context.Background()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		panic(err)
	}
	client, err := amqptest.Connect(ctx, conn, amqptest.Options{SASL: amqptest.Plain("Ali", "open sesame")})
	if err != nil {
		panic(err)
	}
	session, _ := client.Session(ctx)
	sender, _ := session.Sender(ctx, "treasures", nil)
	receiver, _ := session.Receiver(ctx, "treasures", 10, nil)
	for _, treasure := range []string{"gold", "silk"} {
		m, _ := (&amqp.Message{Data: [][]byte{[]byte(treasure)}}).Append(nil)
		state, err := sender.Send(ctx, m, 0)
		fmt.Printf("%T %v\n", state, err)
	}
	for range 2 {
		d, _ := receiver.Next(ctx)
		m, _ := d.Decode()
		fmt.Printf("%s\n", m.Data)
		d.Settle(amqp.Accepted{})
	}
	_ = client.Close(ctx)
	fmt.Println(<-served)
	_ = ln.Close()

	// Output:
	// Ali has come
	// amqp.Accepted <nil>
	// amqp.Accepted <nil>
	// [gold]
	// [silk]
	// good bye
	// <nil>
}
