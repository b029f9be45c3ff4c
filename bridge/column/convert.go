package column

import (
	"math"
	"strconv"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// Convert gives the value as a column of the type holds it; null stays null. Invalid when it is not exactly that: a column of integers takes
// 21, 21.0 and "21", and refuses 21.5.
func Convert(v Value, t resource.ColumnType) (Value, error) {
	if v.Kind == Null {
		return v, nil
	}
	ok := true
	out := v
	switch t {
	case resource.ColumnInteger:
		if v.Kind == Text {
			n, err := strconv.ParseInt(v.Text, 10, 64)
			out, ok = Integer(n), err == nil
		} else {
			ok = v.Kind == Int
		}
	case resource.ColumnNumber:
		if v.Kind == Text {
			var err error
			out, err = parseNumber(v.Text)
			ok = err == nil
		} else {
			ok = v.Kind == Int || v.Kind == Float
		}
	case resource.ColumnBoolean:
		if v.Kind == Text {
			out, ok = truth(v.Text == "true"), v.Text == "true" || v.Text == "false"
		} else {
			ok = v.Kind == Bool
		}
	case resource.ColumnTime:
		t, err := AsTime(v)
		if out, ok = (Value{Kind: Time, Bits: uint64(t)}), err == nil; err != nil {
			return Value{}, err
		}
	default:
		if v.Kind != Text {
			out = Value{Kind: Text, Text: string(v.AppendText(nil))}
		}
	}
	if !ok {
		return Value{}, fault.Newf("column.Convert", fault.Invalid, "%.60q is no %s", v.AppendText(nil), t)
	}
	return out, nil
}

// Times that int64 nanoseconds can say.
const (
	firstSecond = math.MinInt64/int64(time.Second) + 1
	lastSecond  = math.MaxInt64/int64(time.Second) - 1
)

// AsTime reads RFC 3339 text or seconds of the epoch as nanoseconds of the epoch.
func AsTime(v Value) (nanos int64, err error) {
	switch v.Kind {
	case Time:
		return int64(v.Bits), nil
	case Text:
		t, err := time.Parse(time.RFC3339Nano, v.Text)
		if err != nil {
			return 0, fault.Newf("column.AsTime", fault.Invalid, "%.60q is no time as RFC 3339 writes it", v.Text)
		}
		if s := t.Unix(); s < firstSecond || s > lastSecond {
			return 0, tooFar(v)
		}
		return t.UnixNano(), nil
	case Int:
		if s := int64(v.Bits); s >= firstSecond && s <= lastSecond {
			return s * int64(time.Second), nil
		}
		return 0, tooFar(v)
	case Float:
		f := math.Float64frombits(v.Bits)
		if f < float64(firstSecond) || f > float64(lastSecond) {
			return 0, tooFar(v)
		}
		whole, part := math.Modf(f)
		return int64(whole)*int64(time.Second) + int64(math.Round(part*1e9)), nil
	}
	return 0, fault.Newf("column.AsTime", fault.Invalid, "%s is no time", v.Words())
}

func tooFar(v Value) error {
	return fault.Newf("column.AsTime", fault.Invalid, "the time %.60q is not between the years 1678 and 2262", v.AppendText(nil)).
		Advise("give seconds of the epoch, not milliseconds")
}
