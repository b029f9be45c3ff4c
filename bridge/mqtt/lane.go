package mqtt

import (
	"context"
	"errors"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/bridge/partway"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

const mostStrikes = 5 // an event on which alone the broker ends so many connections is at fault itself

// lane is one lane's way to the broker. It is used by one goroutine at a time.
type lane struct {
	d    *destination
	id   string
	conn *connection

	careful bool         // one event at a time: something went wrong before
	suspect event.Origin // on it the broker ended the connection
	strikes int          // so many times in a row

	scratch, value []byte
	headers        []event.Property
}

// publishing is one Write on one connection.
type publishing struct {
	l       *lane
	c       *connection
	batch   []*event.Event
	account *partway.Account
	pending map[uint16]int // index in the batch by packet identifier
	wait    error          // why the rest has to wait, said by the broker of one event
}

// write publishes what is left of the batch.
func (l *lane) write(ctx context.Context, batch []*event.Event, account *partway.Account) error {
	if l.conn != nil {
		select {
		case <-l.conn.done:
			l.drop()
		default:
		}
	}
	if l.conn == nil {
		c, err := l.d.connect(ctx, l.id)
		if err != nil {
			return err
		}
		l.conn = c
	}
	stop := context.AfterFunc(ctx, l.conn.end)
	defer stop()
	p := &publishing{l: l, c: l.conn, batch: batch, account: account, pending: map[uint16]int{}}
	err := p.all(ctx)
	if err != nil {
		l.broken(ctx, p, err)
		l.drop()
		return l.d.explain(err)
	}
	if p.wait != nil {
		l.careful = true
		return p.wait
	}
	l.careful, l.strikes = false, 0
	return nil
}

func (l *lane) drop() {
	l.conn.end()
	l.conn.all.Wait()
	l.conn = nil
}

// broken draws conclusions from a connection that ended: the next attempt goes event by event, and tells which one the broker cannot bear.
func (l *lane) broken(ctx context.Context, p *publishing, err error) {
	if ctx.Err() != nil || len(p.pending) == 0 || !atFault(err) {
		return
	}
	if !l.careful {
		l.careful = true
		return
	}
	for _, i := range p.pending {
		o := p.batch[i].Origin
		if l.strikes > 0 && l.suspect != o {
			l.strikes = 0
		}
		l.suspect = o
		if l.strikes++; l.strikes >= mostStrikes {
			l.strikes = 0
			p.account.Refuse(i, fault.Newf("mqtt.Write", fault.Invalid, "the broker ended the connection %d times in a row on this event alone", mostStrikes).
				Advise("its log may say what it does not bear: often a limit of size"))
		}
	}
}

func (p *publishing) all(ctx context.Context) error {
	window := min(p.c.limits.window, mostUnacknowledged)
	if p.l.careful {
		window = 1
	}
	p.c.out = p.c.out[:0]
	for i, e := range p.batch {
		if p.account.Done(i) {
			continue
		}
		if err := p.put(i, e); err != nil {
			p.account.Refuse(i, err)
			continue
		}
		if len(p.pending) == window {
			if err := p.settle(ctx, window-1); err != nil {
				return err
			}
		} else if len(p.c.out) >= flushAt {
			if err := p.c.flush(); err != nil {
				return p.lost(err)
			}
		}
		if p.wait != nil {
			break
		}
	}
	return p.settle(ctx, 0)
}

// put writes one event down.
func (p *publishing) put(i int, e *event.Event) (err error) {
	l, c := p.l, p.c
	if l.scratch, err = l.d.topic.topic(l.scratch[:0], e, l.d.bridge); err != nil {
		return err
	}
	topic := len(l.scratch)
	if !c.old {
		if err := l.properties(e); err != nil {
			return err
		}
	}
	size := publishLength(topic, len(l.scratch)-topic, len(e.Body))
	limit := mqtt.MaxRemaining
	if c.limits.packet > 0 {
		limit = min(limit, c.limits.packet-1-lengthOf(size)) // the limit counts the fixed header too (3.1.2.11.4)
	}
	if size > limit {
		return fault.Newf("mqtt.Write", fault.TooLarge, "the event takes %d bytes, and the broker takes at most %d", size, limit)
	}
	for c.id++; c.id == 0; c.id++ {
	}
	for _, taken := p.pending[c.id]; taken; _, taken = p.pending[c.id] {
		c.id++
	}
	if c.old {
		publish := mqtt.Publish{Topic: l.scratch[:topic], Payload: e.Body, ID: c.id, QoS: 1, Retain: l.d.spec.Retain}
		if c.out, err = publish.Append(c.out); err != nil {
			return fault.New("mqtt.Write", fault.TooLarge, "the event is larger than MQTT can say").Because(err)
		}
	} else {
		c.out = appendPublish5(c.out, l.scratch[:topic], c.id, l.d.spec.Retain, l.scratch[topic:], e.Body)
	}
	p.pending[c.id] = i
	return nil
}

// properties writes the properties of a PUBLISH behind what scratch has.
func (l *lane) properties(e *event.Event) error {
	tooLong := func(name string) error {
		return fault.Newf("mqtt.Write", fault.TooLarge, "the property %.60q is longer than MQTT can say", name)
	}
	l.headers = e.Headers(l.headers[:0], l.d.bridge)
	for i := range l.headers {
		h := &l.headers[i]
		var text string
		if s, ok := h.Value.(string); ok {
			text = clean(s)
		} else {
			l.value = event.AppendText(l.value[:0], h.Value)
			text = string(l.value)
		}
		if len(text) > 65535 || len(h.Name) > 65535 {
			return tooLong(h.Name)
		}
		if h.Name == event.ContentType && i < len(e.System) { // of the system, which come first
			l.scratch = appendText(append(l.scratch, propContentType), text)
			continue
		}
		name := clean(h.Name)
		if len(name) > 65535 {
			return tooLong(h.Name)
		}
		l.scratch = appendText(appendText(append(l.scratch, propUser), name), text)
	}
	return nil
}

// settle sends what is written down and waits until at most so many are not acknowledged. What else was acknowledged meanwhile is taken, too.
func (p *publishing) settle(ctx context.Context, most int) error {
	if err := p.c.flush(); err != nil {
		return p.lost(err)
	}
	for {
		select {
		case r := <-p.c.replies:
			if err := p.take(r); err != nil {
				return err
			}
			continue
		default:
		}
		if len(p.pending) <= most {
			return nil
		}
		if err := p.await(ctx); err != nil {
			return err
		}
	}
}

// await waits for one acknowledgement.
func (p *publishing) await(ctx context.Context) error {
	fired, stop := p.l.d.clk.After(ackTime)
	defer stop()
	select {
	case r := <-p.c.replies:
		return p.take(r)
	case <-p.c.done:
		return p.lost(nil)
	case <-fired:
		return p.lost(fault.Newf("mqtt.Write", fault.Timeout, "the broker behind %s acknowledged nothing for %v", p.l.d.end.Name, ackTime))
	case <-ctx.Done():
		return p.lost(context.Cause(ctx))
	}
}

// lost takes what was acknowledged before the connection ended, and says why it did.
func (p *publishing) lost(err error) error {
	p.c.end()
	<-p.c.done
	for {
		select {
		case r := <-p.c.replies:
			if e := p.take(r); e != nil {
				return e
			}
			continue
		default:
		}
		if _, told := errors.AsType[*farewell](p.c.err); told || err == nil {
			return p.c.err
		}
		return err
	}
}

// take says what became of one event.
func (p *publishing) take(r reply) error {
	i, ok := p.pending[r.id]
	if !ok {
		return errProtocol
	}
	delete(p.pending, r.id)
	switch {
	case r.code < lowestFailure:
		p.account.Take(i)
	case r.code == codeTopicInvalid || r.code == codePayloadInvalid || r.code == codePacketTooLarge:
		p.account.Refuse(i, refused("mqtt.Write", p.l.d.end.Name, r, false))
	case p.wait == nil:
		p.wait = refused("mqtt.Write", p.l.d.end.Name, r, false)
	}
	return nil
}
