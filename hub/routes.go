package hub

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/route"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// routingSetting is the name of what an administrator set beside the routes themselves.
const routingSetting = "routing"

type routingSettings struct {
	NoFallback bool `json:"noFallback"`
}

// Routing is all that says where a hub's messages go.
type Routing struct {
	Fallback    bool               `json:"fallback"` // messages of devices that no route takes go to the built-in endpoint
	Endpoints   []Endpoint         `json:"endpoints"`
	Routes      []route.Route      `json:"routes"`
	Enrichments []route.Enrichment `json:"enrichments"`
}

// Routing reads a hub's endpoints, routes and enrichments; secrets of endpoints are left out.
func (h *Hub) Routing(ctx context.Context) (Routing, error) {
	r, err := h.readRouting(ctx)
	for i := range r.Endpoints {
		r.Endpoints[i].Key = ""
	}
	return r, err
}

func (h *Hub) readRouting(ctx context.Context) (Routing, error) {
	stored, err := h.server.store.Routing(ctx, h.id)
	if err != nil {
		return Routing{}, err
	}
	set, err := h.server.store.Setting(ctx, h.id, routingSetting)
	if err != nil {
		return Routing{}, err
	}
	return routingOf(stored, set)
}

func routingOf(stored hubstore.Routing, set []byte) (Routing, error) {
	var settings routingSettings
	if set != nil {
		if err := json.Unmarshal(set, &settings); err != nil {
			return Routing{}, fault.Wrap("hub.Routing", fault.Internal, err, "the stored settings of routes are no JSON")
		}
	}
	out := Routing{Fallback: !settings.NoFallback, Endpoints: []Endpoint{}, Routes: []route.Route{}, Enrichments: []route.Enrichment{}}
	for _, s := range stored.Endpoints {
		e := Endpoint{}
		if err := json.Unmarshal(s.Settings, &e); err != nil {
			return Routing{}, fault.Wrap("hub.Routing", fault.Internal, err, "the stored settings of endpoint "+s.Name+" are no JSON")
		}
		e.Name, e.Kind = s.Name, s.Kind
		out.Endpoints = append(out.Endpoints, e)
	}
	for _, s := range stored.Routes {
		out.Routes = append(out.Routes, route.Route{Name: s.Name, Source: Source(s.Source), Condition: s.Condition, Endpoints: s.Endpoints, Enabled: s.Enabled})
	}
	for _, s := range stored.Enrichments {
		out.Enrichments = append(out.Enrichments, route.Enrichment{Key: s.Name, Value: s.Value, Endpoints: s.Endpoints})
	}
	return out, nil
}

// loadRouting makes the table of what is stored. A table that this program cannot read sends everything to the built-in endpoint, and the
// log says so: a hub that takes nothing would be worse.
func (h *Hub) loadRouting(ctx context.Context) error {
	r, err := h.readRouting(ctx)
	if err != nil {
		return err
	}
	t, err := h.compile(r)
	if err != nil {
		h.server.log.Error("hub: the stored routes are not understood; everything goes to the built-in endpoint", "hub", h.Name(), "err", err)
		return nil
	}
	h.useRouting(t, r)
	return nil
}

func (h *Hub) compile(r Routing) (*route.Table, error) {
	c := route.Config{HubName: hubLabel(h.HostName()), Routes: r.Routes, Enrichments: r.Enrichments, NoFallback: !r.Fallback}
	for _, e := range r.Endpoints {
		c.Endpoints = append(c.Endpoints, e.Name)
	}
	return route.Compile(c)
}

func (h *Hub) useRouting(t *route.Table, r Routing) {
	h.endpoints.Store(&r.Endpoints)
	h.ends.end(func(endpoint string) bool { return !h.hasStream(endpoint) })
	if t.Plain() {
		h.routing.Store(nil)
		return
	}
	next := &routing{table: t, twins: newTwinCache()}
	for _, name := range t.Endpoints() {
		n, _ := h.counters.LoadOrStore(name, &atomic.Int64{})
		next.streams = append(next.streams, h.streamOf(name))
		next.routed = append(next.routed, n.(*atomic.Int64)) //nolint:forcetypeassert // the map holds nothing else
	}
	h.routing.Store(next)
}

// changeRouting writes a change and has the hub use it, once it is durable. What would not make a table is refused and not written.
func (h *Hub) changeRouting(ctx context.Context, what, by string, change func(tx *hubstore.Tx) error) error {
	h.settling.Lock()
	defer h.settling.Unlock()
	set, err := h.server.store.Setting(ctx, h.id, routingSetting) // changed under settling only
	if err != nil {
		return err
	}
	var r Routing
	var t *route.Table
	if err := h.server.store.Write(ctx, func(tx *hubstore.Tx) error {
		if err := change(tx); err != nil {
			return err
		}
		stored, err := tx.Routing(h.id)
		if err != nil {
			return err
		}
		if r, err = routingOf(stored, set); err != nil {
			return err
		}
		if t, err = h.compile(r); err != nil && fault.KindOf(err) == fault.Exhausted {
			err = code.With(err, code.QuotaExceeded)
		}
		return err
	}); err != nil {
		return err
	}
	h.useRouting(t, r)
	h.server.log.Info("hub: routing changed", "hub", h.Name(), "what", what, "by", by)
	return nil
}

