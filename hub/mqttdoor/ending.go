package mqttdoor

import (
	"errors"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// ending says in words why a connection ended, for those who ask why a device is not there.
func ending(clean bool, cause hub.Cause, err error) string {
	switch {
	case clean:
		return "the device said DISCONNECT"
	case cause != 0:
		return cause.String()
	case silent(err):
		return "nothing came from the device for one and a half keep-alive times"
	case errors.Is(err, mqtt.ErrMalformed), errors.Is(err, mqtt.ErrVersion), errors.Is(err, mqtt.ErrTooLarge):
		return "the device broke the protocol: " + err.Error()
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Message
	}
	return "the connection broke off without a DISCONNECT"
}
