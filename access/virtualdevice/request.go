package virtualdevice

import (
	"net/url"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// IoT Hub: device streams over MQTT.
const (
	streamRequests = "$iothub/streams/POST/#"
	streamReplies  = "$iothub/streams/res/#"
	streamRequest  = "$iothub/streams/POST/"
	streamAccept   = "$iothub/streams/res/200/?$rid="
	streamReject   = "$iothub/streams/res/400/?$rid="
)

// asked is a hub's request for a stream.
type asked struct {
	name  string
	rid   string // as the hub wrote it
	url   string // wss
	token string
}

// Bounds of a request.
const (
	maxRID   = 64
	maxToken = 8 << 10
	maxURL   = 4 << 10
)

// readRequest reads "$iothub/streams/POST/{name}/?$rid={rid}&$url={percent-encoded}&$auth={jwt}". Invalid when it cannot be answered, or leads
// nowhere; what it says then is for the log.
func readRequest(topic string) (asked, error) {
	bad := func(why string) error {
		return fault.New("virtualdevice.readRequest", fault.Invalid, "the hub's request for a stream cannot be read: "+why)
	}
	rest, ok := strings.CutPrefix(topic, streamRequest)
	if !ok {
		return asked{}, bad("the topic is another")
	}
	name, query, ok := strings.Cut(rest, "/?")
	if !ok || strings.Contains(name, "/") {
		return asked{}, bad("the topic has not five levels")
	}
	a := asked{name: name}
	for field := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "$rid":
			a.rid = value
		case "$auth":
			a.token = value
		case "$url":
			plain, err := url.PathUnescape(value)
			if err != nil {
				return asked{}, bad("the address is not percent-encoded")
			}
			a.url = plain
		}
	}
	switch {
	case a.rid == "" || len(a.rid) > maxRID:
		return asked{}, bad("it has no id")
	case len(a.url) > maxURL || len(a.token) > maxToken || a.token == "":
		return a, bad("it has no token, or one that is too long")
	}
	if u, err := url.Parse(a.url); err != nil || u.Scheme != "wss" || u.Host == "" || u.User != nil {
		return a, bad("the address is no wss URL")
	}
	return a, nil
}
