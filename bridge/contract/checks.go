package contract

import (
	"slices"
	"strconv"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// kind is what a value is.
type kind uint8

const (
	anything kind = iota
	text
	number
	boolean
	null
	container // an object or an array; of properties, bytes
)

// checks are what a contract says of one value.
type checks struct {
	kind     kind
	min, max *bound
	oneOf    []string
}

// bound is a number as the contract writes it: 0.1 is the tenth, not the binary number nearest to it.
type bound struct {
	near float64
	said string
	is   decimal
}

func newBound(f *float64) *bound {
	if f == nil {
		return nil
	}
	b := &bound{near: *f, said: strconv.FormatFloat(*f, 'g', -1, 64)}
	b.is.read([]byte(b.said))
	return b
}

func (c *checks) compile(f *resource.ContractField) error {
	bad := func(words string) error {
		return fault.New("contract.Compile", fault.Invalid, f.Path+": "+words)
	}
	kinds := map[string]kind{"": anything, "text": text, "number": number, "boolean": boolean}
	var known bool
	if c.kind, known = kinds[f.Type]; !known {
		return bad("its type is " + strconv.Quote(f.Type))
	}
	c.min, c.max, c.oneOf = newBound(f.Min), newBound(f.Max), f.OneOf
	switch {
	case (c.min != nil || c.max != nil) && len(c.oneOf) > 0:
		return bad("no value is a number and a text at once")
	case (c.min != nil || c.max != nil) && c.kind != anything && c.kind != number:
		return bad("bounds are of numbers")
	case len(c.oneOf) > 0 && c.kind != anything && c.kind != text:
		return bad("oneOf is of texts")
	case f.Min != nil && f.Max != nil && *f.Min > *f.Max:
		return bad("no number is at least " + c.min.said + " and at most " + c.max.said)
	case c.min != nil || c.max != nil:
		c.kind = number
	case len(c.oneOf) > 0:
		c.kind = text
	}
	return nil
}

// scalar tells whether only single values pass.
func (c *checks) scalar() bool { return c.kind != anything }

// judge says what is wrong with a value: its kind, and the text or the number that it is. Empty: nothing.
func (c *checks) judge(k kind, value []byte) string {
	switch c.kind {
	case anything:
		return ""
	case text:
		switch {
		case k != text:
			return "is no text"
		case len(c.oneOf) > 0 && !slices.ContainsFunc(c.oneOf, func(s string) bool { return s == string(value) }):
			return "is none of the values agreed"
		}
	case number:
		switch {
		case k != number:
			return "is no number"
		case c.min == nil && c.max == nil:
		default:
			return c.within(value)
		}
	case boolean:
		if k != boolean {
			return "is neither true nor false"
		}
	}
	return ""
}

// within compares first as floating point, whose rounding keeps order, and to the last digit where that does not decide.
func (c *checks) within(value []byte) string {
	near, _ := strconv.ParseFloat(string(value), 64) // out of range: infinite, which compares as it should
	if near != near {
		return "is no number"
	}
	if c.min != nil && (near < c.min.near || near == c.min.near && compare(value, &c.min.is) < 0) {
		return "is below " + c.min.said
	}
	if c.max != nil && (near > c.max.near || near == c.max.near && compare(value, &c.max.is) > 0) {
		return "is above " + c.max.said
	}
	return ""
}
