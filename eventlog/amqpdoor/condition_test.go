package amqpdoor

import (
	"errors"
	"testing"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

func TestEveryKindHasACondition(t *testing.T) {
	for _, k := range fault.Kinds() {
		a, ok := answers[k]
		if !ok || a.condition == "" || a.status < 400 || a.status > 599 {
			t.Errorf("%s: %+v", k, a)
		}
		if got := condition(fault.New("test", k, "words")); got.Condition != a.condition || got.Description == "" {
			t.Errorf("%s: %v", k, got)
		}
	}
	if len(answers) != len(fault.Kinds()) {
		t.Error("there are answers to kinds that are none")
	}
}

func TestCausesHaveConditionsOfTheirOwn(t *testing.T) {
	for err, want := range map[error]amqp.Symbol{
		fault.New("t", fault.Conflict, "w").Because(eventhub.ErrDisabled):        "com.microsoft:entity-disabled",
		fault.New("t", fault.Conflict, "w").Because(eventlog.ErrOutOfOrder):      "com.microsoft:out-of-order-sequence",
		fault.New("t", fault.Conflict, "w").Because(eventlog.ErrProducerFenced):  "com.microsoft:producer-epoch-stolen",
		fault.Wrap("t", fault.Internal, fault.New("t", fault.TooLarge, "w"), ""): "amqp:link:message-size-exceeded",
		amqp.Errorf("x:y", "z"):   "x:y",
		errors.New("our mistake"): "amqp:internal-error",
	} {
		if got := condition(err); got.Condition != want {
			t.Errorf("%v: %v", err, got)
		}
	}
	if d := condition(errors.New("secret")).Description; d == "secret" || d == "" {
		t.Errorf("a stranger is told %q", d)
	}
}