// PutRoute makes a route or changes it. Invalid when its condition, its source or an endpoint is wrong. by is who asked, for the log.
func (h *Hub) PutRoute(ctx context.Context, r route.Route, by string) error {
	return h.changeRouting(ctx, "route "+shorten(r.Name), by, func(tx *hubstore.Tx) error {
		return tx.SetRoute(h.id, hubstore.Route{Name: r.Name, Source: string(r.Source), Condition: r.Condition, Endpoints: r.Endpoints, Enabled: r.Enabled})
	})
}

// DeleteRoute removes a route. NotFound when there is none.
func (h *Hub) DeleteRoute(ctx context.Context, name, by string) error {
	return h.changeRouting(ctx, "without route "+shorten(name), by, func(tx *hubstore.Tx) error { return tx.DeleteRoute(h.id, name) })
}

// PutEnrichment makes an enrichment or changes it.
func (h *Hub) PutEnrichment(ctx context.Context, e route.Enrichment, by string) error {
	return h.changeRouting(ctx, "enrichment "+shorten(e.Key), by, func(tx *hubstore.Tx) error {
		return tx.SetEnrichment(h.id, hubstore.Enrichment{Name: e.Key, Value: e.Value, Endpoints: e.Endpoints})
	})
}

// DeleteEnrichment removes an enrichment. NotFound when there is none.
func (h *Hub) DeleteEnrichment(ctx context.Context, key, by string) error {
	return h.changeRouting(ctx, "without enrichment "+shorten(key), by, func(tx *hubstore.Tx) error { return tx.DeleteEnrichment(h.id, key) })
}

// SetFallback says whether messages of devices which no route takes go to the built-in endpoint, or are dropped.
func (h *Hub) SetFallback(ctx context.Context, on bool, by string) error {
	h.settling.Lock()
	defer h.settling.Unlock()
	value, _ := json.Marshal(routingSettings{NoFallback: !on}) // a bool always can be
	if err := h.server.store.Write(ctx, func(tx *hubstore.Tx) error { return tx.SetSetting(h.id, routingSetting, value) }); err != nil {
		return err
	}
	h.server.log.Info("hub: routing changed", "hub", h.Name(), "what", "fallback", "on", on, "by", by)
	return h.loadRouting(ctx)
}

// Sample is a message to try routes with. Its twin is that of the device named, if there is one, or the one given.
type Sample struct {
	Source     Source
	Name       Name
	Properties map[string]string
	System     map[string]string
	Body       []byte
	Twin       map[string]any // {"tags":..,"properties":{..}}; nil for the device's own
}

func (h *Hub) message(s Sample) *route.Message {
	if s.Source == "" {
		s.Source = DeviceMessages
	}
	m := &route.Message{
		Source: s.Source, Device: s.Name.Device, Module: s.Name.Module, Properties: s.Properties, System: s.System, Body: s.Body, Received: h.server.clock.Now(),
		Twin: func() map[string]any { return s.Twin },
	}
	if s.Twin == nil && s.Name.Device != "" {
		m.Twin = func() map[string]any { return newTwinCache().get(h, s.Name) }
	}
	return m
}

// TestRoute tells whether a route, which need not exist, would take a message.
func (h *Hub) TestRoute(r route.Route, s Sample) (route.Outcome, error) {
	if err := route.CheckSource(r.Source); err != nil {
		return route.Outcome{}, err
	}
	if r.Name == "" {
		r.Name = "test"
	}
	return route.Try(r, h.message(s))
}

// TestRoutes tells what each of the hub's routes, those that are not enabled too, would do with a message, and to which endpoints it
// would go.
func (h *Hub) TestRoutes(ctx context.Context, s Sample) (outcomes []route.Outcome, endpoints []string, err error) {
	r, err := h.readRouting(ctx)
	if err != nil {
		return nil, nil, err
	}
	m := h.message(s)
	if err := route.CheckSource(m.Source); err != nil {
		return nil, nil, err
	}
	outcomes, endpoints = []route.Outcome{}, []string{}
	for _, one := range r.Routes {
		o, err := route.Try(one, m)
		if err != nil {
			return nil, nil, err
		}
		if !one.Enabled {
			o.Why = strings.TrimPrefix(o.Why+"; the route is not enabled", "; ")
		}
		outcomes = append(outcomes, o)
	}
	t, err := h.compile(r)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range t.Match(m, nil) {
		endpoints = append(endpoints, t.Endpoints()[d.Endpoint])
	}
	return outcomes, slices.Clip(endpoints), nil
}
