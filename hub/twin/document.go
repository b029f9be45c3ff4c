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
	binary.BigEndian.PutUint64(b[:], uint64(d.Version-d.Reported.Version))
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
	var m Merger
	return m.With(d, c, now)
}

// Merger makes many changes one after the other, in memory that it uses again. Its zero value works.
type Merger struct {
	reader reader
	slab   slab
	text   []byte
}

// With is Document.With.
func (m *Merger) With(d Document, c Change, now time.Time) (Document, error) {
	if c.Empty() {
		return d, nil
	}
	before := d
	d.Version++
	var err error
	if c.tags != nil {
		tags := Part{Text: d.Tags}
		if tags, err = m.part(tags, c.tags, c.replaces, written{placeTags, MaxTags, 0, 0}); err != nil {
			return before, err
		}
		d.Tags = tags.Text
	}
	at := ticks(now)
	if c.desired != nil {
		if d.Desired, err = m.part(d.Desired, c.desired, c.replaces, written{placeDesired, MaxProperties, at, d.Desired.Version + 1}); err != nil {
			return before, err
		}
	}
	if c.reported != nil {
		// IoT Hub keeps $lastUpdatedVersion of desired properties only.
		if d.Reported, err = m.part(d.Reported, c.reported, c.replaces, written{placeReported, MaxProperties, at, 0}); err != nil {
			return before, err
		}
	}
	return d, nil
}

const (
	placeTags     = "tags"
	placeDesired  = "properties.desired"
	placeReported = "properties.reported"
)

// written says which part is written, how large it may be, and when; at is 0 for tags, which have no metadata.
type written struct {
	place       string
	most        int
	at, version int64
}

func (m *Merger) part(p Part, change *node, replaces bool, w written) (Part, error) {
	m.slab.reset()
	next := node{at: w.at, version: w.version}
	switch {
	case change.isNull():
	case replaces:
		next = change.stamped(&m.slab, w.at, w.version)
	default:
		old, err := p.read(&m.reader, &m.slab)
		if err != nil {
			return p, err
		}
		next = merged(&m.slab, &old, change, w.at, w.version)
	}
	if size := next.total(); size > w.most {
		return p, tooLarge("%s would have %d bytes, %d are allowed", w.place, size, w.most)
	}
	m.text = next.appendTo(m.text[:0])
	if len(m.text) > MaxTextRatio*w.most {
		return p, tooLarge("%s would have %d bytes of text, %d are allowed", w.place, len(m.text), MaxTextRatio*w.most)
	}
	p.Text, p.Version = string(m.text), p.Version+1
	if w.at != 0 {
		m.text = next.appendMeta(m.text[:0], nil)
		p.Meta = string(m.text)
	}
	return p, nil
}

func tooLarge(format string, args ...any) error {
	return fault.Newf("twin.With", fault.TooLarge, format, args...).Advise("keep in a twin what describes the device, and send the rest as messages")
}

// read returns the part as a value with its times, whose nodes are of the slab.
func (p Part) read(r *reader, s *slab) (node, error) {
	if p.Text == "" {
		return node{}, nil
	}
	*r = reader{in: p.Text, loose: true, path: r.path[:0], kids: r.kids[:0], slab: s}
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
