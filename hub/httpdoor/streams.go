package httpdoor

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/stream"
)

// streamRoutes are those of Config.Streams (IoT Hub: device streams, preview). Every api-version is as good as another: they all ended in
// preview, and the SDKs that have streams send three different ones.
func streamRoutes() []route {
	return []route{
		{method: "POST", path: "twins/{device}/streams/{name}", right: hub.ServiceConnect, own: true, serve: withStreams(openStream)},
		{method: "POST", path: "twins/{device}/modules/{module}/streams/{name}", right: hub.ServiceConnect, own: true, serve: withStreams(openStream)},
		{method: "GET", path: stream.Path + "/{name}", by: byTicket, own: true, serve: withStreams(joinStream)},
	}
}

// withStreams answers in words where there is no gateway.
func withStreams(serve func(*exchange, *stream.Gateway) error) func(*exchange) error {
	return func(x *exchange) error {
		if x.door.cfg.Streams == nil || x.local() {
			return code.With(fault.New("httpdoor.streams", fault.NotFound, "no device streams are served here"), code.NotFound)
		}
		return serve(x, x.door.cfg.Streams)
	}
}

// Headers of device streams.
const (
	streamConnect  = "iothub-streaming-connect-timeout-in-seconds"
	streamResponse = "iothub-streaming-response-timeout-in-seconds"
	streamAccepted = "iothub-streaming-is-accepted"
	streamURL      = "iothub-streaming-url"
	streamToken    = "iothub-streaming-auth-token"
)

func openStream(x *exchange, g *stream.Gateway) error {
	h, token, right := x.hub, x.Header.Get("Authorization"), x.right
	r := stream.Request{To: x.identity(), Name: x.name, Host: x.Host, Response: hub.DefaultStreamTimeout, Stands: func(context.Context) bool {
		_, _, err := h.Authorize(token, right)
		return err == nil || fault.KindOf(err) == fault.Expired // a stream outlives the token that it was asked for with, and not the key
	}}
	for name, into := range map[string]*time.Duration{streamConnect: &r.Connect, streamResponse: &r.Response} {
		text := x.Header.Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return fault.Newf("httpdoor.openStream", fault.Invalid, "%s is %.20q", name, text).Advise("it is a number of seconds")
		}
		*into = time.Duration(n) * time.Second
	}
	x.patience = r.Connect + r.Response
	// It may take longer than a request's body may.
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Time{})
	grant, err := g.Open(x.Context(), h, r)
	if err != nil {
		return err
	}
	head := x.w.Header()
	head.Set(streamAccepted, "False") // the Node SDK compares with 'True'
	if grant.Accepted {
		head.Set(streamAccepted, "True")
		head.Set(streamURL, grant.URL)
		head.Set(streamToken, grant.Token)
	}
	x.w.WriteHeader(http.StatusOK)
	return nil
}

// joinStream takes one end of a stream. Samples offer a subprotocol of their own, and want it back; SDKs offer none.
func joinStream(x *exchange, g *stream.Gateway) error {
	token, ok := strings.CutPrefix(x.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return fault.New("httpdoor.joinStream", fault.Unauthenticated, "the request has no token").Advise("send Authorization: Bearer, with the token that came with the address")
	}
	place, err := g.Reserve(x.hub, x.name, token)
	if err != nil {
		return err
	}
	var offered []string
	if first, _, _ := strings.Cut(x.Header.Get("Sec-WebSocket-Protocol"), ","); first != "" {
		offered = []string{strings.TrimSpace(first)}
	}
	c, err := websocket.Accept(x.w, x.Request, &websocket.AcceptOptions{
		Subprotocols: offered, InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		place.Leave()
		return nil //nolint:nilerr // it has answered
	}
	x.tracked.handOver()
	defer x.conn.Leave()
	ctx, server, side, host := x.conn.Context(), x.door.server, x.conn.Side, x.Host // the request's own context ends here
	place.Join(ctx, websocket.NetConn(ctx, c, websocket.MessageBinary), func(context.Context) bool {
		_, err := server.Enter(side, host)
		return err == nil
	})
	return nil
}
