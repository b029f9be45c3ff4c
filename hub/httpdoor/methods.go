package httpdoor

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
)

const (
	maxMethodBody = 256 << 10
	answerIn      = 30 * time.Second // unless the caller says otherwise
	mostTimeout   = 5 * time.Minute  // IoT Hub: direct methods, 300 s for either
)

// methodJSON asks for a method; payload absent is none, and null is null.
type methodJSON struct {
	MethodName string          `json:"methodName"`
	Payload    json.RawMessage `json:"payload"`
	Response   *float64        `json:"responseTimeoutInSeconds"`
	Connect    *float64        `json:"connectTimeoutInSeconds"`
}

type methodAnswerJSON struct {
	Status  int             `json:"status"`
	Payload json.RawMessage `json:"payload"`
}

func invokeMethod(x *exchange) error {
	var in methodJSON
	if err := x.decode(maxMethodBody, &in); err != nil {
		return err
	}
	r := hub.MethodRequest{Name: in.MethodName, Payload: in.Payload}
	var err error
	if r.Response, err = timeout("responseTimeoutInSeconds", in.Response, answerIn); err != nil {
		return err
	}
	if r.Connect, err = timeout("connectTimeoutInSeconds", in.Connect, 0); err != nil {
		return err
	}
	out, err := x.invoke(r)
	if err != nil {
		return err
	}
	answer := methodAnswerJSON{out.Status, out.Payload}
	if len(answer.Payload) == 0 {
		answer.Payload = json.RawMessage("null")
	}
	return x.reply(answer)
}

// invoke calls a method of the identity in the path.
func (x *exchange) invoke(r hub.MethodRequest) (hub.MethodResponse, error) {
	if r.Name == "" {
		return hub.MethodResponse{}, code.With(fault.New("httpdoor.invoke", fault.Invalid, "methodName is missing"), code.ArgumentNull)
	}
	out, err := x.hub.InvokeMethod(x.Context(), x.identity(), r)
	x.patience = r.Response
	if code.Of(err) == code.DeviceNotOnline {
		x.patience = r.Connect
	}
	return out, err
}

func timeout(name string, seconds *float64, otherwise time.Duration) (time.Duration, error) {
	if seconds == nil {
		return otherwise, nil
	}
	if !(*seconds >= 0 && *seconds <= mostTimeout.Seconds()) {
		return 0, fault.Newf("httpdoor.timeout", fault.Invalid, "%s is %g", name, *seconds).Advise("it is a number of seconds, from 0 to %g", mostTimeout.Seconds())
	}
	return time.Duration(*seconds * float64(time.Second)), nil
}

// timeoutOf reads a timeout from the query.
func (x *exchange) timeoutOf(name string, otherwise time.Duration) (time.Duration, error) {
	s := x.URL.Query().Get(name)
	if s == "" {
		return otherwise, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, fault.Newf("httpdoor.timeout", fault.Invalid, "%s is %.20q", name, s).Advise("it is a number of seconds")
	}
	return timeout(name, &f, otherwise)
}
