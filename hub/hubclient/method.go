package hubclient

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
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
	err := c.callFor(ctx, requestLimit+m.Response+m.Connect, http.MethodPost, identity("/twins/", name)+"/methods", nil, "", struct {
		Name     string          `json:"methodName"`
		Payload  json.RawMessage `json:"payload,omitempty"`
		Response float64         `json:"responseTimeoutInSeconds"`
		Connect  float64         `json:"connectTimeoutInSeconds"`
	}{m.Name, m.Payload, m.Response.Seconds(), m.Connect.Seconds()}, &out)
	return out, err
}
