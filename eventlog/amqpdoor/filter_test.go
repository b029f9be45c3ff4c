package amqpdoor

import (
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

func TestPositions(t *testing.T) {
	const annotation = "amqp.annotation."
	for text, want := range map[string]position{
		annotation + "x-opt-offset > '-1'":                    {by: byOffset, value: -1, text: "-1"},
		annotation + "x-opt-offset > '@latest'":               {by: byOffset, latest: true, text: "@latest"},
		annotation + "x-opt-offset >= '@latest'":              {by: byOffset, latest: true, inclusive: true, text: "@latest"},
		annotation + "x-opt-offset >= '4711'":                 {by: byOffset, value: 4711, inclusive: true, text: "4711"},
		annotation + "x-opt-sequence-number > '17'":           {by: bySequence, value: 17, text: "17"},
		annotation + "x-opt-sequence-number >= '0'":           {by: bySequence, inclusive: true, text: "0"},
		annotation + "x-opt-enqueued-time > '1763800000000'":  {by: byTime, value: 1763800000000, text: "1763800000000"},
		annotation + "x-opt-enqueued-time >= '1763800000000'": {by: byTime, value: 1763800000000, inclusive: true, text: "1763800000000"},
		" AMQP.Annotation.X-Opt-Offset>'5' ":                  {by: byOffset, value: 5, text: "5"},
		annotation + "x-opt-offset > 5":                       {by: byOffset, value: 5, text: "5"},
	} {
		if got, err := parsePosition(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "x", annotation, annotation + "x-opt-offset", annotation + "x-opt-offset < '5'", annotation + "x-opt-offset > ''", annotation + "x-opt-offset > '1:2:3'",
		annotation + "x-opt-offset > '5' AND x = 1", annotation + "x-opt-nothing > '5'", annotation + "x-opt-enqueued-time > '@latest'", annotation + "x-opt-sequence-number > '-2'",
		annotation + "x-opt-offset > '99999999999999999999'", annotation + "x-opt-offset => '5'",
	} {
		if got, err := parsePosition(text); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestFilters(t *testing.T) {
	selector := func(descriptor, value any) amqp.Pair {
		return amqp.Pair{Key: amqp.Symbol(filterName), Value: amqp.Described{Descriptor: descriptor, Value: value}}
	}
	offset5 := "amqp.annotation.x-opt-offset > '5'"
	other := amqp.Pair{Key: amqp.Symbol("other"), Value: amqp.Described{Descriptor: uint64(1), Value: "x"}}
	for name, c := range map[string]struct {
		filter amqp.Map
		kept   int
		bad    bool
	}{
		"none":         {},
		"by number":    {filter: amqp.Map{selector(uint64(filterCode), offset5)}, kept: 1},
		"by symbol":    {filter: amqp.Map{selector(amqp.Symbol(filterName), offset5)}, kept: 1},
		"another":      {filter: amqp.Map{other}},
		"both":         {filter: amqp.Map{other, selector(uint64(filterCode), offset5)}, kept: 1},
		"no text":      {filter: amqp.Map{selector(uint64(filterCode), int64(5))}, bad: true},
		"twice":        {filter: amqp.Map{selector(uint64(filterCode), offset5), selector(uint64(filterCode), offset5)}, bad: true},
		"undescribed":  {filter: amqp.Map{{Key: amqp.Symbol(filterName), Value: offset5}}},
		"no such word": {filter: amqp.Map{selector(uint64(filterCode), "where x")}, bad: true},
	} {
		p, kept, err := positionOf(&amqp.Source{Filter: c.filter})
		if (err != nil) != c.bad || len(kept) != c.kept || c.kept > 0 && p.value != 5 {
			t.Errorf("%s: %+v, %v, %v", name, p, kept, err)
		}
	}
	if p, _, err := positionOf(nil); err != nil || p.by != byBeginning {
		t.Errorf("%+v, %v", p, err)
	}
}

func FuzzFilters(f *testing.F) {
	f.Add("amqp.annotation.x-opt-offset > '-1'")
	f.Add("amqp.annotation.x-opt-enqueued-time >= '17'")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePosition(text)
		if err != nil {
			return
		}
		if p.by == byBeginning || p.by != byTime && p.value < -1 {
			t.Errorf("%q: %+v", text, p)
		}
	})
}
