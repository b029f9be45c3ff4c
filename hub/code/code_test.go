package code_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
)

func TestEveryKindHasACode(t *testing.T) {
	for _, k := range fault.Kinds() {
		c := code.Of(fault.New("x", k, "words"))
		if c.Name == "" || c.Status < 400 || c.Number < 400000 {
			t.Errorf("%v: %+v", k, c)
		}
		if c == code.ServerError && k != fault.Internal {
			t.Errorf("%v has no code of its own", k)
		}
	}
}

func TestCodesAreTold(t *testing.T) {
	seen := map[int]bool{}
	for _, c := range code.All() {
		if seen[c.Number] || c.Name == "" || c.Number/1000 != c.Status {
			t.Errorf("%+v", c)
		}
		seen[c.Number] = true
	}
}

func TestACodeChangesNothingElse(t *testing.T) {
	if code.With(nil, code.Throttled) != nil {
		t.Error("nothing became an error")
	}
	inner := fault.New("op", fault.NotFound, "it is not connected").Advise("switch it on")
	err := fmt.Errorf("outside: %w", code.With(inner, code.DeviceNotOnline))
	if code.Of(err) != code.DeviceNotOnline || fault.KindOf(err) != fault.NotFound || fault.Next(err) != "switch it on" || !errors.Is(err, inner) {
		t.Errorf("%v: %+v %v %q", err, code.Of(err), fault.KindOf(err), fault.Next(err))
	}
	if got := code.Of(code.With(err, code.Throttled)); got != code.Throttled {
		t.Errorf("the outer one counts, got %+v", got)
	}
}
