package forward

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/hub"
)

// lineJSON is an event as endpoints get it (IoT Hub: storage as a routing endpoint, JSON). The fields after Body are our own.
type lineJSON struct {
	EnqueuedTimeUTC  string            `json:"EnqueuedTimeUtc"`
	Properties       map[string]string `json:"Properties"`
	SystemProperties map[string]string `json:"SystemProperties"`
	Body             json.RawMessage   `json:"Body"` // JSON when the message said that it is JSON in UTF-8, else a string of base64

	ID          string `json:"Id"` // of this event at this endpoint, for ever
	Partition   int    `json:"Partition"`
	Sequence    int64  `json:"Sequence"`
	Redelivered bool   `json:"Redelivered,omitempty"` // it may have been delivered before
}

// systemNames are the names which system properties have in such lines.
var systemNames = map[string]string{
	hub.MessageID: "messageId", hub.CorrelationID: "correlationId", hub.UserID: "userId", hub.To: "to", hub.ContentType: "contentType",
	hub.ContentEncoding: "contentEncoding", hub.AbsoluteExpiry: "absoluteExpiryTime", hub.CreationTime: "creationTimeUtc",
	"iothub-connection-device-id": "connectionDeviceId", "iothub-connection-module-id": "connectionModuleId",
	"iothub-connection-auth-method": "connectionAuthMethod", "iothub-connection-auth-generation-id": "connectionDeviceGenerationId",
}

// eventID names an event of an endpoint for ever.
func eventID(hub, endpoint string, e eventlog.Event) string {
	return hub + "/" + endpoint + "/" + strconv.Itoa(e.Partition) + "/" + strconv.FormatInt(e.Sequence, 10)
}

const timeText = "2006-01-02T15:04:05.0000000Z"

func line(hubID, endpoint string, e eventlog.Event, redelivered bool) []byte {
	out := lineJSON{
		EnqueuedTimeUTC: e.Enqueued.UTC().Format(timeText), Properties: e.Properties, SystemProperties: map[string]string{"enqueuedTime": e.Enqueued.UTC().Format(timeText)},
		Body: bodyOf(e), ID: eventID(hubID, endpoint, e), Partition: e.Partition, Sequence: e.Sequence, Redelivered: redelivered,
	}
	if out.Properties == nil {
		out.Properties = map[string]string{}
	}
	for k, v := range e.System {
		if name, ok := systemNames[k]; ok {
			k = name
		}
		out.SystemProperties[k] = v
	}
	b, _ := json.Marshal(out) // the body is JSON, all else strings and numbers
	return b
}

// bodyOf embeds what is JSON. Whatever it says of itself, it is JSON only when it reads as such, and in one line.
func bodyOf(e eventlog.Event) json.RawMessage {
	kind, _, _ := strings.Cut(e.System[hub.ContentType], ";")
	encoding := e.System[hub.ContentEncoding]
	if strings.EqualFold(strings.TrimSpace(kind), "application/json") && (strings.EqualFold(encoding, "utf-8") || strings.EqualFold(encoding, "utf8")) {
		var flat bytes.Buffer
		if json.Valid(e.Body) && json.Compact(&flat, e.Body) == nil {
			return flat.Bytes()
		}
	}
	b, _ := json.Marshal(e.Body) // bytes always can be
	if e.Body == nil {
		return json.RawMessage(`""`)
	}
	return b
}

// fileTime is the part of a file's name that says when its first event came.
func fileTime(t time.Time) string { return t.UTC().Format("2006/01/02/15/04") }
