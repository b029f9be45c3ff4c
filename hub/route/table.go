package route

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/query"
)

// Source is where a message comes from.
type Source string

// Sources, as IoT Hub names them.
const (
	DeviceMessages              Source = "DeviceMessages"
	TwinChangeEvents            Source = "TwinChangeEvents"
	DeviceLifecycleEvents       Source = "DeviceLifecycleEvents"
	DeviceConnectionStateEvents Source = "DeviceConnectionStateEvents"
	DeviceJobLifecycleEvents    Source = "DeviceJobLifecycleEvents"
	DigitalTwinChangeEvents     Source = "DigitalTwinChangeEvents"
)

// Sources lists every source.
func Sources() []Source {
	return []Source{DeviceMessages, TwinChangeEvents, DeviceLifecycleEvents, DeviceConnectionStateEvents, DeviceJobLifecycleEvents, DigitalTwinChangeEvents}
}

// BuiltIn is the endpoint every hub has.
const BuiltIn = "events"

// Limits of one hub.
const (
	MaxRoutes      = 100
	MaxEndpoints   = 32
	MaxEnrichments = 32
	MaxValue       = 1024 // bytes of an enrichment's value
)

// Route sends messages of one source for which a condition holds to endpoints.
type Route struct {
	Name      string   `json:"name"`
	Source    Source   `json:"source"`
	Condition string   `json:"condition"` // empty or "true" for all
	Endpoints []string `json:"endpointNames"`
	Enabled   bool     `json:"isEnabled"`
}

// Enrichment adds an application property to messages which go to some endpoints. The value stands for itself, or for what it names:
// $iothubname (or $hubname) the hub's name, $twin.path a value in the twin of whoever sent the message; where the twin has none, the
// value stands for itself again (IoT Hub: message enrichments).
type Enrichment struct {
	Key       string   `json:"key"`
	Value     string   `json:"value"`
	Endpoints []string `json:"endpointNames"`
}

// Config is what a table is made of.
type Config struct {
	HubName     string
	Endpoints   []string // without the built-in one
	Routes      []Route
	Enrichments []Enrichment
	NoFallback  bool // messages of devices which no route took are dropped
}

// Table is routes and enrichments, compiled.
type Table struct {
	endpoints []string // the built-in one first
	routes    map[Source][]compiled
	added     [][]addition // by endpoint
	fallback  bool
	twin      bool // something asks for twins
	pool      sync.Pool
}

type compiled struct {
	name      string
	endpoints []int
	always    bool
	condition query.Condition
}

type addition struct {
	key, value string
	twin       []string // path; nil when value is all
}

// Compile checks routes and enrichments and makes the table of those that are enabled. Invalid when one of them is wrong, whether it is
// enabled or not, in words that name it.
func Compile(c Config) (*Table, error) {
	op := "route.Compile"
	t := &Table{endpoints: append([]string{BuiltIn}, c.Endpoints...), routes: map[Source][]compiled{}, fallback: !c.NoFallback}
	switch {
	case len(c.Routes) > MaxRoutes:
		return nil, fault.Newf(op, fault.Exhausted, "a hub has at most %d routes", MaxRoutes).Advise("join conditions with OR, or delete a route")
	case len(c.Endpoints) > MaxEndpoints:
		return nil, fault.Newf(op, fault.Exhausted, "a hub has at most %d endpoints beside the built-in one", MaxEndpoints).Advise("delete one that no route leads to")
	case len(c.Enrichments) > MaxEnrichments:
		return nil, fault.Newf(op, fault.Exhausted, "a hub has at most %d enrichments", MaxEnrichments).Advise("delete one")
	}
	for i, name := range t.endpoints {
		if i > 0 {
			if err := CheckName("endpoint", name); err != nil {
				return nil, err
			}
		}
		if slices.Index(t.endpoints, name) != i {
			return nil, fault.Newf(op, fault.Invalid, "two endpoints are named %q", name).Advise("each needs a name of its own")
		}
	}
	t.added = make([][]addition, len(t.endpoints))
	for i, r := range c.Routes {
		if slices.ContainsFunc(c.Routes[:i], func(o Route) bool { return o.Name == r.Name }) {
			return nil, fault.Newf(op, fault.Invalid, "two routes are named %q", r.Name).Advise("each needs a name of its own")
		}
		one, err := t.route(r)
		if err != nil {
			return nil, err
		}
		if r.Enabled {
			t.routes[r.Source] = append(t.routes[r.Source], one)
			t.twin = t.twin || mentions(one.condition.Expr(), "$twin")
		}
	}
	for i, e := range c.Enrichments {
		if slices.ContainsFunc(c.Enrichments[:i], func(o Enrichment) bool { return o.Key == e.Key }) {
			return nil, fault.Newf(op, fault.Invalid, "two enrichments have the key %q", e.Key).Advise("each needs a key of its own; one enrichment can be for several endpoints")
		}
		if err := t.enrich(e, c.HubName); err != nil {
			return nil, err
		}
	}
	t.pool.New = func() any { return &reader{} }
	return t, nil
}

