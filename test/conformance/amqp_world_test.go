package conformance

import (
	"log/slog"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	eventdoor "github.com/isthmus-io/isthmus/eventlog/amqpdoor"
	"github.com/isthmus-io/isthmus/hub"
	hubdoor "github.com/isthmus-io/isthmus/hub/amqpdoor"
	"github.com/isthmus-io/isthmus/hub/builtin"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/servicedoor"
	"github.com/isthmus-io/isthmus/node/amqpnode"
	"github.com/isthmus-io/isthmus/provisioning"
	provisioningdoor "github.com/isthmus-io/isthmus/provisioning/amqpdoor"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// amqpDoors is what a hub process has for AMQP. Without a provisioning service its devices are refused.
type amqpDoors struct {
	engine        engine.Config
	hubs          hubdoor.Config
	registrations *provisioning.Server
}

// of puts it together for a world.
func (a amqpDoors) of(w *hubtest.World) hubtest.AMQP {
	log, clk := slog.New(slog.DiscardHandler), clock.System{}
	events := eventdoor.New(eventdoor.Config{}, log, clk, nil)
	service := servicedoor.New(servicedoor.Config{Files: w.Files}, log, clk)
	a.hubs.Service = func(c *engine.Conn, h *hub.Hub, claims hubdoor.Claims, refuse func(string, error)) hubdoor.ServiceLinks {
		return service.Converse(c, h, claims, refuse)
	}
	a.hubs.Events = func(c *engine.Conn, h *hub.Hub, _ hubdoor.Claims, refuse func(string, error)) hubdoor.EventLinks {
		return events.Join(c, builtin.New(h), refuse)
	}
	devices := provisioningdoor.New(provisioningdoor.Config{
		Admit: func(c provisioningdoor.Conn, s *provisioning.Service) error {
			_, err := w.Server.Enter(c.(*front.Conn).Side, s.HostName())
			return err
		},
	}, a.registrations, log, clk)
	return amqpnode.New(amqpnode.Doors{
		Hubs: hubdoor.New(a.hubs, w.Server, log, clk), Provisioning: devices, EventHubs: events, Builtin: builtin.New,
		Namespace: func(*hub.Hub) (eventhub.Directory, bool) { return nil, false },
	}, w.Server, engine.New(a.engine, log, clk, nil), log)
}
