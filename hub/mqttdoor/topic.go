package mqttdoor

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

// IoT Hub: communicate using MQTT; topics of a device.
const (
	twinResponses = "$iothub/twin/res/#"
	desiredPatch  = "$iothub/twin/PATCH/properties/desired/#"
	methodCalls   = "$iothub/methods/POST/#"

	twinGet       = "$iothub/twin/GET/"
	reportedPatch = "$iothub/twin/PATCH/properties/reported/"
	methodResult  = "$iothub/methods/res/"
)

// topics are those of one device. Its id stands in them as it is.
type topics struct {
	events string // with a slash at its end
	c2d    string // filter
}

func topicsOf(device string) topics {
	return topics{"devices/" + device + "/messages/events/", "devices/" + device + "/messages/devicebound/#"}
}

// bag returns the property bag of an events topic; SDKs leave the last slash away when there is none, and write one behind it.
func (t topics) bag(topic []byte) ([]byte, bool) {
	if rest, ok := bytes.CutPrefix(topic, []byte(t.events)); ok {
		return bytes.TrimSuffix(rest, []byte("/")), true
	}
	return nil, len(topic) == len(t.events)-1 && string(topic) == t.events[:len(topic)]
}

func (t topics) maySubscribe(filter string) bool {
	return filter == t.c2d || filter == twinResponses || filter == desiredPatch || filter == methodCalls
}

type requestKind uint8

const (
	unknownRequest requestKind = iota
	twinRequest
	methodAnswer
)

// request reads a topic under $iothub, and the "$rid=.." in it.
func request(topic []byte) (rid []byte, kind requestKind) {
	t := string(topic)
	for _, prefix := range []string{twinGet, reportedPatch} {
		if q, ok := strings.CutPrefix(t, prefix); ok && strings.HasPrefix(q, "?$rid=") {
			rid, _, _ := strings.Cut(q[1:], "&")
			return []byte(rid), twinRequest
		}
	}
	if strings.HasPrefix(t, methodResult) {
		return nil, methodAnswer
	}
	return nil, unknownRequest
}

// noTwin is the answer to every request for a twin. SDKs see an error only by errorCode in the body, not by the status in the topic.
func noTwin(now time.Time) []byte {
	b, _ := json.Marshal(map[string]any{ // strings and a number always marshal
		"errorCode": 501001, "trackingId": "", "message": "this hub keeps no device twins yet", "timestampUtc": now.UTC().Format(time.RFC3339),
	})
	return b
}
