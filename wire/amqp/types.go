package amqp

// Symbol is a symbolic value of a constrained domain, 7-bit ASCII (1.6.21).
type Symbol string

// Char is one Unicode character (1.6.16).
type Char rune

// Timestamp is a point in time in milliseconds since the Unix epoch, UTC (1.6.17).
type Timestamp int64

// UUID is a universally unique identifier (1.6.18).
type UUID [16]byte

// Decimals of IEEE 754-2008 as they stand on the wire (1.6.13 to 1.6.15). The codec does not compute with them.
type (
	Decimal32  [4]byte
	Decimal64  [8]byte
	Decimal128 [16]byte
)

// List is a sequence of values of any types (1.6.22).
type List []any

// Map is a list of pairs in the order of the wire (1.6.23). The standard calls a map with two equal keys invalid; the codec does not
// look for them, and Get finds the first.
type Map []Pair

// Pair is one key and its value.
type Pair struct{ Key, Value any }

// Get returns the value of a key, or nil. A key given as string or Symbol finds both kinds.
func (m Map) Get(key any) any {
	text, isText := textOf(key)
	for _, p := range m {
		if t, ok := textOf(p.Key); ok {
			if isText && t == text {
				return p.Value
			}
			continue
		}
		if !isText && simple(p.Key) && simple(key) && p.Key == key {
			return p.Value
		}
	}
	return nil
}

func textOf(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case Symbol:
		return string(v), true
	}
	return "", false
}

// simple tells whether two such values may be compared with ==.
func simple(v any) bool {
	switch v.(type) {
	case []byte, List, Map, Array, Described:
		return false
	}
	return true
}

// Array is a sequence of values of one type (1.6.24). Items of described types are Described.
type Array struct {
	Code  byte // the element's format code, of an empty array only; 0 writes an empty array of null
	Items []any
}

// Described is a value with a descriptor (1.2), mostly a uint64 or a Symbol.
type Described struct{ Descriptor, Value any }

// Optional is a field that may be absent. Its zero value is absent.
type Optional[T any] struct {
	Value T
	Set   bool
}

// Some returns an optional field that is there.
func Some[T any](v T) Optional[T] { return Optional[T]{Value: v, Set: true} }

// Or returns the value, or what the standard says it is when it is absent.
func (o Optional[T]) Or(missing T) T {
	if o.Set {
		return o.Value
	}
	return missing
}

// Limits bound what one value may become. Zero fields mean 16 values deep and 4096 values in all.
type Limits struct{ Depth, Items int }

func (l Limits) orDefault() Limits {
	if l.Depth <= 0 {
		l.Depth = deep
	}
	if l.Items <= 0 {
		l.Items = 4096
	}
	return l
}
