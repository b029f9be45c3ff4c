package hubclient

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/hub/caller"
)

// Command is a cloud-to-device message.
type Command struct {
	MessageID       string            `json:"messageId,omitempty"`
	CorrelationID   string            `json:"correlationId,omitempty"`
	UserID          string            `json:"userId,omitempty"`
	ContentType     string            `json:"contentType,omitempty"`
	ContentEncoding string            `json:"contentEncoding,omitempty"`
	Ack             string            `json:"ack,omitempty"`          // none, positive, negative or full: the feedback that is wanted
	Expires         time.Time         `json:"expiryTimeUtc,omitzero"` // zero is what the hub's settings say
	Properties      map[string]string `json:"properties,omitempty"`
	Body            []byte            `json:"bodyBase64,omitempty"`
}

// Sent is what the hub made of it.
type Sent struct {
	MessageID string    `json:"messageId"`
	Sequence  int64     `json:"sequenceNumber"`
	Enqueued  time.Time `json:"enqueuedTimeUtc"`
	Expires   time.Time `json:"expiryTimeUtc"`
}

// SendCommand puts a message into the queue of a device or, named "device/module", of a module. Exhausted when the queue is full.
func (c *Client) SendCommand(ctx context.Context, name string, m Command) (Sent, error) {
	var out Sent
	err := c.call(ctx, http.MethodPost, identity("/isthmus/v1/devices/", name)+"/messages", nil, "", m, &out)
	return out, err
}

// PurgeCommands empties a queue and returns how many messages that were.
func (c *Client) PurgeCommands(ctx context.Context, name string) (int, error) {
	var out struct {
		Total int `json:"totalMessagesPurged"`
	}
	err := c.call(ctx, http.MethodDelete, identity("/devices/", name)+"/commands", nil, "", nil, &out)
	return out.Total, err
}

// Feedback tells what became of a message.
type Feedback struct {
	MessageID   string    `json:"originalMessageId"`
	Settled     time.Time `json:"enqueuedTimeUtc"`
	Status      string    `json:"statusCode"` // Success, Expired, DeliveryCountExceeded, Rejected or Purged
	Description string    `json:"description"`
	Device      string    `json:"deviceId"`
	Generation  string    `json:"deviceGenerationId"`
}

// ReceiveFeedback lends a batch of feedback for a minute; it is empty when there is none. CompleteFeedback takes it away, or it comes again.
func (c *Client) ReceiveFeedback(ctx context.Context) (batch []Feedback, lock string, err error) {
	answer, err := c.caller.Call(ctx, caller.Request{Method: http.MethodGet, Path: "/messages/serviceBound/feedback"}, &batch)
	if err != nil {
		return nil, "", err
	}
	return batch, strings.Trim(answer.Get("ETag"), `"`), nil
}

// CompleteFeedback takes a batch away. Precondition when its lock has lapsed.
func (c *Client) CompleteFeedback(ctx context.Context, lock string) error {
	return c.call(ctx, http.MethodDelete, "/messages/serviceBound/feedback/"+url.PathEscape(lock), nil, "", nil, nil)
}

// AbandonFeedback gives a batch back, to be received again at once.
func (c *Client) AbandonFeedback(ctx context.Context, lock string) error {
	return c.call(ctx, http.MethodPost, "/messages/serviceBound/feedback/"+url.PathEscape(lock)+"/abandon", nil, "", nil, nil)
}
