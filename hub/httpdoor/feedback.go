package httpdoor

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/isthmus-io/isthmus/fault"
)

// feedbackType is what a batch of feedback is called (IoT Hub: message feedback).
const feedbackType = "application/vnd.microsoft.iothub.feedback.json"

func receiveFeedback(x *exchange) error {
	b, err := x.hub.ReceiveFeedback(x.Context(), 0)
	if err != nil {
		return err
	}
	if b == nil {
		return x.nothing()
	}
	text, err := json.Marshal(b.Records)
	if err != nil {
		return fault.Wrap("httpdoor.receiveFeedback", fault.Internal, err, "")
	}
	x.setETag(b.Lock)
	h := x.w.Header()
	h["iothub-lockeduntil"] = []string{headerTime(b.Until)}
	h["iothub-userid"] = []string{x.hub.HostName()}
	h.Set("Content-Type", feedbackType)
	x.w.WriteHeader(http.StatusOK)
	_, _ = x.w.Write(text) // a client that went gets it again
	return nil
}

func completeFeedback(x *exchange) error { return x.settleFeedback(x.hub.CompleteFeedback) }
func abandonFeedback(x *exchange) error  { return x.settleFeedback(x.hub.AbandonFeedback) }

func (x *exchange) settleFeedback(settle func(context.Context, string) error) error {
	lock, err := x.lockOf()
	if err == nil {
		err = settle(x.Context(), lock)
	}
	if err != nil {
		return err
	}
	return x.nothing()
}
