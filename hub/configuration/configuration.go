package configuration

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/query"
	"github.com/isthmus-io/isthmus/hub/twin"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

const (
	maxID      = 128
	maxContent = 128 << 10
	maxLabels  = 20
	maxMetrics = 20
	desired    = "properties.desired"
)

// Content is what a configuration writes: exactly one of the three. The keys of sections are paths, "properties.desired" or one below it.
type Content struct {
	Device  map[string]json.RawMessage            `json:"deviceContent,omitempty"`
	Module  map[string]json.RawMessage            `json:"moduleContent,omitempty"`
	Modules map[string]map[string]json.RawMessage `json:"modulesContent,omitempty"` // by module id: an edge deployment
}

// Results are counts by the name of a metric.
type Results map[string]int

// Configuration is a configuration as people see it.
type Configuration struct {
	ID            string
	ETag          string
	Labels        map[string]string
	Content       Content
	Target        string // a condition; * for all; for modules "FROM devices.modules WHERE .."
	Priority      int64
	Metrics       map[string]string // queries by name
	Results       Results           // of Metrics
	System        Results           // targetedCount, appliedCount, and of deployments what the runtime reported
	SystemQueries map[string]string
	Created       time.Time
	Updated       time.Time
}

// results is what the store keeps of the last counts.
type results struct {
	System  Results `json:"system"`
	Metrics Results `json:"metrics"`
}

// kind is what a content is for.
type kind uint8

const (
	forDevices kind = iota
	forModules
	forEdge
)

func (c Content) kind() kind {
	switch {
	case c.Modules != nil:
		return forEdge
	case c.Module != nil:
		return forModules
	}
	return forDevices
}

// check refuses a configuration that could not be carried out.
func (c *Configuration) check() error {
	op := "configuration.Create"
	bad := func(format string, args ...any) *fault.Error { return fault.Newf(op, fault.Invalid, format, args...) }
	if c.ID == "" || len(c.ID) > maxID || strings.ContainsFunc(c.ID, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-+%_*!'", r)
	}) {
		return bad("the id %.200q of the configuration is empty, longer than %d characters, or holds something that may not be in it", c.ID, maxID).
			Advise("use lower-case letters, digits and - + %% _ * ! '")
	}
	if len(c.Labels) > maxLabels || len(c.Metrics) > maxMetrics {
		return bad("configuration %q has %d labels and %d metrics", c.ID, len(c.Labels), len(c.Metrics)).Advise("at most %d of each", maxLabels)
	}
	if err := c.Content.check(); err != nil {
		return err
	}
	if _, err := c.condition(); err != nil {
		return err
	}
	for name, text := range c.Metrics {
		if _, err := query.Parse(text); err != nil {
			return bad("metric %.100q: %s", name, fault.Message(err)).Because(err)
		}
	}
	return nil
}

func (c Content) check() error {
	op := "configuration.Content"
	n := 0
	for _, there := range []bool{c.Device != nil, c.Module != nil, c.Modules != nil} {
		if there {
			n++
		}
	}
	if n != 1 {
		return fault.Newf(op, fault.Invalid, "the content has %d of deviceContent, moduleContent and modulesContent", n).Advise("give exactly one of them")
	}
	all := []map[string]json.RawMessage{c.Device, c.Module}
	for id, m := range c.Modules {
		if id == "" || len(id) > maxID {
			return fault.Newf(op, fault.Invalid, "modulesContent names the module %.200q", id)
		}
		all = append(all, m)
	}
	size := 0
	for _, sections := range all {
		for path, value := range sections {
			if path != desired && !strings.HasPrefix(path, desired+".") {
				return fault.Newf(op, fault.Invalid, "the content writes to %.200q", path).Advise("a configuration writes to properties.desired or to a path below it")
			}
			if slices.Contains(strings.Split(path, "."), "") {
				return fault.Newf(op, fault.Invalid, "the path %.200q has an empty part", path)
			}
			if strings.Count(path, ".") > twin.MaxDepth+1 { // each part costs a level of the stack, for every device
				return fault.Newf(op, fault.Invalid, "the path %.200q leads deeper than a twin", path)
			}
			if size += len(path) + len(value); size > maxContent {
				return fault.Newf(op, fault.TooLarge, "the content has more than %d bytes", maxContent)
			}
		}
	}
	return nil
}

