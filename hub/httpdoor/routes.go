package httpdoor

import (
	"encoding/json"
	"io"
	"strconv"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	routing "github.com/isthmus-io/isthmus/hub/route"
)

const maxRoutingBody = 512 << 10 // a message to try, as base64

// routingRoutes are those for where messages go, who reads them, and how much there may be of everything.
func routingRoutes() []route {
	return []route{
		{method: "GET", path: "isthmus/v1/routing", right: hub.EveryRight, own: true, serve: getRouting},
		{method: "PUT", path: "isthmus/v1/routing/fallback", right: hub.EveryRight, own: true, serve: putFallback},
		{method: "POST", path: "isthmus/v1/routing/test", right: hub.EveryRight, own: true, serve: testRouting},
		{method: "PUT", path: "isthmus/v1/routing/routes/{name}", right: hub.EveryRight, own: true, serve: putRoute},
		{method: "DELETE", path: "isthmus/v1/routing/routes/{name}", right: hub.EveryRight, own: true, serve: deleteRoute},
		{method: "PUT", path: "isthmus/v1/routing/endpoints/{name}", right: hub.EveryRight, own: true, serve: putEndpoint},
		{method: "DELETE", path: "isthmus/v1/routing/endpoints/{name}", right: hub.EveryRight, own: true, serve: deleteEndpoint},
		{method: "PUT", path: "isthmus/v1/routing/enrichments/{name}", right: hub.EveryRight, own: true, serve: putEnrichment},
		{method: "DELETE", path: "isthmus/v1/routing/enrichments/{name}", right: hub.EveryRight, own: true, serve: deleteEnrichment},

		{method: "GET", path: "isthmus/v1/consumergroups", open: toReceivers, right: hub.ServiceConnect, own: true, serve: listGroups},
		{method: "PUT", path: "isthmus/v1/consumergroups/{name}", right: hub.ServiceConnect, own: true, serve: createGroup},
		{method: "DELETE", path: "isthmus/v1/consumergroups/{name}", right: hub.ServiceConnect, own: true, serve: deleteGroup},
		{method: "GET", path: "isthmus/v1/consumergroups/{name}/checkpoints", open: toReceivers, right: hub.ServiceConnect, own: true, serve: getCheckpoints},
		{method: "POST", path: "isthmus/v1/consumergroups/{name}/checkpoints", open: toReceivers, right: hub.ServiceConnect, own: true, serve: setCheckpoints},

		{method: "GET", path: "isthmus/v1/limits", open: toReaders, right: hub.RegistryRead, own: true, serve: getLimits},
		{method: "PUT", path: "isthmus/v1/limits", right: hub.EveryRight, own: true, serve: putLimits},
		{method: "GET", path: "isthmus/v1/devices/{device}/why", open: toReaders, right: hub.RegistryRead, own: true, serve: explain},
		{method: "GET", path: "isthmus/v1/devices/{device}/modules/{module}/why", open: toReaders, right: hub.RegistryRead, own: true, serve: explain},
	}
}

// endpointJSON is an endpoint with how forwarding to it goes.
type endpointJSON struct {
	hub.Endpoint
	HasKey   bool          `json:"hasKey,omitempty"`
	Progress *hub.Progress `json:"progress,omitempty"` // null for streams, and where nobody forwards
}

type routingJSON struct {
	Fallback    bool                 `json:"fallback"`
	Endpoints   []endpointJSON       `json:"endpoints"`
	Routes      []routing.Route      `json:"routes"`
	Enrichments []routing.Enrichment `json:"enrichments"`
}

func getRouting(x *exchange) error {
	r, err := x.hub.Routing(x.Context())
	if err != nil {
		return err
	}
	keyed := map[string]bool{}
	for _, e := range x.hub.Endpoints() {
		keyed[e.Name] = e.Key != ""
	}
	out := routingJSON{Fallback: r.Fallback, Endpoints: []endpointJSON{}, Routes: r.Routes, Enrichments: r.Enrichments}
	for _, e := range r.Endpoints {
		j := endpointJSON{Endpoint: e, HasKey: keyed[e.Name]}
		if p, ok := x.hub.Progress(e.Name); ok {
			j.Progress = &p
		}
		out.Endpoints = append(out.Endpoints, j)
	}
	return x.reply(out)
}

