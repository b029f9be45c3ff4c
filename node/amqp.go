package node

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	eventdoor "github.com/isthmus-io/isthmus/eventlog/amqpdoor"
	"github.com/isthmus-io/isthmus/hub"
	hubdoor "github.com/isthmus-io/isthmus/hub/amqpdoor"
	"github.com/isthmus-io/isthmus/hub/builtin"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/hub/servicedoor"
	"github.com/isthmus-io/isthmus/node/amqpnode"
	"github.com/isthmus-io/isthmus/provisioning"
	provisioningdoor "github.com/isthmus-io/isthmus/provisioning/amqpdoor"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// newAMQP puts together what is spoken over AMQP in a hub process.
func newAMQP(h *hubProcess, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) *amqpnode.Router {
	events := eventdoor.New(h.cfg.EventDoor, log, clk, reg)
	service := servicedoor.New(servicedoor.Config{Files: h.files}, log, clk)
	hubs := hubdoor.New(hubdoor.Config{
		Service: func(c *engine.Conn, h *hub.Hub, claims hubdoor.Claims, refuse func(string, error)) hubdoor.ServiceLinks {
			return service.Converse(c, h, claims, refuse)
		},
		Events: func(c *engine.Conn, h *hub.Hub, _ hubdoor.Claims, refuse func(string, error)) hubdoor.EventLinks {
			v := events.Join(c, builtin.New(h), refuse)
			if claim, ok := c.Who().(eventhub.Claim); ok {
				v.Trust(claim)
			}
			return v
		},
	}, h.server, log, clk)
	devices := provisioningdoor.New(provisioningdoor.Config{
		Admit: func(c provisioningdoor.Conn, s *provisioning.Service) error { return h.prov.admit(c.(*front.Conn), s) },
	}, h.prov.server, log, clk)
	return amqpnode.New(amqpnode.Doors{
		Hubs: hubs, Provisioning: devices, EventHubs: events, Namespace: h.spaces.directory, Builtin: builtin.New,
	}, h.server, engine.New(h.cfg.Engine, log, clk, reg), log)
}
