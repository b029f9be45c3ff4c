package hubstore_test

import (
	"maps"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/store/hubstore"
)

func TestCommandsAreCountedForMany(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s := open(t, dsn)
		if err := s.Write(t.Context(), func(tx *hubstore.Tx) error {
			for i, n := range []hubstore.Name{{Device: "a"}, {Device: "b"}, {Device: "b", Module: "m"}, {Device: "B"}, {Device: "c"}, {Device: "d"}} {
				d := device(n.Device)
				d.Module = n.Module
				if err := tx.Insert(d); err != nil {
					return err
				}
				for range i {
					if _, err := tx.InsertCommand(hubstore.Command{Hub: d.Hub, To: n, Expires: time.Now().Add(time.Hour)}); err != nil {
						return err
					}
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		got, err := s.CountCommandsOf(t.Context(), device("").Hub, "a", "c")
		if want := map[hubstore.Name]int{{Device: "b"}: 1, {Device: "b", Module: "m"}: 2, {Device: "c"}: 4}; err != nil || !maps.Equal(got, want) {
			t.Errorf("%v, %v, want %v", got, err, want)
		}
	})
}
