package twin

import (
	"github.com/isthmus-io/isthmus/fault"
)

// Change is what somebody wants of a twin: a merge patch (RFC 7396: null takes away, arrays are replaced), or the whole of one or more
// parts. It is read and checked, and never changes; its zero value changes nothing.
type Change struct {
	tags, desired, reported *node
	replaces                bool
}

// Empty tells whether the change is of nothing.
func (c Change) Empty() bool { return c.tags == nil && c.desired == nil && c.reported == nil }

// Replaces tells whether whole parts are replaced.
func (c Change) Replaces() bool { return c.replaces }

// ReadReported reads what a device sends: a merge patch of its reported properties.
func ReadReported(patch []byte) (Change, error) {
	r, err := open(patch, MaxPatch, "reported")
	if err != nil {
		return Change{}, err
	}
	var c Change
	if err = r.part(&c.reported); err == nil {
		err = r.end()
	}
	return c, err
}

// ReadPatch reads what a service sends to change a twin, {"tags":{..},"properties":{"desired":{..}}}. A part that is not named is not
// changed; one that is null is emptied. Anything else that a twin has beside them is passed over, so that a whole twin may be sent back.
func ReadPatch(body []byte) (Change, error) { return readParts(body, false) }

// ReadReplacement reads what a service sends to replace parts of a twin, as ReadPatch does.
func ReadReplacement(body []byte) (Change, error) {
	c, err := readParts(body, false)
	c.replaces = true
	return c, err
}

// ReadWhole reads a twin that comes from elsewhere, to replace all there is, what the device reported too.
func ReadWhole(body []byte) (Change, error) {
	c, err := readParts(body, true)
	c.replaces = true
	return c, err
}

func readParts(body []byte, reported bool) (Change, error) {
	var c Change
	r, err := open(body, MaxBody)
	if err != nil {
		return c, err
	}
	err = r.frame(func(key string) error {
		switch key {
		case "tags":
			return r.part(&c.tags)
		case "properties":
			return r.frame(func(key string) error {
				switch {
				case key == "desired":
					return r.part(&c.desired)
				case key == "reported" && reported:
					return r.part(&c.reported)
				}
				return r.skip()
			})
		}
		return r.skip()
	})
	if err == nil {
		err = r.end()
	}
	return c, err
}

// frame reads an object around parts, calling each for every member, which reads its value.
func (r *reader) frame(each func(key string) error) error {
	switch r.next() {
	case '{':
	case 'n':
		return r.skip()
	default:
		return r.wrong("this is no JSON object")
	}
	r.at++
	if r.next() == '}' {
		r.at++
		return nil
	}
	for {
		key, err := r.key()
		if err != nil {
			return err
		}
		r.path = append(r.path, key)
		if err := each(key); err != nil {
			return err
		}
		r.path = r.path[:len(r.path)-1]
		if more, err := r.more('}'); err != nil || !more {
			return err
		}
	}
}

// part reads tags, desired or reported.
func (r *reader) part(into **node) error {
	if *into != nil {
		return r.wrong("the key is given twice")
	}
	r.free = len(r.path)
	n, err := r.value()
	switch {
	case err != nil:
		return err
	case n.isNull() && r.path[0] != "reported": // a device that sends null has lost its patch
	case !n.isObject():
		return fault.Newf(opRead, fault.Invalid, "%s is no JSON object", r.where()).Advise("send an object with the properties to change; null takes one away")
	}
	*into = &n
	return nil
}
