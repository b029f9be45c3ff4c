package event

import (
	"strconv"
	"strings"
	"time"
)

// Names under which events of an IoT hub say where they come from (IoT Hub: system properties of device-to-cloud messages).
const (
	DeviceID = "iothub-connection-device-id"
	ModuleID = "iothub-connection-module-id"

	ContentType     = "content-type"
	ContentEncoding = "content-encoding"
	MessageID       = "message-id"
	CorrelationID   = "correlation-id"
	UserID          = "user-id"
)

// Names of the properties with which a bridge marks what it sends.
const (
	// OriginProperty names the event: "bridge/partition/sequence", and "/index" behind it when one event of the source became several.
	// It is the same however often the event is sent, so whoever keeps the last one of each bridge and partition can drop repeats.
	OriginProperty = "isthmus-origin"
	// RepeatProperty, true, is on every event that may have been sent before. One that has it may be new; one that has it not is new.
	RepeatProperty = "isthmus-repeat"
)

// Property is a name with a value: string, int64, uint64, float64, bool, []byte or time.Time; nil is null.
type Property struct {
	Name  string
	Value any
}

// Origin is where an event stands in its source.
type Origin struct {
	Partition string // as the source calls it
	Sequence  int64
	Index     int       // 0 for the first of those that one event of the source became
	Enqueued  time.Time // when the source took it in
	Name      string    // stands for partition, sequence and index where there are none: rows of windows
}

// Event is one event. Names of System are those of message annotations, such as DeviceID, and of the standard properties above; where it
// stands in its source is not among them.
type Event struct {
	Origin     Origin
	Body       []byte
	Properties []Property // the application's, in the order of the source
	System     []Property
	Key        string // partition key; empty when it had none
	Repeat     bool   // it may have been sent before
}

// Device returns the id of the device that sent the event, or what stands for it: its partition key.
func (e *Event) Device() string {
	if id := Text(e.System, DeviceID); id != "" {
		return id
	}
	return e.Key
}

// ID is the value of OriginProperty for a bridge, given by its uid.
func (e *Event) ID(bridge string) string {
	o := &e.Origin
	if o.Name != "" {
		return bridge + "/" + o.Name
	}
	b := make([]byte, 0, len(bridge)+len(o.Partition)+24)
	b = append(append(append(append(b, bridge...), '/'), o.Partition...), '/')
	b = strconv.AppendInt(b, o.Sequence, 10)
	if o.Index > 0 {
		b = strconv.AppendInt(append(b, '/'), int64(o.Index), 10)
	}
	return string(b)
}

// ParseID takes an id apart that has a partition and a sequence; ok is false for any other.
func ParseID(id string) (bridge string, o Origin, ok bool) {
	p := strings.Split(id, "/")
	if len(p) < 3 || len(p) > 4 {
		return "", o, false
	}
	seq, err := strconv.ParseInt(p[2], 10, 64)
	if err != nil {
		return "", o, false
	}
	o.Partition, o.Sequence = p[1], seq
	if len(p) == 4 {
		if o.Index, err = strconv.Atoi(p[3]); err != nil {
			return "", o, false
		}
	}
	return p[0], o, true
}

// Get returns the value of a name; ok is false when it is not there.
func Get(list []Property, name string) (v any, ok bool) {
	for i := range list {
		if list[i].Name == name {
			return list[i].Value, true
		}
	}
	return nil, false
}

// Text returns the text of a name, empty when it is not there or is no text.
func Text(list []Property, name string) string {
	v, _ := Get(list, name)
	s, _ := v.(string)
	return s
}

// Set puts a value in the place of the one of its name, or behind the others.
func Set(list []Property, name string, v any) []Property {
	for i := range list {
		if list[i].Name == name {
			list[i].Value = v
			return list
		}
	}
	return append(list, Property{name, v})
}

// Remove takes a name out.
func Remove(list []Property, name string) []Property {
	for i := range list {
		if list[i].Name == name {
			return append(list[:i], list[i+1:]...)
		}
	}
	return list
}

// Size is about what the event takes on the wire: body and properties.
func (e *Event) Size() int {
	n := len(e.Body) + len(e.Key)
	for _, list := range [][]Property{e.Properties, e.System} {
		for i := range list {
			n += len(list[i].Name) + 8
			switch v := list[i].Value.(type) {
			case string:
				n += len(v)
			case []byte:
				n += len(v)
			}
		}
	}
	return n
}

// Refused is how a destination or a step says that it will never take some events of a batch, and has done with the others.
type Refused struct {
	At map[int]error // by index in the batch: why
}

func (r *Refused) Error() string {
	return strconv.Itoa(len(r.At)) + " events of the batch are refused for good"
}
