package event

import (
	"encoding/base64"
	"slices"
	"strconv"
	"time"
)

// Repeated tells whether the event may have been sent before: by this bridge, or by one before it, whose mark stays.
func (e *Event) Repeated() bool {
	if e.Repeat {
		return true
	}
	v, _ := Get(e.Properties, RepeatProperty)
	return v == true || v == "true"
}

// Headers appends to dst what stands beside the body where a service keeps one list of names: system properties, then the application's, then
// the marks of the bridge, given by its uid. Every name is there once: what an application calls by the name of a system property or of a
// mark is left out, and so is a name that stands there a second time or is empty.
func (e *Event) Headers(dst []Property, bridge string) []Property {
	begin := len(dst)
	var seen map[string]bool
	add := func(p *Property) {
		switch {
		case p.Name == "" || p.Name == OriginProperty || p.Name == RepeatProperty:
			return
		case seen == nil && len(dst)-begin < 32: // searching so few is faster than a map
			if slices.ContainsFunc(dst[begin:], func(o Property) bool { return o.Name == p.Name }) {
				return
			}
		case seen == nil:
			seen = make(map[string]bool, len(e.System)+len(e.Properties))
			for i := range dst[begin:] {
				seen[dst[begin+i].Name] = true
			}
			fallthrough
		default:
			if seen[p.Name] {
				return
			}
			seen[p.Name] = true
		}
		dst = append(dst, *p)
	}
	for i := range e.System {
		add(&e.System[i])
	}
	for i := range e.Properties {
		add(&e.Properties[i])
	}
	dst = append(dst, Property{OriginProperty, e.ID(bridge)})
	if e.Repeated() {
		dst = append(dst, Property{RepeatProperty, true})
	}
	return dst
}

// AppendText writes a property's value as text: times in RFC 3339 and UTC, bytes in base64, null as nothing, others as they are.
func AppendText(dst []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return append(dst, v...)
	case bool:
		return strconv.AppendBool(dst, v)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case uint64:
		return strconv.AppendUint(dst, v, 10)
	case float64:
		return strconv.AppendFloat(dst, v, 'g', -1, 64)
	case []byte:
		return base64.StdEncoding.AppendEncode(dst, v)
	case time.Time:
		return v.UTC().AppendFormat(dst, time.RFC3339Nano)
	}
	return dst
}
