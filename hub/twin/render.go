package twin

import (
	"strconv"
	"time"
)

// appendVersioned writes an object's text with its version inside.
func appendVersioned(out []byte, text string, version int64) []byte {
	if len(text) > 2 {
		out = append(append(out, text[:len(text)-1]...), `,"$version":`...)
	} else {
		out = append(out, `{"$version":`...)
	}
	return append(strconv.AppendInt(out, version, 10), '}')
}

// Notification returns what a device is told of the change that led to after: the patch of desired properties, with its nulls, or all
// of them when they were replaced; "$version" is inside. It is nil when desired properties were not changed.
func (c Change) Notification(after Document) []byte {
	switch {
	case c.desired == nil:
		return nil
	case c.replaces || !c.desired.isObject():
		return appendVersioned(nil, after.Desired.Text, after.Desired.Version)
	}
	return appendVersioned(nil, string(c.desired.appendTo(nil)), after.Desired.Version)
}

// WholeDesired returns all desired properties with their version, as a device is told after they were replaced.
func (d Document) WholeDesired() []byte {
	return appendVersioned(nil, d.Desired.Text, d.Desired.Version)
}

// AppendJSON writes the document's members as services read them, without braces: "version":n,"tags":{..},"properties":{"desired":{..},
// "reported":{..}}, each of the two with $metadata and $version.
func (d Document) AppendJSON(out []byte) ([]byte, error) {
	var m Merger
	desired, err := d.Desired.read(&m.reader, &m.slab)
	if err != nil {
		return out, err
	}
	reported, err := d.Reported.read(&m.reader, &m.slab)
	if err != nil {
		return out, err
	}
	tags := d.Tags
	if tags == "" {
		tags = "{}"
	}
	var w writer
	out = strconv.AppendInt(append(out, `"version":`...), d.Version, 10)
	out = append(append(out, `,"tags":`...), tags...)
	out = w.part(append(out, `,"properties":{"desired":`...), &desired, &desired, d.Desired.Version)
	out = w.part(append(out, `,"reported":`...), &reported, &reported, d.Reported.Version)
	return append(out, '}'), nil
}

// Event returns the body of the event that tells of a patch which led to after (IoT Hub: device twin change events): version, and what
// was patched with its metadata. A change that replaces is told by the whole twin instead.
func (c Change) Event(after Document, now time.Time) []byte {
	var w writer
	var s slab
	out := strconv.AppendInt(append([]byte(nil), `{"version":`...), after.Version, 10)
	if c.tags != nil {
		out = append(out, `,"tags":`...)
		out = c.tags.appendTo(out)
	}
	if c.desired == nil && c.reported == nil {
		return append(out, '}')
	}
	out = append(out, `,"properties":{`...)
	if c.desired != nil {
		aged := c.desired.stamped(&s, ticks(now), after.Desired.Version)
		out = w.part(append(out, `"desired":`...), c.desired, &aged, after.Desired.Version)
	}
	if c.reported != nil {
		if c.desired != nil {
			out = append(out, ',')
		}
		aged := c.reported.stamped(&s, ticks(now), 0)
		out = w.part(append(out, `"reported":`...), c.reported, &aged, after.Reported.Version)
	}
	return append(out, '}', '}')
}

// writer writes times; it keeps the last one, since most of a twin is of one moment.
type writer struct {
	at   int64
	text []byte
}

// part writes an object with $metadata, of which aged has the shape and the times, and $version.
func (w *writer) part(out []byte, n, aged *node, version int64) []byte {
	out = n.appendKids(append(out, '{'), true)
	if len(n.kids) > 0 {
		out = append(out, ',')
	}
	out = w.metadata(append(out, `"$metadata":`...), aged)
	out = strconv.AppendInt(append(out, `,"$version":`...), version, 10)
	return append(out, '}')
}

func (w *writer) metadata(out []byte, n *node) []byte {
	out = w.time(append(out, `{"$lastUpdated":"`...), n.at)
	out = append(out, '"')
	if n.version != 0 {
		out = strconv.AppendInt(append(out, `,"$lastUpdatedVersion":`...), n.version, 10)
	}
	for i := range n.kids {
		out = append(appendQuoted(append(out, ','), n.kids[i].key), ':')
		out = w.metadata(out, &n.kids[i])
	}
	return append(out, '}')
}

func (w *writer) time(out []byte, at int64) []byte {
	if at == 0 {
		return append(out, "0001-01-01T00:00:00Z"...) // as IoT Hub says never
	}
	if w.at != at {
		w.at = at
		w.text = time.Unix(at/1e7, at%1e7*100).UTC().AppendFormat(w.text[:0], "2006-01-02T15:04:05.0000000Z")
	}
	return append(out, w.text...)
}
