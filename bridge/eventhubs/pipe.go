package eventhubs

import (
	"context"
	"encoding/binary"
	"slices"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
	"github.com/isthmus-io/isthmus/wire/amqp/client"
)

// What Isthmus keeps of senders whose events are numbered (Event Hubs: idempotent producers). A bridge registers anew with each link and
// counts on from what is stored: it does not want to have repeats left out, which it marks, but to know that nothing of a link before,
// which may still lie somewhere, is stored behind what it sends now.
const (
	numberedEvents amqp.Symbol = "com.microsoft:idempotent-producer"
	producerID     amqp.Symbol = "com.microsoft:producer-id"              // long
	producerEpoch  amqp.Symbol = "com.microsoft:producer-epoch"           // short
	producerNumber amqp.Symbol = "com.microsoft:producer-sequence-number" // int
)

// pipe is a link to a partition.
type pipe struct {
	link  *client.Sender
	turn  chan struct{} // holds one: who has it may use next, and messages go in the order of their numbers
	id    int64         // 0: events are not numbered
	epoch int16
	next  int32
}

// attach makes a link to a partition. known is the id that the bridge had there; 0 for none.
func attach(ctx context.Context, c *connection, partition string, numbered bool, known int64) (*pipe, error) {
	cfg := client.SenderConfig{Target: c.place.entity + "/Partitions/" + partition}
	if numbered {
		cfg.Desired = []amqp.Symbol{numberedEvents}
		if known != 0 {
			cfg.Properties = amqp.Map{{Key: producerID, Value: known}}
		}
	}
	s, err := c.session.Sender(ctx, cfg)
	if err != nil {
		return nil, err
	}
	p := &pipe{link: s, turn: make(chan struct{}, 1)}
	if !numbered || !slices.Contains(s.Peer().OfferedCapabilities, numberedEvents) {
		return p, nil
	}
	told := s.Peer().Properties
	id, ok := amqptext.Integer(told.Get(producerID))
	epoch, also := amqptext.Integer(told.Get(producerEpoch))
	last, too := amqptext.Integer(told.Get(producerNumber))
	if !ok || !also || !too || id <= 0 || epoch != int64(int16(epoch)) || last != int64(int32(last)) {
		s.Close(ctx)
		return nil, fault.Newf("eventhubs.Write", fault.Unavailable, "%s did not say how it counts events", c.place.host)
	}
	p.id, p.epoch, p.next = id, int16(epoch), (int32(last)+1)&(1<<31-1) // behind the largest comes 0
	return p, nil
}

// numbers are the first annotations of an event, so that they stand in the same place of each: to be filled in when it goes.
var numbers = func() []byte {
	b := append(amqp.AppendSymbol(nil, producerID), 0x81, 0, 0, 0, 0, 0, 0, 0, 0)
	b = append(amqp.AppendSymbol(b, producerEpoch), 0x61, 0, 0)
	return append(amqp.AppendSymbol(b, producerNumber), 0x71, 0, 0, 0, 0)
}()

const (
	beforeNumbers = 3 + 5 + 3 + 9 // the data section's head, and that of the annotations in it
	idAt          = beforeNumbers + 2 + len(producerID) + 1
	epochAt       = idAt + 8 + 2 + len(producerEpoch) + 1
	numberAt      = epochAt + 2 + 2 + len(producerNumber) + 1
)

// number fills in what appendEvent left room for, in events of which each ends in b where ends says, counting from base.
func (p *pipe) number(b []byte, ends []int, base int) {
	start := 0
	for _, end := range ends {
		e := b[start:]
		binary.BigEndian.PutUint64(e[idAt:], uint64(p.id))
		binary.BigEndian.PutUint16(e[epochAt:], uint16(p.epoch))
		binary.BigEndian.PutUint32(e[numberAt:], uint32(p.next))
		p.next = (p.next + 1) & (1<<31 - 1)
		start = end - base
	}
}

// send sends a message and waits for its outcome. What was refused leaves a gap in the numbers, so the link is of no use then.
func (p *pipe) send(ctx context.Context, b []byte, ends []int, base int, format uint32) error {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if p.id != 0 {
		p.number(b, ends, base)
	}
	outcome := make(chan error, 1)
	err := p.link.Start(ctx, b, format, func(err error) { outcome <- err })
	<-p.turn
	if err == nil {
		select {
		case err = <-outcome:
		case <-ctx.Done():
			err = fault.New("eventhubs.Write", fault.Timeout, "the event hub did not answer in time").Because(context.Cause(ctx))
		}
	}
	if err != nil && p.id != 0 {
		p.link.Close(ctx)
	}
	return err
}
