package httpdoor

import (
	"context"
	"net/http"
	"strings"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/front"
)

// Arrival is how a request came, for the handlers which Config names: its connection and the hub it asked for, which it may enter from its side.
type Arrival struct {
	Conn *front.Conn // nil on the local socket, where everybody may do everything
	Hub  *hub.Hub
	// Limited says that it came from the public side of a service which has closed it (hub.Server.EnterTrusted): only a workload that the
	// service trusts may be answered, by its token.
	Limited bool
	// Refused says why the peer may not speak to the service, for handlers that tell it in their own protocol; Hub is what it asked for.
	Refused error
}

type arrivalKey struct{}

func withArrival(ctx context.Context, a Arrival) context.Context {
	return context.WithValue(ctx, arrivalKey{}, a)
}

// ArrivalOf returns how the request of this context came. Its zero value means that it did not come through this door.
func ArrivalOf(ctx context.Context) Arrival {
	a, _ := ctx.Value(arrivalKey{}).(Arrival)
	return a
}

// Enter returns the service that the request may still speak to, in the way it came. Who takes long to answer asks again.
func (a Arrival) Enter(server *hub.Server, host string) (*hub.Hub, error) {
	if !a.Limited {
		return server.Enter(a.Conn.Side, host)
	}
	h, _, err := server.EnterTrusted(a.Conn.Side, host)
	return h, err
}

// isWebSocket tells whether a request is for one of the two paths at which WebSockets are: hubs' and provisioning services', and that at
// which the SDKs of Event Hubs speak AMQP, also to a hub's built-in endpoint.
func isWebSocket(r *http.Request) bool {
	path := strings.TrimSuffix(r.URL.Path, "/")
	return strings.EqualFold(path, "/$iothub/websocket") || strings.EqualFold(path, "/$servicebus/websocket")
}
