package bulk_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/simulate/bulk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func names(from, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("sim%06d", from+i)
	}
	return out
}

// client returns one of a real hub, with the rights of its owner.
func client(t *testing.T) *hubclient.Client {
	t.Helper()
	w := hubtest.Start(t, hubtest.Options{})
	text, err := w.Hub(hubtest.Contoso).PolicyConnectionString("iothubowner")
	if err != nil {
		t.Fatal(err)
	}
	cs, err := sas.ParseConnectionString(text)
	if err != nil {
		t.Fatal(err)
	}
	c, err := hubclient.New(hubclient.Config{Connection: cs, Address: w.HTTPS, Roots: w.Roots}, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestCreateAndDelete(t *testing.T) {
	c, ctx := client(t), t.Context()
	last := 0
	res, err := bulk.Create(ctx, c, names(1, 250), nil, func(n bulk.Counts) { last = n.All() })
	if err != nil || res.Counts != (bulk.Counts{Done: 250}) || last != 250 {
		t.Fatalf("%+v, %v, %d", res, err, last)
	}
	key := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))
	res, err = bulk.Create(ctx, c, names(201, 100), func(string) (*hubclient.Auth, error) {
		return &hubclient.Auth{Type: "sas", Keys: &hubclient.Keys{Primary: key, Secondary: key}}, nil
	}, nil)
	if err != nil || res.Counts != (bulk.Counts{Done: 50, Already: 50}) {
		t.Fatalf("%+v, %v", res, err)
	}
	if d, err := c.Device(ctx, "sim000300"); err != nil || d.Authentication.Keys.Primary != key {
		t.Errorf("%+v, %v", d, err)
	}
	res, err = bulk.Create(ctx, c, []string{"good", "not good"}, nil, nil)
	if err != nil || res.Counts != (bulk.Counts{Done: 1, Failed: 1}) || len(res.Failures) != 1 || res.Failures[0].Device != "not good" || !strings.Contains(fault.Message(res.Failures[0].Err), "holds ' '") {
		t.Errorf("%+v, %v", res, err)
	}
	res, err = bulk.Delete(ctx, c, names(1, 310), nil)
	if err != nil || res.Counts != (bulk.Counts{Done: 300, Already: 10}) {
		t.Errorf("%+v, %v", res, err)
	}
	if list, err := c.Devices(ctx, "", 100); err != nil || len(list) != 1 {
		t.Errorf("%d devices stay, %v", len(list), err)
	}
}

// broken fails from its third request on.
type broken struct {
	mu sync.Mutex
	n  int
}

var errBroken = errors.New("broken")

func (b *broken) Change(_ context.Context, changes []hubclient.Change) (map[string]error, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.n++; b.n > 2 {
		return nil, errBroken
	}
	return map[string]error{changes[0].ID: fault.New("", fault.Invalid, "no")}, nil
}

func TestAFailedRequestEndsItAll(t *testing.T) {
	res, err := bulk.Create(t.Context(), &broken{}, names(1, 1000), nil, nil)
	if !errors.Is(err, errBroken) || res.All() != 200 || res.Failed != 2 {
		t.Errorf("%+v, %v", res, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if res, err := bulk.Delete(ctx, &broken{}, names(1, 1000), nil); !errors.Is(err, context.Canceled) || res.All() != 0 {
		t.Errorf("%+v, %v", res, err)
	}
}
