package node

import (
	"context"
	"log/slog"
	"net/http"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventhub/bearer"
	"github.com/isthmus-io/isthmus/eventhub/httpdoor"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/eventlog/amqpevent"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	hubhttp "github.com/isthmus-io/isthmus/hub/httpdoor"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// namespaces are the namespaces of event hubs of a hub process: they share the hubs' doors, sides, certificates and log.
type namespaces struct {
	server  *eventhub.Server
	aliases []string     // names that tokens may be for besides, on a developer's machine
	local   http.Handler // of the local socket
	far     http.Handler
}

func newNamespaces(ctx context.Context, cfg HubConfig, hubs *hub.Server, events *eventlog.Log, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) (*namespaces, error) {
	own := eventhub.Config{Dir: cfg.DataDir, Database: cfg.Database, Workloads: cfg.workloads.verifier(), TestToken: cfg.testToken}
	if cfg.Tokens.Issuer != "" {
		v, err := bearer.New(cfg.Tokens, clk)
		if err != nil {
			return nil, err
		}
		own.Tokens = v.Check
	}
	server, err := eventhub.New(ctx, own, events, log, clk, reg)
	if err != nil {
		return nil, err
	}
	n := &namespaces{server: server, aliases: cfg.aliases}
	n.local = httpdoor.New(httpdoor.Config{Namespace: httpdoor.Named(server), Plain: plainEvent, Local: true}, log, clk)
	n.far = httpdoor.New(httpdoor.Config{
		Namespace: func(r *http.Request) (*eventhub.Namespace, error) {
			from := hubhttp.ArrivalOf(r.Context())
			if _, err := from.Enter(hubs, r.Host); err != nil { // which may have been closed since, under one who follows events
				return nil, err
			}
			return n.named(from.Hub)
		},
		Authorize: n.authorize,
		Plain:     plainEvent,
		Refused:   func(r *http.Request, who string, err error) { hubhttp.ArrivalOf(r.Context()).Conn.Refuse(who, err) },
	}, log, clk)
	return n, nil
}

// plainEvent reads an event for those who know no AMQP.
func plainEvent(e eventlog.Event) (eventlog.Event, error) {
	e.Body, e.Properties, e.System = amqpevent.Read(e)
	return e, nil
}

// named returns the namespace that a host name stands for.
func (n *namespaces) named(h *hub.Hub) (*eventhub.Namespace, error) {
	if ns, ok := n.server.Namespace(h.ID()); ok {
		return ns, nil
	}
	return nil, fault.Newf("node.namespace", fault.Unavailable, "%s is not served yet", h.HostName()).Advise("try again in a moment")
}

// directory is what a connection to a namespace may see.
func (n *namespaces) directory(h *hub.Hub) (eventhub.Directory, bool) {
	ns, ok := n.server.Namespace(h.ID())
	return ns, ok
}

// ServeHTTP answers what the hubs' door was asked for a namespace.
func (n *namespaces) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if hubhttp.ArrivalOf(r.Context()).Conn == nil {
		n.local.ServeHTTP(w, r)
		return
	}
	n.far.ServeHTTP(w, r)
}

// carryOut makes the server serve the namespaces of a plan.
func (n *namespaces) carryOut(ctx context.Context, hubs []plan.Hub) error {
	var out []eventhub.Spec
	for _, h := range hubs {
		if h.Type == resource.TypeEventHubs {
			out = append(out, eventhub.Spec{
				ID: h.ID, Name: h.Name, HostNames: slices.Concat(h.HostNames, n.aliases), EventHubs: h.EventHubs, Assignments: h.Assignments, KeysOff: h.KeysOff,
			})
		}
	}
	return n.server.SetNamespaces(ctx, out)
}
