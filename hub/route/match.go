package route

import (
	"maps"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/query"
)

// Delivery is one endpoint a message goes to, with the application properties it has there: the message's own map when nothing is
// added.
type Delivery struct {
	Endpoint   int // index into Endpoints
	Properties map[string]string
}

// Endpoints returns the names of the hub's endpoints, the built-in one first. Do not change the slice.
func (t *Table) Endpoints() []string { return t.endpoints }

// AsksForTwins tells whether any route that is enabled, or any enrichment, needs twins.
func (t *Table) AsksForTwins() bool { return t.twin }

// Takes tells whether any message of the source can go anywhere.
func (t *Table) Takes(s Source) bool {
	return len(t.routes[s]) > 0 || s == DeviceMessages && t.fallback
}

// Plain tells whether every message of a device goes to the built-in endpoint as it is, and nothing else goes anywhere.
func (t *Table) Plain() bool { return len(t.routes) == 0 && t.fallback && len(t.added[0]) == 0 }

// Match appends the endpoints a message goes to, in the order of their names in Endpoints; none when it is to be dropped.
func (t *Table) Match(m *Message, to []Delivery) []Delivery {
	r := t.reader(m)
	var set uint64
	for i := range t.routes[m.Source] {
		if c := &t.routes[m.Source][i]; c.always || c.condition.Holds(r.get) {
			for _, e := range c.endpoints {
				set |= 1 << e
			}
		}
	}
	if set == 0 && t.fallback && m.Source == DeviceMessages {
		set = 1
	}
	for i := range t.endpoints {
		if set>>i&1 != 0 {
			to = append(to, Delivery{i, t.properties(r, i)})
		}
	}
	t.done(r)
	return to
}

func (t *Table) reader(m *Message) *reader {
	r := t.pool.Get().(*reader) //nolint:forcetypeassert // the pool holds nothing else
	r.reset(m)
	return r
}

func (t *Table) done(r *reader) {
	r.reset(nil)
	t.pool.Put(r)
}

func (t *Table) properties(r *reader, endpoint int) map[string]string {
	added := t.added[endpoint]
	if len(added) == 0 {
		return r.m.Properties
	}
	out := make(map[string]string, len(r.m.Properties)+len(added))
	maps.Copy(out, r.m.Properties)
	for _, a := range added {
		value := a.value
		if a.twin != nil {
			if v, ok := r.fromTwin(a.twin); ok {
				value = textOf(v)
			}
		}
		out[a.key] = value
	}
	return out
}

// Names returns the enabled routes which a message matches, by name as they were given; Match says where that leads.
func (t *Table) Names(m *Message) []string {
	r := t.reader(m)
	defer t.done(r)
	out := []string{}
	for _, c := range t.routes[m.Source] {
		if c.always || c.condition.Holds(r.get) {
			out = append(out, c.name)
		}
	}
	return out
}

// Outcome is what one route says to a message.
type Outcome struct {
	Route   string
	Matches bool
	Why     string // in words, when it does not match
}

// Try asks one route, enabled or not, about a message. Invalid when the route is wrong; endpoints are not looked at.
func Try(r Route, m *Message) (Outcome, error) {
	r.Endpoints = []string{BuiltIn}
	t := &Table{endpoints: []string{BuiltIn}}
	c, err := t.route(r)
	if err != nil {
		return Outcome{}, err
	}
	out := Outcome{Route: r.Name}
	if m.Source != r.Source {
		out.Why = "the message's source is " + string(m.Source) + ", the route's " + string(r.Source)
		return out, nil
	}
	in := &reader{}
	in.reset(m)
	if out.Matches = c.always || c.condition.Holds(in.get); !out.Matches {
		out.Why = why(c.condition, m, in)
	}
	return out, nil
}

// ByIdentity tells whether a route's condition is about who sends and its twin only, so that it says the same to all its messages.
func ByIdentity(r Route) (bool, error) {
	r.Endpoints = []string{BuiltIn}
	t := &Table{endpoints: []string{BuiltIn}}
	c, err := t.route(r)
	if err != nil || c.always {
		return c.always, err
	}
	about := true
	each(c.condition.Expr(), func(key string) {
		switch strings.ToLower(key) {
		case "$twin", "$connectiondeviceid", "$connectionmoduleid":
		default:
			about = false
		}
	})
	return about, nil
}

// why looks for the usual reasons for which a condition does not hold that looks as if it should.
func why(c query.Condition, m *Message, in *reader) string {
	x := c.Expr()
	if mentions(x, "$body") {
		if _, no := m.text(); no != "" {
			return "the condition asks for the body, which cannot be read: " + no
		}
		if _, ok := m.json(); !ok {
			return "the condition asks for the body, which is no JSON"
		}
	}
	if mentions(x, "$twin") {
		if _, ok := in.fromTwin(nil); !ok {
			return "the condition asks for the twin, and there is none"
		}
	}
	return "the condition does not hold"
}

// CheckSource refuses what is no source.
func CheckSource(s Source) error {
	if slices.Contains(Sources(), s) {
		return nil
	}
	return fault.Newf("route.CheckSource", fault.Invalid, "%.40q is no source of messages", s).Advise("sources are %s", sourceList())
}
