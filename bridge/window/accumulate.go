package window

import (
	"math/big"

	"github.com/isthmus-io/isthmus/bridge/column"
	"github.com/isthmus-io/isthmus/resource"
)

// position is where an event stands: by its time, then by its place in the source.
type position struct {
	time     int64
	lane     string
	sequence int64
	index    int
}

func (p position) before(o position) bool {
	switch {
	case p.time != o.time:
		return p.time < o.time
	case p.lane != o.lane:
		return len(p.lane) < len(o.lane) || len(p.lane) == len(o.lane) && p.lane < o.lane // 2 before 10
	case p.sequence != o.sequence:
		return p.sequence < o.sequence
	}
	return p.index < o.index
}

// accumulator is one aggregate of one group. What it gives does not depend on the order in which values were added and others merged.
type accumulator interface {
	// add takes a value that is not null, and says how many more bytes it keeps beside itself.
	add(v column.Value, at position) (kept int)
	// merge takes in what an accumulator of the same aggregate has, which stays as it is.
	merge(o accumulator)
	result() column.Value
	kept() int
	append(b []byte) []byte
	read(r *reader)
}

// maker returns what makes accumulators of an aggregate.
func maker(a *resource.Aggregate) func() accumulator {
	switch a.Function {
	case resource.AggregateCountDistinct:
		return func() accumulator { return &distinct{seen: map[string]struct{}{}} }
	case resource.AggregateSum:
		return func() accumulator { return new(total) }
	case resource.AggregateAvg:
		return func() accumulator { return new(mean) }
	case resource.AggregateMin:
		return func() accumulator { return &extreme{want: -1} }
	case resource.AggregateMax:
		return func() accumulator { return &extreme{want: 1} }
	case resource.AggregateFirst:
		return func() accumulator { return new(pick) }
	case resource.AggregateLast:
		return func() accumulator { return &pick{last: true} }
	case resource.AggregatePercentile:
		rank := nearestRank(a.Percentile)
		return func() accumulator { return &ranks{rank: rank} }
	case resource.AggregateStdDev:
		return func() accumulator { return new(spread) }
	}
	return func() accumulator { return new(counter) }
}

// numeric tells which functions take numbers only.
func numeric(f resource.AggregateFunction) bool {
	switch f {
	case resource.AggregateSum, resource.AggregateAvg, resource.AggregatePercentile, resource.AggregateStdDev:
		return true
	}
	return false
}

type counter struct{ n int64 }

func (c *counter) add(column.Value, position) int { c.n++; return 0 }
func (c *counter) merge(o accumulator)            { c.n += o.(*counter).n }
func (c *counter) result() column.Value           { return column.Integer(c.n) }
func (c *counter) kept() int                      { return 0 }

// total is null when there was no value.
type total struct {
	sum  exact
	some bool
}

func (t *total) add(v column.Value, _ position) int {
	t.some = true
	t.sum.addValue(v)
	return 0
}

func (t *total) merge(o accumulator) {
	t.sum.merge(&o.(*total).sum)
	t.some = t.some || o.(*total).some
}
func (t *total) kept() int { return 0 }

func (t *total) result() column.Value {
	if !t.some {
		return column.Value{}
	}
	return t.sum.value()
}

type mean struct {
	sum exact
	n   int64
}

func (m *mean) add(v column.Value, _ position) int {
	m.n++
	m.sum.addValue(v)
	return 0
}

func (m *mean) merge(o accumulator) {
	m.sum.merge(&o.(*mean).sum)
	m.n += o.(*mean).n
}
func (m *mean) kept() int { return 0 }

func (m *mean) result() column.Value {
	if m.n == 0 {
		return column.Value{}
	}
	if !m.sum.used {
		return column.Integer(0)
	}
	r := m.sum.rat()
	near, _ := r.Quo(r, new(big.Rat).SetInt64(m.n)).Float64()
	return finite(near)
}

// spread is the standard deviation of the population, from exact sums: the square root of n times the sum of squares less the square of the
// sum, over n.
type spread struct {
	sum, squares exact
	n            int64
}

func (s *spread) add(v column.Value, _ position) int {
	s.n++
	s.sum.addValue(v)
	s.squares.addSquare(v)
	return 0
}

func (s *spread) merge(o accumulator) {
	s.sum.merge(&o.(*spread).sum)
	s.squares.merge(&o.(*spread).squares)
	s.n += o.(*spread).n
}
func (s *spread) kept() int { return 0 }

// rootPrecision is of the square root, in bits; the result has 53.
const rootPrecision = 256

func (s *spread) result() column.Value {
	if s.n == 0 {
		return column.Value{}
	}
	if !s.sum.used && !s.squares.used {
		return column.Integer(0)
	}
	n := new(big.Rat).SetInt64(s.n)
	sum := s.sum.rat()
	v := new(big.Rat).Mul(n, s.squares.rat())
	v.Sub(v, sum.Mul(sum, sum))
	v.Quo(v, n.Mul(n, n))
	f := new(big.Float).SetPrec(rootPrecision).SetRat(v)
	near, _ := f.Sqrt(f).Float64()
	return finite(near)
}

// extreme is the least or greatest value, in the order of column.Compare.
type extreme struct {
	want int
	some bool
	v    column.Value
}

func (x *extreme) add(v column.Value, _ position) int {
	if x.some && column.Compare(v, x.v) != x.want {
		return 0
	}
	grown := len(v.Text) - len(x.v.Text)
	x.some, x.v = true, v
	return grown
}

func (x *extreme) merge(o accumulator) {
	if other := o.(*extreme); other.some {
		x.add(other.v, position{})
	}
}
func (x *extreme) result() column.Value { return x.v }
func (x *extreme) kept() int            { return len(x.v.Text) }

// pick is the first or last value.
type pick struct {
	last, some bool
	at         position
	v          column.Value
}

func (p *pick) add(v column.Value, at position) int {
	if p.some && at.before(p.at) == p.last {
		return 0
	}
	grown := len(v.Text) - len(p.v.Text)
	p.some, p.at, p.v = true, at, v
	return grown
}

func (p *pick) merge(o accumulator) {
	if other := o.(*pick); other.some {
		p.add(other.v, other.at)
	}
}
func (p *pick) result() column.Value { return p.v }
func (p *pick) kept() int            { return len(p.v.Text) }

type distinct struct {
	seen  map[string]struct{}
	bytes int
}

// distinctCost is about what a value costs beside its bytes.
const distinctCost = 48

func (d *distinct) add(v column.Value, _ position) int {
	var buffer [64]byte
	key := v.AppendKey(buffer[:0])
	if _, there := d.seen[string(key)]; there {
		return 0
	}
	return d.put(string(key))
}

func (d *distinct) put(key string) int {
	before := len(d.seen)
	if d.seen[key] = struct{}{}; len(d.seen) == before {
		return 0
	}
	d.bytes += len(key) + distinctCost
	return len(key) + distinctCost
}

func (d *distinct) merge(o accumulator) {
	for key := range o.(*distinct).seen {
		d.put(key)
	}
}
func (d *distinct) result() column.Value { return column.Integer(int64(len(d.seen))) }
func (d *distinct) kept() int            { return d.bytes }
