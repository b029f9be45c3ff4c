package resource

import "github.com/isthmus-io/isthmus/fault"

// WindowKind is how time is cut.
type WindowKind string

const (
	WindowTumbling WindowKind = "tumbling" // one after another, aligned to the epoch; also the meaning of an absent value
	WindowHopping  WindowKind = "hopping"  // overlapping: every hop one of the size
	WindowSession  WindowKind = "session"  // of each group: as long as no gap is longer
)

// Window aggregates over windows of the events' own time. A window is closed, and its rows are sent, once the watermark has passed its end:
// the least, over the partitions of the source, of the latest time seen there less the lateness. What the rows are does not depend on when
// anything ran, but for partitions that are idle; a row that was closed stays as it was, so a bridge that was killed sends the same rows again.
type Window struct {
	Kind            WindowKind `json:"kind,omitempty" enum:"tumbling,hopping,session" doc:"tumbling when absent"`
	SizeSeconds     int        `json:"sizeSeconds,omitempty" minimum:"0" maximum:"2678400" doc:"of tumbling and hopping windows; of a session, the longest it may be (a day when absent)" example:"60"`
	HopSeconds      int        `json:"hopSeconds,omitempty" minimum:"0" doc:"of hopping windows: divides the size"`
	GapSeconds      int        `json:"gapSeconds,omitempty" minimum:"0" doc:"of sessions"`
	Time            string     `json:"time,omitempty" doc:"Bloblang: the event's own time, as RFC 3339 text or seconds of the epoch; when it came in when absent" example:"this.measuredAt"`
	LatenessSeconds int        `json:"latenessSeconds,omitempty" minimum:"0" maximum:"604800" doc:"how far events may be out of order; 0 when absent"`
	AheadSeconds    int        `json:"aheadSeconds,omitempty" minimum:"0" maximum:"604800" doc:"how far an event's time may be after its coming in; further ahead it is dead-lettered, so that one wrong clock closes nobody's windows; 300 when absent"`
	Late            OnError    `json:"late,omitempty" enum:"DeadLetter,Drop" doc:"what becomes of later ones; Drop (counted) when absent"`
	IdleSeconds     int        `json:"idleSeconds,omitempty" minimum:"0" doc:"a partition that has been read to its end for so long no longer holds windows open; 60 when absent"`
	MaxGroups       int        `json:"maxGroups,omitempty" minimum:"0" maximum:"10000000" doc:"open windows times groups; beyond, the bridge waits and says so; 1000000 when absent"`

	Where      string      `json:"where,omitempty" doc:"Bloblang: events for which this is false are not counted"`
	Join       []TableJoin `json:"join,omitempty" doc:"rows of reference tables, which the expressions below then find as this.NAME"`
	GroupBy    []Column    `json:"groupBy,omitempty" doc:"one row for each combination; one for the whole window when absent"`
	Aggregates []Aggregate `json:"aggregates" doc:"what each row has beside windowStart, windowEnd and the groups"`
}

// LateDrop counts late events and leaves them out.
const LateDrop OnError = "Drop"

// TableJoin finds a row of a reference table for each event.
type TableJoin struct {
	Table    string `json:"table" doc:"its name"`
	On       string `json:"on" doc:"Bloblang: the key to look for" example:"@device"`
	Required bool   `json:"required,omitempty" doc:"dead-letter events for which there is no row; null stands for it otherwise"`
}

// AggregateFunction is how values become one.
type AggregateFunction string

const (
	AggregateCount         AggregateFunction = "count"
	AggregateCountDistinct AggregateFunction = "countDistinct" // exact
	AggregateSum           AggregateFunction = "sum"
	AggregateAvg           AggregateFunction = "avg"
	AggregateMin           AggregateFunction = "min"
	AggregateMax           AggregateFunction = "max"
	AggregateFirst         AggregateFunction = "first" // by event time, then by position in the source
	AggregateLast          AggregateFunction = "last"
	AggregatePercentile    AggregateFunction = "percentile" // exact: nearest rank
	AggregateStdDev        AggregateFunction = "stddev"     // of the population
)

// AggregateFunctions lists all of them.
func AggregateFunctions() []AggregateFunction {
	return []AggregateFunction{
		AggregateCount, AggregateCountDistinct, AggregateSum, AggregateAvg, AggregateMin, AggregateMax, AggregateFirst, AggregateLast, AggregatePercentile, AggregateStdDev,
	}
}

