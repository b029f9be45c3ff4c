package hubstore_test

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/database/databasetest"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

var server databasetest.Server

func TestMain(m *testing.M) { databasetest.Main(m, &server) }

func open(t *testing.T, dsn string) *hubstore.Store {
	t.Helper()
	s, err := hubstore.Open(t.Context(), hubstore.Config{DSN: dsn}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func device(id string) hubstore.Device {
	now := time.UnixMilli(1_800_000_000_123).UTC()
	return hubstore.Device{
		Hub: "h1", ID: id, Generation: "g", ETag: "e", Status: hubstore.Enabled, StatusReason: "why", StatusChanged: now, AuthType: "sas", PrimaryKey: "p", SecondaryKey: "s",
		PrimaryThumbprint: "tp", SecondaryThumbprint: "ts", Edge: true, Created: now,
	}
}

func TestDeviceThroughItsLife(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		ctx := t.Context()
		s := open(t, dsn)
		d := device("Sensor 'é' %_1")
		if err := s.Write(ctx, func(tx *hubstore.Tx) error { return tx.Insert(d) }); err != nil {
			t.Fatal(err)
		}
		again := open(t, dsn)
		if got, err := again.Device(ctx, "h1", d.Name()); err != nil || !reflect.DeepEqual(got, d) {
			t.Errorf("read back %+v, %v", got, err)
		}
		err := s.Write(ctx, func(tx *hubstore.Tx) error { return tx.Insert(d) })
		if fault.KindOf(err) != fault.Conflict {
			t.Errorf("twice: %v", err)
		}
		for _, other := range [][2]string{{"h2", d.ID}, {"h1", strings.ToLower(d.ID)}} {
			if _, err := s.Device(ctx, other[0], hubstore.Name{Device: other[1]}); fault.KindOf(err) != fault.NotFound {
				t.Errorf("%v: %v", other, err)
			}
		}
		seen := d.Created.Add(time.Hour)
		changed := d
		changed.Status, changed.ETag, changed.Edge, changed.LastActivity = hubstore.Disabled, "e2", false, seen.Add(time.Minute)
		if err := s.Write(ctx, func(tx *hubstore.Tx) error {
			if err := tx.Seen("h1", d.Name(), hubstore.Seen{Connected: true, Connection: seen, Activity: seen}); err != nil {
				return err
			}
			return tx.Replace(changed)
		}); err != nil {
			t.Fatal(err)
		}
		changed.Connected, changed.ConnectionChanged, changed.LastActivity = true, seen, seen
		if got, err := s.Device(ctx, "h1", d.Name()); err != nil || !reflect.DeepEqual(got, changed) {
			t.Errorf("after a change %+v, %v", got, err)
		}
		if total, disabled, err := s.Count(ctx, "h1"); total != 1 || disabled != 1 || err != nil {
			t.Errorf("count %d, %d, %v", total, disabled, err)
		}
		for range 2 {
			err = s.Write(ctx, func(tx *hubstore.Tx) error { return tx.Delete("h1", d.Name()) })
		}
		if fault.KindOf(err) != fault.NotFound {
			t.Errorf("deleted twice: %v", err)
		}
	})
}

func TestWriteIsAllOrNothing(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn), t.Context()
		boom := errors.New("boom")
		err := s.Write(ctx, func(tx *hubstore.Tx) error {
			if err := tx.Insert(device("a")); err != nil {
				return err
			}
			return boom
		})
		if !errors.Is(err, boom) {
			t.Error(err)
		}
		if _, err := s.Device(ctx, "h1", hubstore.Name{Device: "a"}); fault.KindOf(err) != fault.NotFound {
			t.Errorf("something is left: %v", err)
		}
	})
}

func TestListGoesByIDAndByPage(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn), t.Context()
		if err := s.Write(ctx, func(tx *hubstore.Tx) error {
			for i := range 25 {
				if err := tx.Insert(device(fmt.Sprintf("d%02d", 24-i))); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		var ids []string
		for {
			after := ""
			if len(ids) > 0 {
				after = ids[len(ids)-1]
			}
			page, err := s.Devices(ctx, "h1", after, 10)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range page {
				ids = append(ids, d.ID)
			}
			if len(page) < 10 {
				break
			}
		}
		if len(ids) != 25 || ids[0] != "d00" || ids[24] != "d24" {
			t.Errorf("ids %v", ids)
		}
	})
}

func TestPoliciesAreMadeOnce(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn), t.Context()
		first, err := s.EnsurePolicies(ctx, "h1", []hubstore.Policy{{Name: "a", Rights: 0x8000_0001, PrimaryKey: "one", SecondaryKey: "two"}})
		if err != nil {
			t.Fatal(err)
		}
		second, err := s.EnsurePolicies(ctx, "h1", []hubstore.Policy{{Name: "a", PrimaryKey: "other"}, {Name: "b", PrimaryKey: "b"}})
		if err != nil || len(second) != 2 || !reflect.DeepEqual(second[0], first[0]) || first[0].Rights != 0x8000_0001 {
			t.Errorf("%+v then %+v, %v", first, second, err)
		}
	})
}

func TestPolicyKeysAreReplaced(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn), t.Context()
		made := []hubstore.Policy{{Name: "a", Rights: 1, PrimaryKey: "one", SecondaryKey: "two"}, {Name: "b", PrimaryKey: "three", SecondaryKey: "four"}}
		for _, hub := range []string{"h1", "h2"} {
			if _, err := s.EnsurePolicies(ctx, hub, made); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Write(ctx, func(tx *hubstore.Tx) error { return tx.SetPolicyKeys("h1", "a", "five", "six") }); err != nil {
			t.Fatal(err)
		}
		for hub, want := range map[string]string{"h1": "five six three four", "h2": "one two three four"} {
			got, err := open(t, dsn).EnsurePolicies(ctx, hub, made)
			if err != nil || len(got) != 2 || strings.Join([]string{got[0].PrimaryKey, got[0].SecondaryKey, got[1].PrimaryKey, got[1].SecondaryKey}, " ") != want || got[0].Rights != 1 {
				t.Errorf("%s: %+v, %v", hub, got, err)
			}
		}
		err := s.Write(ctx, func(tx *hubstore.Tx) error { return tx.SetPolicyKeys("h1", "c", "x", "y") })
		if fault.KindOf(err) != fault.NotFound {
			t.Errorf("a policy that is not there: %v", err)
		}
	})
}
