package engine

import (
	"bytes"
	"math/rand/v2"
	"sync"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

// owner is the engine's side of the twin's links.
type owner struct {
	t    failing
	work sync.WaitGroup

	mu       sync.Mutex
	messages map[string][][]byte // by the link's name: to be sent, or those that have come
	told     map[string]int      // Dones
}

func (o *owner) attach(l *Link) {
	if l.PeerReceives() {
		l.Accept(Accept{})
		o.work.Go(func() { o.send(l) })
		return
	}
	later := make(chan *Delivery, 10000)
	o.work.Go(func() { o.settle(l, later) })
	l.Accept(Accept{Credit: 7, MaxMessage: 1 << 14, Receive: func(d *Delivery) {
		o.mu.Lock()
		o.messages[l.Name()] = append(o.messages[l.Name()], bytes.Clone(d.Message()))
		o.mu.Unlock()
		if d.Message()[4]%2 == 0 {
			decide(d)
		} else {
			later <- d
		}
	}})
}

func decide(d *Delivery) {
	switch d.Message()[0] {
	case 0:
		d.Accept()
	case 1:
		d.Release()
	case 2:
		d.Reject(&amqp.Error{Condition: "x:y"})
	default:
		d.Modify(amqp.Modified{DeliveryFailed: true})
	}
}

// settle settles what is at hand in any order.
func (o *owner) settle(l *Link, later chan *Delivery) {
	for {
		var hand []*Delivery
		select {
		case d := <-later:
			hand = append(hand, d)
		case <-l.Context().Done():
			return
		}
		for len(later) > 0 {
			hand = append(hand, <-later)
		}
		rand.Shuffle(len(hand), func(i, j int) { hand[i], hand[j] = hand[j], hand[i] })
		for _, d := range hand {
			decide(d)
		}
	}
}

func (o *owner) send(l *Link) {
	o.mu.Lock()
	messages := o.messages[l.Name()]
	o.mu.Unlock()
	for i, m := range messages {
		out := Outgoing{Parts: [][]byte{m[:len(m)/3], nil, m[len(m)/3:]}, Settled: i%3 == 0}
		if !out.Settled {
			out.Done = func(s amqp.State) {
				o.mu.Lock()
				defer o.mu.Unlock()
				if s != nil {
					o.told[l.Name()]++
				}
			}
		}
		if i%5 == 0 && l.TrySend(out) {
			continue
		}
		if err := l.Send(l.Context(), out); err != nil {
			o.t.Errorf("link %s, message %d: %v", l.Name(), i, err)
			return
		}
	}
}
