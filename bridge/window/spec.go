package window

import (
	"crypto/sha256"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/bridge/column"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// Defaults of resource.Window.
const (
	defaultAhead      = 300 * time.Second
	defaultIdle       = 60 * time.Second
	defaultMaxGroups  = 1_000_000
	defaultMaxSession = 24 * time.Hour
)

// spec is a compiled resource.Window. It is immutable.
type spec struct {
	kind            resource.WindowKind
	size, hop, gap  int64 // nanoseconds
	lateness, ahead int64
	idle            time.Duration
	refuseLate      bool
	maxGroups       int
	set             column.Set
	time, where     column.Expression // -1: none
	joins           []join
	groups          []typed
	aggregates      []aggregate
	groupHead       [][]byte // ,"NAME":
	aggregateHead   [][]byte
	fingerprint     [32]byte
}

type join struct {
	table    string
	on       column.Expression
	required bool
}

type typed struct {
	name  string
	value column.Expression
	as    resource.ColumnType
}

type aggregate struct {
	name    string
	value   column.Expression // -1: counts events
	numeric bool
	make    func() accumulator
}

func compile(step string, w *resource.Window) (*spec, error) {
	second := int64(time.Second)
	s := &spec{
		kind: w.Kind, size: int64(w.SizeSeconds) * second, hop: int64(w.HopSeconds) * second, gap: int64(w.GapSeconds) * second,
		lateness: int64(w.LatenessSeconds) * second, ahead: int64(w.AheadSeconds) * second, idle: time.Duration(w.IdleSeconds) * time.Second,
		refuseLate: w.Late == resource.ErrorDeadLetter, maxGroups: w.MaxGroups, time: -1, where: -1,
	}
	if s.kind == "" {
		s.kind = resource.WindowTumbling
	}
	if s.kind != resource.WindowHopping {
		s.hop = s.size
	}
	if s.kind == resource.WindowSession && s.size == 0 {
		s.size = int64(defaultMaxSession)
	}
	if s.ahead == 0 {
		s.ahead = int64(defaultAhead)
	}
	if s.idle == 0 {
		s.idle = defaultIdle
	}
	if s.maxGroups == 0 {
		s.maxGroups = defaultMaxGroups
	}
	bad := func(field string, err error) error {
		return fault.Newf("window.New", fault.Invalid, "step %s: %s: %s", step, field, fault.Message(err)).Because(err).Advise("%s", fault.Next(err))
	}
	var err error
	if w.Time != "" {
		if s.time, err = s.set.Add(w.Time); err != nil {
			return nil, bad("time", err)
		}
	}
	if w.Where != "" {
		if s.where, err = s.set.Add(w.Where); err != nil {
			return nil, bad("where", err)
		}
	}
	var added []string
	for _, j := range w.Join {
		on, err := s.set.Add(j.On, added...)
		if err != nil {
			return nil, bad("join", err)
		}
		s.joins = append(s.joins, join{j.Table, on, j.Required})
		added = append(added, j.Table)
	}
	for _, g := range w.GroupBy {
		x, err := s.set.AddColumn(g, added...)
		if err != nil {
			return nil, bad("groupBy", err)
		}
		s.groups = append(s.groups, typed{g.Name, x, g.Type})
		s.groupHead = append(s.groupHead, head(g.Name))
	}
	for i := range w.Aggregates {
		a := &w.Aggregates[i]
		out := aggregate{name: a.Name, value: -1, numeric: numeric(a.Function), make: maker(a)}
		if strings.TrimSpace(a.Value) != "" {
			if out.value, err = s.set.Add(a.Value, added...); err != nil {
				return nil, bad("aggregates", err)
			}
		}
		s.aggregates = append(s.aggregates, out)
		s.aggregateHead = append(s.aggregateHead, head(a.Name))
	}
	text, err := json.Marshal(w)
	if err != nil {
		return nil, fault.Wrap("window.New", fault.Invalid, err, "the window cannot be written down")
	}
	s.fingerprint = sha256.Sum256(text)
	return s, nil
}

func head(name string) []byte { return []byte("," + strconv.Quote(name) + ":") }

// fresh makes the accumulators of a new group.
func (s *spec) fresh() []accumulator {
	out := make([]accumulator, len(s.aggregates))
	for i := range out {
		out[i] = s.aggregates[i].make()
	}
	return out
}

// Columns returns what the rows of a window have, windowStart and windowEnd first, then groups, then aggregates. min and max are
// numbers there, first and last texts: a destination that wants others names its own columns.
func Columns(w *resource.Window) []resource.Column {
	out := []resource.Column{{Name: "windowStart", Type: resource.ColumnTime}, {Name: "windowEnd", Type: resource.ColumnTime}}
	for _, g := range w.GroupBy {
		out = append(out, resource.Column{Name: g.Name, Type: g.Type})
	}
	for _, a := range w.Aggregates {
		t := resource.ColumnNumber
		switch a.Function {
		case resource.AggregateCount, resource.AggregateCountDistinct:
			t = resource.ColumnInteger
		case resource.AggregateFirst, resource.AggregateLast:
			t = resource.ColumnText
		}
		out = append(out, resource.Column{Name: a.Name, Type: t})
	}
	return out
}
