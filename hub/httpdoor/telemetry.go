package httpdoor

import (
	"encoding/base64"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/sas"
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
	var id hub.Identity
	var err error
	if x.conn == nil {
		return fault.New("httpdoor.takeTelemetry", fault.Invalid, "the local socket is for administration").Advise("devices send over HTTPS or MQTT")
	}
	if id, err = x.hub.Authenticate(x.Context(), x.id, x.Header.Get("Authorization")); err != nil {
		return x.unknownOrWrong(err)
	}
	var messages []hub.Message
	if strings.HasPrefix(x.Header.Get("Content-Type"), batchType) {
		messages, err = x.batch()
	} else {
		messages, err = x.single()
	}
	if err != nil {
		return err
	}
	if err := x.hub.SubmitAll(id, messages); err != nil {
		return err
	}
	return x.nothing()
}

// unknownOrWrong gives whoever has no key the same answer whether the device exists or not. Which of the two it was is for the log.
func (x *exchange) unknownOrWrong(err error) error {
	t, perr := sas.Parse(x.Header.Get("Authorization"))
	if perr != nil || t.Policy != "" || fault.KindOf(err) != fault.NotFound {
		return err
	}
	x.conn.Refuse(x.id, err)
	return &refused{hub.WrongKey(x.id)}
}

func (x *exchange) single() ([]hub.Message, error) {
	b, err := x.body(hub.MaxMessage)
	if err != nil {
		return nil, err
	}
	m := hub.Message{Body: b}
	for name, values := range x.Header {
		add(&m, strings.ToLower(name), values[0])
	}
	return []hub.Message{m}, nil
}

// add files a header or a batch's property where it belongs. Of a request's header net/http keeps no case, so property names from
// single messages are in lower case.
func add(m *hub.Message, name, value string) {
	if len(name) > len(appPrefix) && strings.EqualFold(name[:len(appPrefix)], appPrefix) {
		if m.Properties == nil {
			m.Properties = map[string]string{}
		}
		m.Properties[name[len(appPrefix):]] = value
		return
	}
	if key, ok := systemHeaders[strings.ToLower(name)]; ok {
		if m.System == nil {
			m.System = map[string]string{}
		}
		m.System[key] = value
	}
}

// batchJSON is one message of a batch. C# says base64Encoded, Node does not and encodes all the same.
type batchJSON struct {
	Body          string            `json:"body"`
	Base64Encoded *bool             `json:"base64Encoded"`
	Properties    map[string]string `json:"properties"`
}

func (x *exchange) batch() ([]hub.Message, error) {
	var list []batchJSON
	if err := x.decode(maxBatch, &list); err != nil {
		return nil, err
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
