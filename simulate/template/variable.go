package template

import (
	"math"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// Variable is one as a user declares it. What it yields is decided in this order: Sequence, Random, RandomDouble, Length, Values; one
// with none of them is a counter.
type Variable struct {
	Name         string
	Sequence     bool // Values one after the other; one that reads "$.Name" stands for that variable
	Random       bool // a whole number: Min to below Max, or of 0 to below 2^31-1 when they are no range
	RandomDouble bool // a fraction: Min to below Max, or of 0 to below 1
	Length       *int // a text of so many letters and digits
	Values       []string
	Min          *float64 // of a counter, where it begins; 1
	Max          *float64 // of a counter, the last before it begins again; 2^31-1
	Step         *int     // of a counter; 1
}

// MaxLength is the longest random text, the size of the largest message a hub takes.
const MaxLength = 256 << 10

const maxInt32 = math.MaxInt32

// kind is how a variable comes to its next value.
type kind uint8

const (
	counter kind = iota
	randomInt
	randomFraction
	randomText
	choice
	sequence
)

// definition is a variable ready to yield.
type definition struct {
	name       string
	kind       kind
	low, high  int64   // of randomInt, high excluded; of counter, the first value and unused
	from, span float64 // of randomFraction
	last       float64 // of counter: beyond it, it begins again
	step       int64
	length     int
	values     []string
	refs       []int // of a sequence, for each of its values what it stands for, or noRef
}

const noRef = -1

// Variables is a set of them, checked.
type Variables struct {
	list    []definition
	index   map[string]int // declared ones from 0, built-in ones below noRef
	lent    []int          // declared ones that sequences stand for: they move on only when they are used
	machine string
}

// builtin is one that every set has; its index is noRef-1-b.
type builtin int

const (
	deviceID builtin = iota
	guid
	timeUTC
	timeLocal
	ticks
	epoch
	machineName
	iterationNumber
)

// Builtin lists the names that are always there.
func Builtin() []string {
	return []string{"DeviceId", "Guid", "Time", "LocalTime", "Ticks", "Epoch", "MachineName", "IterationNumber"}
}

func (b builtin) index() int { return noRef - 1 - int(b) }

// NewVariables checks variables. Errors begin with the place: "Variables[1].min: ..". machine is what MachineName yields; of a host name
// with dots, the first label is used.
func NewVariables(list []Variable, machine string) (*Variables, error) {
	machine, _, _ = strings.Cut(machine, ".")
	v := &Variables{index: map[string]int{}, machine: machine}
	for b, name := range Builtin() {
		v.index[name] = builtin(b).index()
	}
	for i, u := range list {
		d, field, what := define(u)
		if what == "" && v.index[u.Name] >= 0 {
			if _, twice := v.index[u.Name]; twice {
				field, what = "name", "there are two variables "+u.Name
			}
		}
		if what != "" {
			return nil, fault.Newf("template.NewVariables", fault.Invalid, "Variables[%d].%s: %s", i, field, what)
		}
		v.list = append(v.list, d)
		v.index[u.Name] = i
	}
	for i := range v.list {
		v.resolve(&v.list[i])
	}
	return v, nil
}

// resolve finds what the values of a sequence stand for.
func (v *Variables) resolve(d *definition) {
	if d.kind != sequence {
		return
	}
	d.refs = make([]int, len(d.values))
	for i, value := range d.values {
		d.refs[i] = noRef
		name, ok := strings.CutPrefix(value, mark)
		if at, known := v.index[name]; ok && known {
			d.refs[i] = at
			if at >= 0 && !slices.Contains(v.lent, at) {
				v.lent = append(v.lent, at)
			}
		}
	}
}

// Names lists every name a template may hold.
func (v *Variables) Names() []string {
	out := make([]string, 0, len(v.index))
	for name := range v.index {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// define makes a definition, or says which field is wrong and why.
func define(u Variable) (d definition, field, what string) {
	if u.Name == "" {
		return d, "name", "it is missing"
	}
	for _, b := range []struct {
		field string
		value *float64
	}{{"min", u.Min}, {"max", u.Max}} {
		if b.value != nil && !(math.Abs(*b.value) <= 1<<53) {
			return d, b.field, "it is no number a counter can hold"
		}
	}
	d = definition{name: u.Name, values: u.Values, step: 1, low: 1, last: maxInt32}
	ranged := u.Min != nil && u.Max != nil && *u.Max > *u.Min
	switch {
	case u.Sequence:
		d.kind = sequence
		if len(u.Values) == 0 {
			return d, "values", "a sequence needs some"
		}
	case u.Random:
		d.kind, d.low, d.high = randomInt, 0, maxInt32
		if ranged {
			d.low, d.high = int64(*u.Min), int64(*u.Max)
		}
	case u.RandomDouble:
		d.kind, d.span = randomFraction, 1
		if ranged {
			d.from, d.span = *u.Min, *u.Max-*u.Min
		}
	case u.Length != nil:
		d.kind, d.length = randomText, *u.Length
		if d.length < 0 || d.length > MaxLength {
			return d, "customLengthString", "it is 0 to 262144 characters"
		}
	case len(u.Values) > 0:
		d.kind = choice
	default:
		if u.Min != nil {
			d.low = int64(*u.Min)
		}
		if u.Max != nil {
			d.last = *u.Max
		}
		if u.Step != nil {
			d.step = int64(*u.Step)
		}
	}
	return d, "", ""
}
