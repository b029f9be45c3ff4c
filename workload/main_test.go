package workload_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/workload"
	wt "github.com/isthmus-io/isthmus/workload/workloadtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const host = "lake.servicebus.example"

var start = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

// world is a deployment, with an agent that carries a bridge.
type world struct {
	*wt.Deployment
	clock *clock.Fake
	creds *identity.Credentials
}

func newWorld(t testing.TB) *world {
	t.Helper()
	clk := clock.NewFake(start)
	d := wt.New(t, clk)
	return &world{d, clk, d.Credentials(wt.Agent)}
}

func (w *world) verify(token string) (workload.Proof, error) {
	return w.Verifier.Verify(token, workload.AudienceEventHubs, host)
}
