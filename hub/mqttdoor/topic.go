package mqttdoor

import (
	"bytes"
	"strings"

	"github.com/isthmus-io/isthmus/hub"
)

// IoT Hub: communicate using MQTT; topics of a device.
const (
	twinResponses = "$iothub/twin/res/#"
	desiredPatch  = "$iothub/twin/PATCH/properties/desired/#"
	methodCalls   = "$iothub/methods/POST/#"
	streamCalls   = "$iothub/streams/POST/#"
	streamAnswers = "$iothub/streams/res/#" // which devices subscribe to and nothing is published to

	twinGet       = "$iothub/twin/GET/"
	reportedPatch = "$iothub/twin/PATCH/properties/reported/"
	methodResult  = "$iothub/methods/res/"
	streamResult  = "$iothub/streams/res/"

	twinAnswer    = "$iothub/twin/res/"
	desiredNotice = "$iothub/twin/PATCH/properties/desired/"
	methodCall    = "$iothub/methods/POST/"
	streamCall    = "$iothub/streams/POST/"
)

// topics are those of one device or module. Ids stand in them as they are.
type topics struct {
	own    string // devices/{d} or devices/{d}/modules/{m}
	module bool
}

func topicsOf(n hub.Name) topics {
	if n.IsModule() {
		return topics{"devices/" + n.Device + "/modules/" + n.Module, true}
	}
	return topics{"devices/" + n.Device, false}
}

const events = "/messages/events"

// bag returns the property bag of an events topic; SDKs leave the last slash away when there is none, and write one behind it.
func (t topics) bag(topic []byte) ([]byte, bool) {
	if len(topic) < len(t.own)+len(events) || string(topic[:len(t.own)]) != t.own {
		return nil, false
	}
	rest := topic[len(t.own):]
	if string(rest[:len(events)]) != events {
		return nil, false
	}
	if rest = rest[len(events):]; len(rest) == 0 {
		return nil, true
	}
	return bytes.TrimSuffix(rest[1:], []byte("/")), rest[0] == '/'
}

// subscription is what a topic filter is for.
type subscription uint8

const (
	notOwn subscription = iota
	toAnswers
	toDesired
	toMethods
	toStreams
	toNothing
	toCommands // under messages/devicebound
	toInputs   // of a module, under inputs
)

// subscription reads a filter. Only these are a device's own.
func (t topics) subscription(filter string) subscription {
	switch filter {
	case twinResponses:
		return toAnswers
	case desiredPatch:
		return toDesired
	case methodCalls:
		return toMethods
	case streamCalls:
		return toStreams
	case streamAnswers:
		return toNothing
	}
	rest, ok := strings.CutPrefix(filter, t.own)
	switch {
	case ok && rest == "/messages/devicebound/#":
		return toCommands
	case ok && t.module && (rest == "/inputs/#" || rest == "/#"):
		return toInputs
	}
	return notOwn
}

// request is a topic under $iothub which asks the hub for something or answers it.
type request struct {
	kind   requestKind
	status string // of a method's answer
	rid    string // as the device wrote it
}

type requestKind uint8

const (
	unknownRequest requestKind = iota
	readTwin
	patchReported
	methodAnswer
	streamAnswer
)

// parseRequest reads a topic such as "$iothub/twin/GET/?$rid=1". A request without an id cannot be answered and is none.
func parseRequest(topic []byte) request {
	t := string(topic)
	var r request
	var query string
	var ok bool
	if query, ok = strings.CutPrefix(t, twinGet); ok {
		r.kind = readTwin
	} else if query, ok = strings.CutPrefix(t, reportedPatch); ok {
		r.kind = patchReported
	} else if query, ok = strings.CutPrefix(t, methodResult); ok {
		r.kind = methodAnswer
		r.status, query, _ = strings.Cut(query, "/")
	} else if query, ok = strings.CutPrefix(t, streamResult); ok {
		r.kind = streamAnswer
		r.status, query, _ = strings.Cut(query, "/")
	}
	if query, ok = strings.CutPrefix(query, "?"); !ok {
		return request{}
	}
	for field := range strings.SplitSeq(query, "&") {
		if rid, ok := strings.CutPrefix(field, "$rid="); ok {
			r.rid = rid
			return r
		}
	}
	return request{}
}
