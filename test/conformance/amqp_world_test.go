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

// speakAMQP puts together what a hub process has for AMQP. The devices of a provisioning service are refused when there is none.
func speakAMQP(w *hubtest.World, registrations *provisioning.Server) *amqpnode.Router {
	log, clk := slog.New(slog.DiscardHandler), clock.System{}
	events := eventdoor.New(eventdoor.Config{}, log, clk, nil)
	service := servicedoor.New(servicedoor.Config{Files: w.Files}, log, clk)
	hubs := hubdoor.New(hubdoor.Config{
		Service: func(c *engine.Conn, h *hub.Hub, claims hubdoor.Claims, refuse func(string, error)) hubdoor.ServiceLinks {
			return service.Converse(c, h, claims, refuse)
		},
		Events: func(c *engine.Conn, h *hub.Hub, _ hubdoor.Claims, refuse func(string, error)) hubdoor.EventLinks {
			return events.Join(c, builtin.New(h), refuse)
		},
	}, w.Server, log, clk)
	devices := provisioningdoor.New(provisioningdoor.Config{
		Admit: func(c provisioningdoor.Conn, s *provisioning.Service) error {
			_, err := w.Server.Enter(c.(*front.Conn).Side, s.HostName())
			return err
		},
	}, registrations, log, clk)
	return amqpnode.New(amqpnode.Doors{
		Hubs: hubs, Provisioning: devices, EventHubs: events, Builtin: builtin.New,
		Namespace: func(*hub.Hub) (eventhub.Directory, bool) { return nil, false },
	}, w.Server, engine.New(engine.Config{}, log, clk, nil), log)
}
