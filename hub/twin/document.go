package twin

import (
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// Document is what the hub keeps of one identity. It is a value: a copy is another document.
type Document struct {
	Version  int64  // of the whole
	Tags     string // canonical JSON, an object
	Desired  Part
	Reported Part
}

// Part is desired or reported.
type Part struct {
	Text    string // canonical JSON, an object
	Meta    string // when each value was written; only this package knows how
	Version int64
}

// New returns the twin of an identity that was just made.
func New() Document {
	none := Part{Text: "{}", Meta: "{}", Version: 1}
	return Document{Version: 2, Tags: "{}", Desired: none, Reported: none}
}

// ETag changes with what services write. What a device reports does not change it, or no service could ever change the twin of a device
// that reports often.
func (d Document) ETag() string {
	var b [8]byte
	// Each change raises Version by one, and Reported.Version as well when it is the device's.
	binary.BigEndian.PutUint64(b[:], uint64(d.Version-d.Reported.Version)) //nolint:gosec // the text of a counter
	return base64.StdEncoding.EncodeToString(b[:])
}

// ForDevice returns what a device sees of its twin: {"desired":{..,"$version":n},"reported":{..,"$version":n}}.
func (d Document) ForDevice() []byte {
	out := make([]byte, 0, len(d.Desired.Text)+len(d.Reported.Text)+96)
	out = append(out, `{"desired":`...)
	out = appendVersioned(out, d.Desired.Text, d.Desired.Version)
	out = append(out, `,"reported":`...)
	out = appendVersioned(out, d.Reported.Text, d.Reported.Version)
	return append(out, '}')
}

// With returns the document as it is when the change is made now. A change of nothing leaves it as it is. TooLarge when a part would
// exceed its limit.
func (d Document) With(c Change, now time.Time) (Document, error) {
	if c.Empty() {
		return d, nil
	}
	d.Version++
	var err error
	if c.tags != nil {
		p := Part{Text: d.Tags}
		if p, err = p.with(c.tags, c.replaces, placeTags, 0, 0, MaxTags); err != nil {
			return d, err
		}
		d.Tags = p.Text
	}
	at := ticks(now)
	if c.desired != nil {
		if d.Desired, err = d.Desired.with(c.desired, c.replaces, placeDesired, at, d.Desired.Version+1, MaxProperties); err != nil {
			return d, err
		}
	}
	if c.reported != nil {
		// IoT Hub keeps $lastUpdatedVersion of desired properties only.
		if d.Reported, err = d.Reported.with(c.reported, c.replaces, placeReported, at, 0, MaxProperties); err != nil {
			return d, err
		}
	}
	return d, nil
}

const (
	placeTags     = "tags"
	placeDesired  = "properties.desired"
	placeReported = "properties.reported"
)

func (p Part) with(change *node, replaces bool, place string, at, version int64, most int) (Part, error) {
	var next node
	switch {
	case change.isNull():
		next = node{at: at, version: version}
	case replaces:
		next = change.stamped(at, version)
	default:
		old, err := p.read()
		if err != nil {
			return p, err
		}
		next = merged(&old, change, at, version)
	}
	if size := next.total(); size > most {
		return p, tooLarge("%s would have %d bytes, %d are allowed", place, size, most)
	}
	text := next.appendTo(make([]byte, 0, len(p.Text)+256))
	if len(text) > MaxTextRatio*most {
		return p, tooLarge("%s would have %d bytes of text, %d are allowed", place, len(text), MaxTextRatio*most)
	}
	p.Text, p.Version = string(text), p.Version+1
	if at != 0 {
		p.Meta = string(next.appendMeta(text[:0], nil))
	}
	return p, nil
}

func tooLarge(format string, args ...any) error {
	return fault.Newf("twin.With", fault.TooLarge, format, args...).Advise("keep in a twin what describes the device, and send the rest as messages")
}

// read returns the part as a value with its times.
func (p Part) read() (node, error) {
	if p.Text == "" {
		return node{}, nil
	}
	r := &reader{in: p.Text, loose: true}
	n, err := r.value()
	if err == nil {
		err = r.end()
	}
	if err != nil || !n.isObject() {
		// Op and kind say that it is ours to mend, the cause where.
		return n, fault.New("twin.Read", fault.Internal, "the twin that was stored cannot be read").Because(err)
	}
	n.age(p.Meta, &node{})
	return n, nil
}

// ticks is how times are kept: 100 ns since 1970, the grain that IoT Hub shows.
func ticks(t time.Time) int64 { return t.Unix()*1e7 + int64(t.Nanosecond())/100 }