func (t *Table) route(r Route) (compiled, error) {
	op := "route.Compile"
	if err := CheckName("route", r.Name); err != nil {
		return compiled{}, err
	}
	if !slices.Contains(Sources(), r.Source) {
		return compiled{}, fault.Newf(op, fault.Invalid, "route %s has the source %.40q", r.Name, r.Source).Advise("sources are %s", sourceList())
	}
	if len(r.Endpoints) == 0 {
		return compiled{}, fault.Newf(op, fault.Invalid, "route %s leads to no endpoint", r.Name).Advise("the built-in one is named %s", BuiltIn)
	}
	out := compiled{name: r.Name}
	for _, name := range r.Endpoints {
		i := slices.Index(t.endpoints, name)
		if i < 0 {
			return compiled{}, fault.Newf(op, fault.Invalid, "route %s leads to %.64q, which is no endpoint of the hub", r.Name, name).
				Advise("make the endpoint first; there are %s", strings.Join(t.endpoints, ", "))
		}
		out.endpoints = append(out.endpoints, i)
	}
	if s := strings.TrimSpace(r.Condition); s == "" || strings.EqualFold(s, "true") {
		out.always = true
		return out, nil
	}
	var err error
	if out.condition, err = query.ParseCondition(r.Condition); err != nil {
		next := fault.Next(err)
		if next == "" {
			next = "a condition reads like level = 'critical' AND $body.temperature > 70"
		}
		return compiled{}, fault.Newf(op, fault.Invalid, "the condition of route %s: %s", r.Name, fault.Message(err)).Because(err).Advise("%s", next)
	}
	return out, nil
}

func (t *Table) enrich(e Enrichment, hub string) error {
	op := "route.Compile"
	if err := CheckName("enrichment", e.Key); err != nil {
		return err
	}
	if e.Value == "" || len(e.Value) > MaxValue {
		return fault.Newf(op, fault.Invalid, "the value of enrichment %s has %d bytes", e.Key, len(e.Value)).Advise("it has 1 to %d", MaxValue)
	}
	if len(e.Endpoints) == 0 {
		return fault.Newf(op, fault.Invalid, "enrichment %s is for no endpoint", e.Key).Advise("the built-in one is named %s", BuiltIn)
	}
	a := addition{key: e.Key, value: e.Value}
	lower := strings.ToLower(e.Value)
	switch {
	case lower == "$iothubname", lower == "$hubname":
		a.value = hub
	case strings.HasPrefix(lower, "$twin."):
		condition, err := query.ParseCondition(e.Value + " = 1") // so that paths are written in one way everywhere
		if err == nil {
			if c, ok := condition.Expr().(query.Compare); ok {
				if p, ok := c.Left.(query.Path); ok && len(p.Rest) == 0 && len(p.Keys) > 1 {
					a.twin, t.twin = p.Keys[1:], true
				}
			}
		}
		if a.twin == nil {
			return fault.Newf(op, fault.Invalid, "the value of enrichment %s is no path into a twin", e.Key).Advise("write $twin.tags.x, $twin.properties.desired.x or $twin.properties.reported.x")
		}
	}
	for _, name := range e.Endpoints {
		i := slices.Index(t.endpoints, name)
		if i < 0 {
			return fault.Newf(op, fault.Invalid, "enrichment %s is for %.64q, which is no endpoint of the hub", e.Key, name).
				Advise("there are %s", strings.Join(t.endpoints, ", "))
		}
		t.added[i] = append(t.added[i], a)
	}
	return nil
}

// CheckName refuses a name of a route, an endpoint or an enrichment that has other characters than letters, digits and . _ - (IoT Hub:
// message routing, endpoint names), or that means something already.
func CheckName(noun, name string) error {
	op := "route.CheckName"
	if name == "" || len(name) > 64 {
		return fault.Newf(op, fault.Invalid, "the name of %s %.64q has %d bytes", article(noun), name, len(name)).Advise("it has 1 to 64")
	}
	for i := range len(name) {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._-", c) >= 0 {
			continue
		}
		return fault.Newf(op, fault.Invalid, "the name of %s %.64q holds %q", noun, name, c).Advise("use letters, digits and . _ -")
	}
	if noun == "endpoint" && slices.Contains([]string{"events", "operationsmonitoringevents", "filenotifications", "deadletter"}, strings.ToLower(name)) {
		return fault.Newf(op, fault.Invalid, "the name %q is taken by the hub itself", name).Advise("choose another one")
	}
	return nil
}

func article(noun string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}

func sourceList() string {
	var b strings.Builder
	for i, s := range Sources() {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(s))
	}
	return b.String()
}

// mentions tells whether a path of the tree begins with a key.
func mentions(x query.Expr, key string) (yes bool) {
	each(x, func(k string) { yes = yes || strings.EqualFold(k, key) })
	return yes
}

// each calls f with the first key of every path in the tree.
func each(x query.Expr, f func(key string)) {
	all := func(list []query.Expr) {
		for _, x := range list {
			each(x, f)
		}
	}
	switch x := x.(type) {
	case query.Path:
		if len(x.Keys) > 0 {
			f(x.Keys[0])
		}
	case query.Not:
		each(x.X, f)
	case query.And:
		all(x.Parts)
	case query.Or:
		all(x.Parts)
	case query.Compare:
		each(x.Left, f)
		each(x.Right, f)
	case query.In:
		each(x.X, f)
	case query.Arithmetic:
		each(x.Left, f)
		each(x.Right, f)
	case query.Negative:
		each(x.X, f)
	case query.Call:
		all(x.Args)
	}
}

// textOf writes a value from a twin as a property: strings as they are, all else as JSON.
func textOf(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, _ := json.Marshal(v) // it came from JSON
	return string(b)
}