func putFallback(x *exchange) error {
	var in struct {
		Enabled *bool `json:"enabled"`
	}
	if err := x.decode(maxRoutingBody, &in); err != nil {
		return err
	}
	if in.Enabled == nil {
		return fault.New("httpdoor.putFallback", fault.Invalid, "the body does not say whether the fallback is on").Advise(`write {"enabled":true} or {"enabled":false}`)
	}
	if err := x.hub.SetFallback(x.Context(), *in.Enabled, x.who()); err != nil {
		return err
	}
	return x.nothing()
}

// isNamed gives what a body describes the name of its path, and refuses another one.
func (x *exchange) isNamed(name *string) error {
	if *name != "" && *name != x.name {
		return fault.Newf("httpdoor.isNamed", fault.Invalid, "the body says %.64q and the path %.64q", *name, x.name).Advise("leave the name out of the body")
	}
	*name = x.name
	return nil
}

// routeJSON is a route as it is written: without isEnabled it is enabled, without source it takes messages of devices.
type routeJSON struct {
	routing.Route
	Enabled *bool `json:"isEnabled"`
}

func (j routeJSON) route() routing.Route {
	r := j.Route
	r.Enabled = j.Enabled == nil || *j.Enabled
	if r.Source == "" {
		r.Source = hub.DeviceMessages
	}
	return r
}

func putRoute(x *exchange) error {
	var in routeJSON
	if err := x.decode(maxRoutingBody, &in); err != nil {
		return err
	}
	r := in.route()
	if err := x.isNamed(&r.Name); err != nil {
		return err
	}
	if err := x.hub.PutRoute(x.Context(), r, x.who()); err != nil {
		return elsewhere(err)
	}
	return x.reply(r)
}

func deleteRoute(x *exchange) error {
	return x.done(x.hub.DeleteRoute(x.Context(), x.name, x.who()))
}

func putEndpoint(x *exchange) error {
	var e hub.Endpoint
	if err := x.decode(maxRoutingBody, &e); err != nil {
		return err
	}
	if err := x.isNamed(&e.Name); err != nil {
		return err
	}
	if err := x.hub.PutEndpoint(x.Context(), e, x.who()); err != nil {
		return elsewhere(err)
	}
	for _, now := range x.hub.Endpoints() {
		if now.Name == e.Name {
			e = now // with what was left out
		}
	}
	out := endpointJSON{Endpoint: e, HasKey: e.Key != ""}
	out.Key = ""
	return x.reply(out)
}

func deleteEndpoint(x *exchange) error {
	return x.done(x.hub.DeleteEndpoint(x.Context(), x.name, x.who()))
}

func putEnrichment(x *exchange) error {
	var e routing.Enrichment
	if err := x.decode(maxRoutingBody, &e); err != nil {
		return err
	}
	if err := x.isNamed(&e.Key); err != nil {
		return err
	}
	if err := x.hub.PutEnrichment(x.Context(), e, x.who()); err != nil {
		return elsewhere(err)
	}
	return x.reply(e)
}

func deleteEnrichment(x *exchange) error {
	return x.done(x.hub.DeleteEnrichment(x.Context(), x.name, x.who()))
}

// done answers a change that has nothing to show.
func (x *exchange) done(err error) error {
	if err != nil {
		return elsewhere(err)
	}
	return x.nothing()
}

// sampleJSON is a message to try routes with.
type sampleJSON struct {
	Source     routing.Source    `json:"source"`
	Device     string            `json:"deviceId"`
	Module     string            `json:"moduleId"`
	Properties map[string]string `json:"properties"`
	System     map[string]string `json:"system"` // by the names that GET /isthmus/v1/events shows, such as content-type
	Body       json.RawMessage   `json:"body"`   // JSON, taken as a message in JSON unless system says otherwise; or
	Base64     []byte            `json:"bodyBase64"`
	Twin       map[string]any    `json:"twin"` // instead of the device's
}

func (j sampleJSON) sample() hub.Sample {
	s := hub.Sample{Source: j.Source, Name: hub.Name{Device: j.Device, Module: j.Module}, Properties: j.Properties, System: j.System, Body: j.Base64, Twin: j.Twin}
	if j.Body != nil {
		s.Body = j.Body
		s.System = map[string]string{hub.ContentType: "application/json", hub.ContentEncoding: "utf-8"}
		for k, v := range j.System {
			s.System[k] = v
		}
	}
	return s
}

