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
	"github.com/isthmus-io/isthmus/wire/socketstream"
)

// streamRoutes are those of Config.Streams (IoT Hub: device streams, preview). Every api-version is as good as another: they all ended in
// preview, and the SDKs that have streams send three different ones.
func streamRoutes() []route {
	return []route{
		{method: "POST", path: "twins/{device}/streams/{name}", by: byGrant, right: hub.ServiceConnect, own: true, serve: withStreams(openStream)},
		{method: "POST", path: "twins/{device}/modules/{module}/streams/{name}", by: byGrant, right: hub.ServiceConnect, own: true, serve: withStreams(openStream)},
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
	h, token := x.hub, x.Header.Get("Authorization")
	r := stream.Request{
		To: x.identity(), Name: x.name, Host: x.Host, Response: hub.DefaultStreamTimeout, By: x.policy, From: x.conn.Side.Peer.String(),
		Stands: func(context.Context) bool {
			_, _, err := h.AuthorizeStream(token)
			return err == nil || fault.KindOf(err) == fault.Expired // a stream outlives the token that it was asked for with, and not the key
		},
	}
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
	answer, err := g.Open(x.Context(), h, r)
	if err != nil {
		return err
	}
	head := x.w.Header()
	head.Set(streamAccepted, "False") // the Node SDK compares with 'True'
	if answer.Accepted {
		head.Set(streamAccepted, "True")
		head.Set(streamURL, answer.URL)
		head.Set(streamToken, answer.Token)
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
	c, err := websocket.Accept(x.w, x.Request, &websocket.AcceptOptions{
		Subprotocols: offered(x.Header.Values("Sec-WebSocket-Protocol")), InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		place.Leave()
		return nil //nolint:nilerr // it has answered
	}
	x.tracked.handOver()
	defer x.conn.Leave()
	ctx, server, side, host := x.conn.Context(), x.door.server, x.conn.Side, x.Host // the request's own context ends here
	place.Join(ctx, socketstream.New(ctx, c, func() { x.conn.Cut(0) }), func(context.Context) bool {
		_, err := server.Enter(side, host)
		return err == nil
	})
	return nil
}

// offered returns the subprotocol to agree to: ours where the client knows it, else the first.
func offered(lines []string) []string {
	if name, ok := subprotocol(lines, []string{socketstream.Subprotocol}); ok {
		return []string{name}
	}
	for _, line := range lines {
		if first, _, _ := strings.Cut(line, ","); strings.TrimSpace(first) != "" {
			return []string{strings.TrimSpace(first)}
		}
	}
	return nil
}