// layered tells whether a deployment only adds to another one: it writes below properties.desired and never all of it.
func (c Content) layered() bool {
	_, whole := c.Modules[hub.EdgeAgent][desired]
	return !whole
}

// condition is the part of the target that a query's WHERE takes.
func (c *Configuration) condition() (string, error) {
	text := strings.TrimSpace(c.Target)
	if rest, ok := cutFold(text, "from devices.modules"); ok && c.Content.kind() == forModules {
		if text, ok = cutFold(strings.TrimSpace(rest), "where"); !ok {
			text = rest
		}
		text = strings.TrimSpace(text)
	}
	if text == "" && c.Content.kind() != forModules {
		return "", nil // targets nobody (IoT Hub: an empty target condition)
	}
	if text == "*" || text == "" {
		return "*", nil
	}
	if _, err := query.ParseCondition(text); err != nil {
		return "", fault.Newf("configuration.Create", fault.Invalid, "the target condition cannot be read: %s", fault.Message(err)).Because(err)
	}
	return text, nil
}

func cutFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return s, false
}

func (c *Configuration) record(hubID string) (hubstore.Configuration, error) {
	r := hubstore.Configuration{
		Hub: hubID, ID: c.ID, ETag: c.ETag, Target: c.Target, Priority: c.Priority, Created: c.Created, Updated: c.Updated, Results: "{}",
	}
	for _, column := range []struct {
		into *string
		from any
	}{{&r.Labels, orEmpty(c.Labels)}, {&r.Content, c.Content}, {&r.Metrics, orEmpty(c.Metrics)}} {
		b, err := json.Marshal(column.from)
		if err != nil {
			return r, fault.Wrap("configuration.record", fault.Invalid, err, "the content is not JSON")
		}
		*column.into = string(b)
	}
	return r, nil
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func fromRecord(r hubstore.Configuration) (Configuration, error) {
	c := Configuration{ID: r.ID, ETag: r.ETag, Target: r.Target, Priority: r.Priority, Created: r.Created, Updated: r.Updated}
	var counted results
	for _, column := range []struct {
		from string
		into any
	}{{r.Labels, &c.Labels}, {r.Content, &c.Content}, {r.Metrics, &c.Metrics}, {r.Results, &counted}} {
		if err := json.Unmarshal([]byte(column.from), column.into); err != nil {
			return c, fault.Wrap("configuration.read", fault.Internal, err, "")
		}
	}
	c.Results, c.System = counted.Metrics, counted.System
	if c.Results == nil {
		c.Results = Results{}
	}
	if c.System == nil {
		c.System = Results{}
	}
	c.SystemQueries = c.systemQueries()
	return c, nil
}

// The names of the system metrics.
const (
	targeted = "targetedCount"
	applied  = "appliedCount"
	succeeds = "reportedSuccessfulCount"
	fails    = "reportedFailedCount"
)

// systemQueries are what a person would ask to get the counts.
func (c *Configuration) systemQueries() map[string]string {
	condition, err := c.condition()
	if err != nil || condition == "" || condition == "*" {
		condition = "deviceId != ''"
	}
	from, of := "SELECT deviceId FROM devices WHERE ", ""
	switch c.Content.kind() {
	case forModules:
		from = "SELECT deviceId, moduleId FROM devices.modules WHERE "
	case forEdge:
		of = "capabilities.iotEdge = true AND "
	case forDevices:
	}
	out := map[string]string{
		targeted: from + of + "(" + condition + ")",
		applied:  from + of + "configurations.[[" + c.ID + "]].status = 'Applied'",
	}
	if c.Content.kind() == forEdge {
		const report = "SELECT deviceId FROM devices.modules WHERE moduleId = '$edgeAgent' AND properties.reported.lastDesiredStatus.code "
		out[succeeds], out[fails] = report+"= 200", report+"!= 200"
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
