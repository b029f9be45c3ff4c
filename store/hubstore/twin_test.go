package hubstore_test

import (
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/twin"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

func TestATwinComesAndGoesWithItsIdentity(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn), t.Context()
		write := func(fn func(tx *hubstore.Tx) error) {
			t.Helper()
			if err := s.Write(ctx, fn); err != nil {
				t.Fatal(err)
			}
		}
		module := device("a")
		module.Module = "m"
		write(func(tx *hubstore.Tx) error {
			if err := tx.Insert(device("a")); err != nil {
				return err
			}
			return tx.Insert(module)
		})
		a := hubstore.Name{Device: "a"}
		first, err := s.Twin(ctx, "h1", a)
		if err != nil || first.Document != twin.New() || !first.Changed.Equal(device("a").Created) || first.Name != a || first.Hub != "h1" {
			t.Fatalf("%+v, %v", first, err)
		}
		after := first
		after.Document = twin.Document{
			Version: 5, Tags: `{"é":"\u0001"}`, Desired: twin.Part{Text: `{"a":1}`, Meta: "[1,2]", Version: 2}, Reported: twin.Part{Text: `{"b":1}`, Meta: "[3,0]", Version: 3},
		}
		after.Changed = first.Changed.Add(time.Second)
		write(func(tx *hubstore.Tx) error {
			if err := tx.SetModel("h1", a, "dtmi:x;1"); err != nil {
				return err
			}
			return tx.SetTwin(first, after)
		})
		after.Model = "dtmi:x;1"
		if got, err := open(t, dsn).Twin(ctx, "h1", a); err != nil || got != after {
			t.Errorf("read back %+v, %v", got, err)
		}
		if err := s.Write(ctx, func(tx *hubstore.Tx) error { return tx.SetTwin(first, after) }); fault.KindOf(err) != fault.Conflict {
			t.Errorf("a version that is gone: %v", err)
		}
		if got, err := s.Twin(ctx, "h1", module.Name()); err != nil || got.Document != twin.New() {
			t.Errorf("the module's: %+v, %v", got, err)
		}
		write(func(tx *hubstore.Tx) error { return tx.Delete("h1", a) })
		for _, n := range []hubstore.Name{a, module.Name()} {
			if _, err := s.Twin(ctx, "h1", n); fault.KindOf(err) != fault.NotFound {
				t.Errorf("%v outlived its identity: %v", n, err)
			}
		}
	})
}