// testJSON asks what would become of a message: by one route, which need not exist, or by all.
type testJSON struct {
	Message sampleJSON `json:"message"`
	Route   *routeJSON `json:"route"`
}

type outcomeJSON struct {
	Route   string `json:"route"`
	Matches bool   `json:"matches"`
	Why     string `json:"why,omitempty"`
}

type testedJSON struct {
	Result    string        `json:"result"` // true or false, or undefined when no route was tried, as IoT Hub's testroute says it
	Routes    []outcomeJSON `json:"routes"`
	Endpoints []string      `json:"endpoints,omitempty"` // where the message would go, when all routes were tried
}

func testRouting(x *exchange) error {
	var in testJSON
	if err := x.decode(maxRoutingBody, &in); err != nil {
		return err
	}
	out := testedJSON{Result: "false", Routes: []outcomeJSON{}}
	var list []routing.Outcome
	var err error
	if in.Route != nil {
		list = make([]routing.Outcome, 1)
		list[0], err = x.hub.TestRoute(in.Route.route(), in.Message.sample())
	} else {
		list, out.Endpoints, err = x.hub.TestRoutes(x.Context(), in.Message.sample())
	}
	if err != nil {
		return err
	}
	for _, o := range list {
		out.Routes = append(out.Routes, outcomeJSON(o))
		if o.Matches {
			out.Result = "true"
		}
	}
	if len(list) == 0 {
		out.Result = "undefined"
	}
	return x.reply(out)
}

func (x *exchange) endpoint() string { return x.URL.Query().Get("endpoint") }

func listGroups(x *exchange) error {
	list, err := x.hub.ConsumerGroups(x.Context(), x.endpoint())
	if err != nil {
		return elsewhere(err)
	}
	return x.reply(list)
}

func createGroup(x *exchange) error {
	g, err := x.hub.CreateConsumerGroup(x.Context(), x.endpoint(), x.name)
	if err != nil {
		return elsewhere(err)
	}
	return x.reply(g)
}

func deleteGroup(x *exchange) error {
	return x.done(x.hub.DeleteConsumerGroup(x.Context(), x.endpoint(), x.name))
}

func getCheckpoints(x *exchange) error {
	list, err := x.hub.Checkpoints(x.Context(), x.endpoint(), x.name)
	if err != nil {
		return elsewhere(err)
	}
	return x.reply(list)
}

// checkpointsJSON says how far a reader has come: what it wants next, by partition.
type checkpointsJSON struct {
	Next  map[string]int64 `json:"next"`
	Owner string           `json:"owner"` // who reads, for people
}

func setCheckpoints(x *exchange) error {
	op := "httpdoor.setCheckpoints"
	var in checkpointsJSON
	if err := x.decode(maxRoutingBody, &in); err != nil {
		return err
	}
	next := map[int]int64{}
	for text, n := range in.Next {
		p, err := strconv.Atoi(text)
		if err != nil {
			return fault.Newf(op, fault.Invalid, "%.20q is no partition", text).Advise(`write {"next":{"0":120,"1":98}}: by partition, the sequence number wanted next`)
		}
		next[p] = n
	}
	if len(next) == 0 {
		return fault.New(op, fault.Invalid, "the body names no partition").Advise(`write {"next":{"0":120,"1":98}}: by partition, the sequence number wanted next`)
	}
	return x.done(x.hub.SetCheckpoints(x.Context(), x.endpoint(), x.name, in.Owner, next))
}

func getLimits(x *exchange) error {
	l := x.hub.Limits()
	return x.reply(map[string]any{"device": l.Device, "hub": l.Hub, "tenant": x.hub.TenantLimits()})
}

func putLimits(x *exchange) error {
	b, err := x.body(maxRoutingBody)
	if err != nil {
		return err
	}
	if len(b) == 0 {
		return code.With(fault.Wrap("httpdoor.putLimits", fault.Invalid, io.ErrUnexpectedEOF, "the request has no body"), code.FormatError)
	}
	l, err := x.hub.SetLimits(x.Context(), b, x.who())
	if err != nil {
		return err
	}
	return x.reply(l)
}

func explain(x *exchange) error {
	e, err := x.hub.Why(x.Context(), x.identity())
	if err != nil {
		return err
	}
	return x.reply(e)
}
