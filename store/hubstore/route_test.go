package hubstore_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

func TestRoutingThroughItsLife(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		ctx := t.Context()
		s := open(t, dsn)
		write := func(fn func(tx *hubstore.Tx) error) error {
			return s.Write(ctx, fn)
		}
		want := hubstore.Routing{
			Endpoints:   []hubstore.Endpoint{{"cold", "storage", []byte(`{"bucket":"é"}`)}, {"hot", "stream", []byte(`{}`)}},
			Routes:      []hubstore.Route{{"a", "DeviceMessages", "x = 'y'", []string{"hot", "cold"}, true}, {"b", "TwinChangeEvents", "", []string{"cold"}, false}},
			Enrichments: []hubstore.Enrichment{{"site", "$twin.tags.site", []string{"hot"}}},
		}
		if err := write(func(tx *hubstore.Tx) error {
			for range 2 { // the second time they are changed to what they are
				for _, e := range want.Endpoints {
					if err := tx.SetEndpoint("h1", e); err != nil {
						return err
					}
				}
				for _, r := range want.Routes {
					if err := tx.SetRoute("h1", r); err != nil {
						return err
					}
				}
				for _, e := range want.Enrichments {
					if err := tx.SetEnrichment("h1", e); err != nil {
						return err
					}
				}
			}
			got, err := tx.Routing("h1")
			if !reflect.DeepEqual(got, want) {
				t.Errorf("the transaction sees %+v", got)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if got, err := open(t, dsn).Routing(ctx, "h1"); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("read back %+v, %v", got, err)
		}
		if got, err := s.Routing(ctx, "h2"); err != nil || len(got.Routes)+len(got.Endpoints)+len(got.Enrichments) > 0 {
			t.Errorf("another hub has %+v, %v", got, err)
		}
		if err := write(func(tx *hubstore.Tx) error {
			if err := tx.DeleteRoute("h1", "b"); err != nil {
				return err
			}
			if err := tx.DeleteEndpoint("h1", "cold"); err != nil {
				return err
			}
			return tx.DeleteEnrichment("h1", "site")
		}); err != nil {
			t.Error(err)
		}
		if got, err := s.Routing(ctx, "h1"); err != nil || len(got.Routes) != 1 || len(got.Endpoints) != 1 || len(got.Enrichments) != 0 {
			t.Errorf("what is left: %+v, %v", got, err)
		}
		for _, gone := range []func(tx *hubstore.Tx) error{
			func(tx *hubstore.Tx) error { return tx.DeleteRoute("h1", "b") },
			func(tx *hubstore.Tx) error { return tx.DeleteEndpoint("h2", "hot") },
			func(tx *hubstore.Tx) error { return tx.DeleteEnrichment("h1", "site") },
		} {
			if err := write(gone); fault.KindOf(err) != fault.NotFound {
				t.Error(err)
			}
		}
	})
}

func TestConsumerGroupsAndCursors(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		ctx := t.Context()
		s := open(t, dsn)
		now := time.UnixMilli(1_800_000_000_123).UTC()
		group := hubstore.ConsumerGroup{Endpoint: "events", Name: "Alerts", Created: now}
		create := func(tx *hubstore.Tx) error { return tx.CreateConsumerGroup("h1", group) }
		if err := s.Write(ctx, create); err != nil {
			t.Fatal(err)
		}
		if err := s.Write(ctx, create); fault.KindOf(err) != fault.Conflict {
			t.Errorf("twice: %v", err)
		}
		if got, err := s.ConsumerGroups(ctx, "h1", "events"); err != nil || !reflect.DeepEqual(got, []hubstore.ConsumerGroup{group}) {
			t.Errorf("%+v, %v", got, err)
		}
		want := []hubstore.Cursor{{"events", "Alerts", 0, 1 << 40, "me", now}, {"events", "Alerts", 3, 7, "", now}}
		if err := s.Write(ctx, func(tx *hubstore.Tx) error {
			if err := tx.SetCursor("h1", hubstore.Cursor{Endpoint: "events", Consumer: "Alerts", Partition: 0, Next: 1}); err != nil {
				return err
			}
			for _, c := range want {
				if err := tx.SetCursor("h1", c); err != nil {
					return err
				}
			}
			return tx.SetCursor("h1", hubstore.Cursor{Endpoint: "events", Consumer: "$Default", Partition: 0, Next: 9})
		}); err != nil {
			t.Fatal(err)
		}
		if got, err := open(t, dsn).Cursors(ctx, "h1", "events", "Alerts"); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v", got, err)
		}
		if err := s.Write(ctx, func(tx *hubstore.Tx) error { return tx.DeleteConsumerGroup("h1", "events", "Alerts") }); err != nil {
			t.Error(err)
		}
		if got, err := s.Cursors(ctx, "h1", "events", "Alerts"); err != nil || len(got) != 0 {
			t.Errorf("after the group is gone %+v, %v", got, err)
		}
		if got, err := s.Cursors(ctx, "h1", "events", "$Default"); err != nil || len(got) != 1 {
			t.Errorf("another's %+v, %v", got, err)
		}
		if err := s.Write(ctx, func(tx *hubstore.Tx) error { return tx.DeleteConsumerGroup("h1", "events", "Alerts") }); fault.KindOf(err) != fault.NotFound {
			t.Errorf("twice: %v", err)
		}
	})
}