// Aggregate is one value of a row. Values that are null are left out of all but count without a value.
type Aggregate struct {
	Name       string            `json:"name" doc:"the column it becomes" example:"p95"`
	Function   AggregateFunction `json:"function" enum:"count,countDistinct,sum,avg,min,max,first,last,percentile,stddev" doc:"how the values of a group become one"`
	Value      string            `json:"value,omitempty" doc:"Bloblang; required for all but count" example:"this.temperature"`
	Percentile float64           `json:"percentile,omitempty" minimum:"0" maximum:"100" doc:"of percentile" example:"95"`
}

func (w *Window) validate(op, step string, tables []ReferenceTable) error {
	bad := func(format string, args ...any) *fault.Error {
		return fault.Newf(op, fault.Invalid, "step "+step+": "+format, args...)
	}
	const day = 86_400
	switch w.Kind {
	case "", WindowTumbling:
		if w.SizeSeconds <= 0 || w.HopSeconds != 0 || w.GapSeconds != 0 {
			return bad("a tumbling window has a size and nothing else").Advise("give sizeSeconds")
		}
	case WindowHopping:
		if w.SizeSeconds <= 0 || w.HopSeconds <= 0 || w.SizeSeconds%w.HopSeconds != 0 || w.SizeSeconds/w.HopSeconds > 1000 || w.GapSeconds != 0 {
			return bad("a hopping window of %d s cannot hop by %d s", w.SizeSeconds, w.HopSeconds).Advise("give hopSeconds that divide sizeSeconds, at most a thousand times")
		}
	case WindowSession:
		if w.GapSeconds <= 0 || w.HopSeconds != 0 || w.SizeSeconds != 0 && w.SizeSeconds <= w.GapSeconds {
			return bad("a session has a gap, and a size that is longer, if any").Advise("give gapSeconds")
		}
	default:
		return bad("kind is %.20q", w.Kind).Advise("use tumbling, hopping or session")
	}
	switch {
	case w.SizeSeconds > 31*day:
		return bad("a window of %d seconds is too long", w.SizeSeconds).Advise("keep it to 31 days")
	case w.LatenessSeconds < 0 || w.LatenessSeconds > 7*day || w.AheadSeconds < 0 || w.AheadSeconds > 7*day || w.IdleSeconds < 0 || w.MaxGroups < 0 || w.MaxGroups > 10_000_000:
		return bad("a bound cannot be").Advise("latenessSeconds and aheadSeconds are 0 to 604800, maxGroups 0 to 10000000")
	case w.Late != "" && w.Late != LateDrop && w.Late != ErrorDeadLetter:
		return bad("late is %.20q", w.Late).Advise("use Drop or DeadLetter")
	case len(w.Aggregates) == 0 || len(w.Aggregates) > 100 || len(w.GroupBy) > 20:
		return bad("%d aggregates in %d groups", len(w.Aggregates), len(w.GroupBy)).Advise("give 1 to 100 aggregates and at most 20 groups")
	}
	if err := checkColumns(op, "step "+step+".groupBy", w.GroupBy); err != nil {
		return err
	}
	seen := map[string]bool{"windowStart": true, "windowEnd": true}
	for _, g := range w.GroupBy {
		if seen[g.Name] {
			return bad("%s cannot be a group's name", g.Name).Advise("windowStart and windowEnd are in every row")
		}
		seen[g.Name] = true
	}
	for _, a := range w.Aggregates {
		if !columnName.MatchString(a.Name) || seen[a.Name] {
			return bad("%.60q cannot be an aggregate's name, or is there twice", a.Name).Advise("use letters, digits and _, a letter first")
		}
		seen[a.Name] = true
		known := false
		for _, f := range AggregateFunctions() {
			known = known || f == a.Function
		}
		switch {
		case !known:
			return bad("%s: the function %.20q is not known", a.Name, a.Function)
		case a.Value == "" && a.Function != AggregateCount:
			return bad("%s: %s needs a value", a.Name, a.Function).Advise("write a Bloblang expression in value")
		case a.Function == AggregatePercentile && (a.Percentile <= 0 || a.Percentile > 100):
			return bad("%s: the percentile is %g", a.Name, a.Percentile).Advise("use more than 0 and at most 100")
		}
	}
	for _, j := range w.Join {
		known := false
		for _, t := range tables {
			known = known || t.Name == j.Table
		}
		if !known {
			return bad("joins with %.60q, which spec.references does not have", j.Table)
		}
		if err := checkBloblang(op, "step "+step+".join.on", j.On, true); err != nil {
			return err
		}
	}
	return nil
}
