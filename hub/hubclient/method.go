package hubclient

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/isthmus-io/isthmus/hub/caller"
)

// Method is what a device is asked to do.
type Method struct {
	Name     string
	Payload  json.RawMessage // nil for none
	Response time.Duration   // how long the device may take, 5 s to 5 min; 0 is 30 s
	Connect  time.Duration   // how long to wait for a device that is not there, up to 5 min
}

// Answer is what a device answered.
type Answer struct {
	Status  int             `json:"status"`
	Payload json.RawMessage `json:"payload"`
}

// Invoke calls a method of a device or, named "device/module", of a module, and waits for the answer. NotFound with code.DeviceNotOnline,
// Timeout with code.DeviceDidNotAnswer.
func (c *Client) Invoke(ctx context.Context, name string, m Method) (Answer, error) {
	if m.Response == 0 {
		m.Response = 30 * time.Second
	}
	var out Answer
	in := struct {
		Name     string          `json:"methodName"`
		Payload  json.RawMessage `json:"payload,omitempty"`
		Response float64         `json:"responseTimeoutInSeconds"`
		Connect  float64         `json:"connectTimeoutInSeconds"`
	}{m.Name, m.Payload, m.Response.Seconds(), m.Connect.Seconds()}
	_, err := c.caller.Call(ctx, caller.Request{
		Method: http.MethodPost, Path: identity("/twins/", name) + "/methods", Body: in, Patience: caller.Patience + m.Response + m.Connect,
	}, &out)
	return out, err
}
