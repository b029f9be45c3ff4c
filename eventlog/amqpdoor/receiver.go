package amqpdoor

import (
	"strings"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// What a receiver may ask for: properties and a capability of its link.
const (
	epochProperty  amqp.Symbol = "com.microsoft:epoch"         // long: it reads the partition alone
	nameProperty   amqp.Symbol = "com.microsoft:receiver-name" // string: what others are told of it
	runtimeMetric  amqp.Symbol = "com.microsoft:enable-receiver-runtime-metric"
	maxNameInWords             = 128
)

// receiver is a link that events go out on.
type receiver struct {
	link
	v         *Conversation
	place     place
	partition int
	group     string
	name      string
	epoch     int64
	exclusive bool // there is an epoch
	metric    bool // it wants to know with each event where the partition ends

	// Fields of the goroutine that reads.
	next  int64 // sequence number of the next event
	began bool  // one was sent
}

func (v *Conversation) attachReceiver(l *engine.Link, a address) {
	e, err := v.enter(l.Context(), a, eventhub.Listen)
	if err != nil {
		v.turnAway(l, err)
		return
	}
	group, err := e.Group(l.Context(), a.group)
	if err != nil {
		v.turnAway(l, err)
		return
	}
	p, kept, err := positionOf(l.Peer().Source)
	if err != nil {
		v.turnAway(l, err)
		return
	}
	r := &receiver{
		link: link{Link: l, entity: e, path: a.path(), need: eventhub.Listen}, v: v, partition: a.partition, group: group, name: receiverName(l),
		place:  place{v.host(), strings.ToLower(e.Name()), strings.ToLower(group), a.partition},
		metric: desires(l, runtimeMetric),
	}
	r.epoch, r.exclusive = amqptext.Integer(l.Peer().Properties.Get(epochProperty))
	if r.next, err = p.begin(e, a.partition); err != nil {
		v.turnAway(l, err)
		return
	}
	ousted, refused := v.door.places.enter(r.place, r)
	if refused != nil {
		v.turnAway(l, refused)
		return
	}
	v.door.metrics.receivers.Inc()
	v.add(&r.link)
	l.OnEnd(func() {
		v.door.places.leave(r.place, r)
		v.door.metrics.receivers.Dec()
	})
	for _, old := range ousted {
		v.door.metrics.stolen.Inc()
		v.door.log.Debug("eventhub: a receiver lost its partition", "address", old.Address(), "receiver", old.name, "to", r.name)
		old.Detach(ousting(old, r))
	}
	source := *l.Peer().Source
	source.Filter = kept
	accept := engine.Accept{Source: &source}
	if r.metric {
		accept.Offered = []amqp.Symbol{runtimeMetric}
	}
	l.Accept(accept)
	r.run()
}

// receiverName is what the receiver calls itself, nil when it does not: so says Azure's service.
func receiverName(l *engine.Link) string {
	name, _ := amqptext.Text(l.Peer().Properties.Get(nameProperty))
	if name == "" {
		return "nil"
	}
	if len(name) > maxNameInWords {
		name = name[:maxNameInWords]
	}
	return name
}
