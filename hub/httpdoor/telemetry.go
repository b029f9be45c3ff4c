package httpdoor

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
)

// systemHeaders are the names which system properties have as headers (IoT Hub: device REST API, Send Device Event).
var systemHeaders = map[string]string{
	"iothub-messageid": hub.MessageID, "iothub-correlationid": hub.CorrelationID, "iothub-userid": hub.UserID, "iothub-to": hub.To,
	"iothub-expiry": hub.AbsoluteExpiry, "iothub-contenttype": hub.ContentType, "iothub-contentencoding": hub.ContentEncoding,
	"iothub-interface-id": hub.InterfaceID, "dt-subject": hub.Subject,
}

const (
	appPrefix = "iothub-app-"
	batchType = "application/vnd.microsoft.iothub.json"
	maxBatch  = 2 * hub.MaxMessage // as text: base64 and its properties
)

func takeTelemetry(x *exchange) error {
	read := x.single
	if strings.HasPrefix(x.Header.Get("Content-Type"), batchType) {
		read = x.batch
	}
	messages, err := read()
	if err != nil {
		return err
	}
	if err := x.hub.SubmitAll(x.self, messages); err != nil {
		return err
	}
	return x.nothing()
}

func (x *exchange) single() ([]hub.Message, error) {
	b, err := x.body(hub.MaxMessage)
	if err != nil {
		return nil, err
	}
	m := hub.Message{Body: b}
	for name, key := range systemHeaders {
		if v := x.Header.Get(name); v != "" {
			set(&m.System, key, plainText(v))
		}
	}
	x.appHeaders(func(key, value string) { set(&m.Properties, key, plainText(value)) })
	return []hub.Message{m}, nil
}

func set(m *map[string]string, key, value string) {
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[key] = value
}

// add files a property of a batch's message where it belongs: they have the names of headers there.
func add(m *hub.Message, name, value string) {
	if len(name) > len(appPrefix) && strings.EqualFold(name[:len(appPrefix)], appPrefix) {
		set(&m.Properties, name[len(appPrefix):], value)
	} else if key, ok := systemHeaders[strings.ToLower(name)]; ok {
		set(&m.System, key, value)
	}
}

// batchJSON is one message of a batch. C# says base64Encoded, Node does not and encodes all the same.
type batchJSON struct {
	Body          string            `json:"body"`
	Base64Encoded *bool             `json:"base64Encoded"`
	Properties    map[string]string `json:"properties"`
}

func (x *exchange) batch() ([]hub.Message, error) {
	b, err := x.body(maxBatch)
	if err != nil {
		return nil, err
	}
	return readBatch(b)
}

func readBatch(text []byte) ([]hub.Message, error) {
	var list []batchJSON
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, notJSON(err)
	}
	out := make([]hub.Message, len(list))
	for i, j := range list {
		out[i].Body = []byte(j.Body)
		if j.Base64Encoded == nil || *j.Base64Encoded {
			b, err := base64.StdEncoding.DecodeString(j.Body)
			if err != nil {
				return nil, fault.Newf("httpdoor.batch", fault.Invalid, "the body of message %d is not base64", i)
			}
			out[i].Body = b
		}
		for name, value := range j.Properties {
			add(&out[i], name, value)
		}
	}
	return out, nil
}
