package code_test

import (
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
)

func TestEveryCodeHasACondition(t *testing.T) {
	for _, c := range code.All() {
		got := c.Condition()
		if !strings.HasPrefix(got, "amqp:") && !strings.HasPrefix(got, "com.microsoft:") {
			t.Errorf("%s: %q", c.Name, got)
		}
		if (got == "amqp:internal-error") != (c == code.ServerError) {
			t.Errorf("%s is told as %q", c.Name, got)
		}
	}
	for err, want := range map[error]string{
		fault.New("x", fault.NotFound, ""):                                             "amqp:not-found",
		fault.New("x", fault.Denied, ""):                                               "amqp:unauthorized-access",
		fault.New("x", fault.Expired, ""):                                              "amqp:unauthorized-access",
		fault.New("x", fault.TooLarge, ""):                                             "amqp:link:message-size-exceeded",
		fault.New("x", fault.Invalid, ""):                                              "com.microsoft:argument-error",
		fault.New("x", fault.Unavailable, ""):                                          "com.microsoft:timeout",
		code.With(fault.New("x", fault.Exhausted, ""), code.QueueDepthExceeded):        "amqp:resource-limit-exceeded",
		code.With(fault.New("x", fault.Exhausted, ""), code.Throttled):                 "com.microsoft:device-container-throttled",
		code.With(fault.New("x", fault.Precondition, ""), code.MessageLockLost):        "com.microsoft:message-lock-lost",
		code.With(fault.New("x", fault.Unauthenticated, ""), code.DeviceDisabled):      "amqp:unauthorized-access",
		code.With(fault.New("x", fault.Conflict, ""), code.LinkCreationConflict):       "amqp:link:stolen",
		code.With(fault.New("x", fault.NotFound, ""), code.DeviceNotOnline):            "amqp:not-found",
		code.With(fault.New("x", fault.Invalid, "not one of these"), code.ServerError): "amqp:internal-error",
	} {
		if got := code.Of(err).Condition(); got != want {
			t.Errorf("%v: %s, not %s", err, got, want)
		}
	}
}
