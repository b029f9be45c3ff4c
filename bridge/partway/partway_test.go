package partway

import (
	"errors"
	"testing"

	"github.com/isthmus-io/isthmus/bridge/event"
)

func batch(from, n int) (out []*event.Event) {
	for i := range n {
		out = append(out, &event.Event{Origin: event.Origin{Partition: "0", Sequence: int64(from + i)}})
	}
	return out
}

func TestAccounts(t *testing.T) {
	away, large := errors.New("away"), errors.New("too large")
	var a Accounts
	first := batch(0, 4)
	b := a.Begin("0", first)
	b.Take(0)
	b.Refuse(1, large)
	b.Refuse(0, large) // which is taken
	if err := a.End("0", first, b, away); !errors.Is(err, away) {
		t.Fatal(err)
	}
	if c := a.Begin("1", first); c.Done(0) {
		t.Error("another lane has the account")
	}
	again := batch(0, 4) // the same events, wherever they are in memory
	c := a.Begin("0", again)
	if !c.Done(0) || !c.Done(1) || c.Done(2) || c.Done(3) {
		t.Error("the account is lost")
	}
	c.Take(2)
	c.Take(3)
	r, ok := errors.AsType[*event.Refused](a.End("0", again, c, nil))
	if !ok || len(r.At) != 1 || !errors.Is(r.At[1], large) {
		t.Errorf("%v", r)
	}
	if c := a.Begin("0", again); c.Done(0) {
		t.Error("the account outlives its batch")
	}
}

func TestAnAccountIsOfOneBatch(t *testing.T) {
	for name, other := range map[string][]*event.Event{"shorter": batch(0, 3), "longer": batch(0, 5), "later": batch(1, 4), "empty": nil} {
		var a Accounts
		first := batch(0, 4)
		b := a.Begin("0", first)
		b.Take(0)
		_ = a.End("0", first, b, errors.New("away"))
		if c := a.Begin("0", other); len(other) > 0 && c.Done(0) {
			t.Errorf("%s: it has the account of another", name)
		}
		if c := a.Begin("0", first); c.Done(0) {
			t.Errorf("%s: the account is there after another batch", name)
		}
	}
	var a Accounts
	first := batch(0, 2)
	if err := a.End("0", first, a.Begin("0", first), errors.New("away")); err == nil || len(a.lanes) != 0 {
		t.Error("an account of nothing is kept")
	}
}
