package hubstore_test

import (
	"testing"

	"github.com/isthmus-io/isthmus/store/hubstore"
)

func TestListeningGoesWithTheIdentity(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s := open(t, dsn)
		module := device("d")
		module.Module = "m"
		n := module.Name()
		write := func(fn func(tx *hubstore.Tx) error) {
			t.Helper()
			if err := s.Write(t.Context(), fn); err != nil {
				t.Fatal(err)
			}
		}
		wants := func(topic string) {
			t.Helper()
			if got, err := s.Listening(t.Context(), "h1", n); err != nil || got != topic {
				t.Errorf("it listens to %q, %v; want %q", got, err, topic)
			}
		}
		write(func(tx *hubstore.Tx) error { return tx.Insert(device("d")) })
		write(func(tx *hubstore.Tx) error { return tx.Insert(module) })
		wants("")
		for _, topic := range []string{"a", "b", "", "c"} {
			write(func(tx *hubstore.Tx) error { return tx.SetListening("h1", n, topic) })
			wants(topic)
		}
		write(func(tx *hubstore.Tx) error { return tx.Delete("h1", n) })
		write(func(tx *hubstore.Tx) error { return tx.Insert(module) })
		wants("")
		if err := s.Write(t.Context(), func(tx *hubstore.Tx) error { return tx.SetListening("h1", hubstore.Name{Device: "nobody"}, "a") }); err == nil {
			t.Error("an identity that is not there listens")
		}
	})
}
