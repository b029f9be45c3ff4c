package servicedoor

import (
	"net"
	"strings"

	"github.com/isthmus-io/isthmus/hub/builtin"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// eventsPort is where clients are sent.
const eventsPort = 5671

// asksWhere is the path of those who want nothing but to be told where the events are. A hub answers there itself under no name: who reads
// it as an event hub uses $management.
const asksWhere = events + "/$management"

func isEvents(path string) bool { return path == events || strings.HasPrefix(path, events+"/") }

// redirects tells whether who attaches a link is sent elsewhere.
func (v *Conversation) redirects(path string) bool {
	return path == asksWhere || isEvents(path) && v.eventsElsewhere() != ""
}

// eventsElsewhere returns the host name that the connection should have for reading events; empty when it has it, or the hub has no other.
func (v *Conversation) eventsElsewhere() string {
	host := v.amqp.PeerOpen().Hostname
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if to := v.door.cfg.EventsHost(v.hub); !strings.EqualFold(host, to) && !strings.EqualFold(to, v.hub.HostName()) {
		return to
	}
	return ""
}

// redirect tells where the events are (AMQP 1.0, 2.8.18; IoT Hub: read from the built-in endpoint). What stands behind messages/events is the
// same there.
func (v *Conversation) redirect(l *engine.Link) {
	to := v.door.cfg.EventsHost(v.hub)
	rest := amqptext.Path(l.Address())[len(events):]
	l.Refuse(&amqp.Error{
		Condition: amqp.ConditionLinkRedirect, Description: "Events are read on " + to + ".",
		Info: amqp.Map{
			{Key: amqp.Symbol("hostname"), Value: to},
			{Key: amqp.Symbol("network-host"), Value: to},
			{Key: amqp.Symbol("port"), Value: uint16(eventsPort)},
			{Key: amqp.Symbol("address"), Value: "amqps://" + to + ":5671/" + builtin.EntityName(v.hub) + rest},
		},
	})
}
