package httpdoor

import (
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock/clocktest"
	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/fault"
)

// Comparing and repeating what a stranger sends must cost little, however much he sends.
func TestLongNamesAreNotComparedNorRepeated(t *testing.T) {
	long := strings.Repeat("é", 100_000)
	var r control.EnrolRequest
	watch := clocktest.Start(t)
	err := decodeStrict([]byte(`{"`+long+`":1}`), &r, "")
	if fault.KindOf(err) != fault.Invalid || len(fault.Message(err)) > 400 || !strings.Contains(fault.Next(err), "fields here are") {
		t.Errorf("%.500s\nnext: %.500s", fault.Message(err), fault.Next(err))
	}
	_, err = decodeObject([]byte(`{"apiVersion":"isthmus/v1","kind":"`+long+`"}`), "objects[0]")
	if fault.KindOf(err) != fault.Invalid || len(fault.Message(err)) > 1200 {
		t.Errorf("%.500s", fault.Message(err))
	}
	if took := watch.Took(); took > time.Second {
		t.Errorf("it took %s", took)
	}
	if deep := strings.Repeat("[", 1<<20); fault.KindOf(decodeStrict([]byte(deep), &r, "")) != fault.Invalid {
		t.Error("a bottomless body is taken")
	}
}
