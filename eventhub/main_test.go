package eventhub_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/eventhub/eventhubtest"
	"github.com/isthmus-io/isthmus/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t testing.TB) *eventhubtest.World {
	t.Helper()
	return eventhubtest.Start(t, eventhubtest.Options{})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused wants a fault of a kind.
func refused(t testing.TB, err error, kind fault.Kind, what string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Errorf("%s: %v, want a fault %s", what, err, kind)
	}
}
