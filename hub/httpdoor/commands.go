package httpdoor

import (
	"encoding/base64"
	"net/http"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
)

const maxCommandBody = 256 << 10 // as text: base64 and its properties

// commandJSON is a cloud-to-device message of Isthmus's own API. One of the two bodies may be given.
type commandJSON struct {
	MessageID       string            `json:"messageId,omitempty"`
	CorrelationID   string            `json:"correlationId,omitempty"`
	UserID          string            `json:"userId,omitempty"`
	To              string            `json:"to,omitempty"`
	ContentType     string            `json:"contentType,omitempty"`
	ContentEncoding string            `json:"contentEncoding,omitempty"`
	Ack             string            `json:"ack,omitempty"` // none, positive, negative, full
	Expires         time.Time         `json:"expiryTimeUtc,omitzero"`
	Properties      map[string]string `json:"properties,omitempty"`
	Body            string            `json:"body,omitempty"`
	Base64          string            `json:"bodyBase64,omitempty"`
}

// sentJSON is the answer: what the hub made of it.
type sentJSON struct {
	MessageID string    `json:"messageId"`
	Sequence  int64     `json:"sequenceNumber"`
	Enqueued  time.Time `json:"enqueuedTimeUtc"`
	Expires   time.Time `json:"expiryTimeUtc"`
}

func (j commandJSON) command() (hub.Command, error) {
	body := []byte(j.Body)
	if j.Base64 != "" {
		if j.Body != "" {
			return hub.Command{}, fault.New("httpdoor.command", fault.Invalid, "body and bodyBase64 are both given").Advise("give one of them")
		}
		var err error
		if body, err = base64.StdEncoding.DecodeString(j.Base64); err != nil {
			return hub.Command{}, fault.New("httpdoor.command", fault.Invalid, "bodyBase64 is not base64")
		}
	}
	return hub.Command{
		MessageID: j.MessageID, CorrelationID: j.CorrelationID, UserID: j.UserID, To: j.To, ContentType: j.ContentType, ContentEncoding: j.ContentEncoding,
		Ack: j.Ack, Expires: j.Expires, Properties: j.Properties, Body: body,
	}, nil
}

func sendCommand(x *exchange) error {
	var in commandJSON
	if err := x.decode(maxCommandBody, &in); err != nil {
		return err
	}
	c, err := in.command()
	if err == nil {
		c, err = x.hub.SendCommand(x.Context(), x.identity(), c)
	}
	if err != nil {
		return err
	}
	return x.replyWith(http.StatusCreated, sentJSON{c.MessageID, c.Sequence, c.Enqueued.UTC(), c.Expires.UTC()})
}

// purgedJSON is the answer to a purge.
type purgedJSON struct {
	Total  int     `json:"totalMessagesPurged"`
	Device string  `json:"deviceId"`
	Module *string `json:"moduleId"`
}

func purgeCommands(x *exchange) error {
	n, err := x.hub.PurgeCommands(x.Context(), x.identity())
	if err != nil {
		return err
	}
	return x.reply(purgedJSON{n, x.device, orNull(x.module)})
}
