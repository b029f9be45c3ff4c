package provisioningstore_test

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/database/databasetest"
	"github.com/isthmus-io/isthmus/store/hubstore"
	ps "github.com/isthmus-io/isthmus/store/provisioningstore"
)

var server databasetest.Server

func TestMain(m *testing.M) { databasetest.Main(m, &server) }

var now = time.UnixMilli(1_800_000_000_123).UTC()

func open(t *testing.T, dsn string) *ps.Store {
	t.Helper()
	s, err := ps.Open(t.Context(), ps.Config{DSN: dsn}, slog.New(slog.DiscardHandler))
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

func write(t *testing.T, s *ps.Store, fn func(tx *ps.Tx) error) error {
	t.Helper()
	return s.Write(t.Context(), fn)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAServiceIsMadeOnce(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn), t.Context()
		first := ps.Service{ID: "s1", Scope: "0ne00000001", Secret: "one", Created: now}
		policies := []ps.Policy{{Name: "b", Rights: 0x8000_0001, PrimaryKey: "p", SecondaryKey: "q"}, {Name: "a", Rights: 1, PrimaryKey: "r"}}
		got, have, err := s.Ensure(ctx, first, policies)
		if err != nil || !reflect.DeepEqual(got, first) || len(have) != 2 || have[0].Name != "a" || have[1].Rights != 0x8000_0001 || have[1].Service != "s1" {
			t.Fatalf("%+v, %+v, %v", got, have, err)
		}
		again, have, err := open(t, dsn).Ensure(ctx, ps.Service{ID: "s1", Scope: "0ne00000002", Secret: "two"}, []ps.Policy{{Name: "a", PrimaryKey: "new"}, {Name: "c", PrimaryKey: "c"}})
		if err != nil || !reflect.DeepEqual(again, first) || len(have) != 3 || have[0].PrimaryKey != "r" {
			t.Errorf("%+v, %+v, %v", again, have, err)
		}
		if _, _, err := s.Ensure(ctx, ps.Service{ID: "s2", Scope: "0ne00000001", Secret: "x"}, nil); fault.KindOf(err) != fault.Conflict {
			t.Errorf("a scope that is taken: %v", err)
		}
		must(t, write(t, s, func(tx *ps.Tx) error { return tx.SetPolicyKeys("s1", "a", "x", "y") }))
		if err := write(t, s, func(tx *ps.Tx) error { return tx.SetPolicyKeys("s1", "nobody", "x", "y") }); fault.KindOf(err) != fault.NotFound {
			t.Error(err)
		}
		for i := range 3 {
			if n, err := s.Revision(ctx, "s1"); err != nil || n != int64(i) {
				t.Errorf("revision %d, %v", n, err)
			}
			must(t, write(t, s, func(tx *ps.Tx) error { return tx.Touch("s1") }))
		}
	})
}

func TestEnrollments(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn), t.Context()
		e := ps.Enrollment{Service: "s1", Kind: ps.Individual, ID: "d", ETag: "e", Document: []byte(`{"é":"'\\"}`), Created: now, Updated: now}
		group := e
		group.Kind = ps.Group
		must(t, write(t, s, func(tx *ps.Tx) error {
			for i := range 25 {
				other := e
				other.ID = fmt.Sprintf("x%02d", 24-i)
				if err := tx.PutEnrollment(other); err != nil {
					return err
				}
			}
			return errors.Join(tx.PutEnrollment(e), tx.PutEnrollment(group))
		}))
		if got, err := open(t, dsn).Enrollment(ctx, "s1", ps.Individual, "d"); err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%+v, %v", got, err)
		}
		for _, c := range [][2]string{{"s2", "d"}, {"s1", "D"}} {
			if _, err := s.Enrollment(ctx, c[0], ps.Individual, c[1]); fault.KindOf(err) != fault.NotFound {
				t.Errorf("%v: %v", c, err)
			}
		}
		page, err := s.Enrollments(ctx, "s1", ps.Individual, "x03", 10)
		if err != nil || len(page) != 10 || page[0].ID != "x04" || page[9].ID != "x13" {
			t.Errorf("%d, %v", len(page), err)
		}
		changed := e
		changed.ETag, changed.Document, changed.Updated = "f", []byte(`{}`), now.Add(time.Hour)
		must(t, write(t, s, func(tx *ps.Tx) error {
			again := changed
			again.Created = now.Add(time.Hour) // stays what it was
			if n, err := tx.CountEnrollments("s1", ps.Group); n != 1 || err != nil {
				t.Errorf("%d groups, %v", n, err)
			}
			seen := 0
			if err := tx.EachGroup("s1", func(g ps.Enrollment) error { seen++; return nil }); err != nil || seen != 1 {
				t.Errorf("%d groups, %v", seen, err)
			}
			return tx.PutEnrollment(again)
		}))
		if got, err := s.Enrollment(ctx, "s1", ps.Individual, "d"); err != nil || !reflect.DeepEqual(got, changed) {
			t.Errorf("%+v, %v", got, err)
		}
		boom := errors.New("boom")
		err = write(t, s, func(tx *ps.Tx) error { return errors.Join(tx.DeleteEnrollment("s1", ps.Individual, "d"), boom) })
		if _, rerr := s.Enrollment(ctx, "s1", ps.Individual, "d"); !errors.Is(err, boom) || rerr != nil {
			t.Errorf("a function that failed left something: %v, %v", err, rerr)
		}
		must(t, write(t, s, func(tx *ps.Tx) error { return tx.DeleteEnrollment("s1", ps.Individual, "d") }))
		if err := write(t, s, func(tx *ps.Tx) error { return tx.DeleteEnrollment("s1", ps.Individual, "d") }); fault.KindOf(err) != fault.NotFound {
			t.Error(err)
		}
		if _, err := s.Enrollment(ctx, "s1", ps.Group, "d"); err != nil {
			t.Errorf("the group went with it: %v", err)
		}
	})
}

func TestRegistrations(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn), t.Context()
		r := ps.Registration{Service: "s1", ID: "d", Group: "g", ETag: "e", Operation: "5.x", Status: "assigning", Document: []byte(`{"a":1}`), Created: now, Updated: now}
		must(t, write(t, s, func(tx *ps.Tx) error { return tx.PutRegistration(r) }))
		r.Status, r.ETag, r.Updated = "assigned", "f", now.Add(time.Second)
		must(t, write(t, s, func(tx *ps.Tx) error { return tx.PutRegistration(r) }))
		if got, err := s.Registration(ctx, "s1", "d"); err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%+v, %v", got, err)
		}
		for group, want := range map[string]int{"g": 1, "": 0, "h": 0} {
			if list, err := s.Registrations(ctx, "s1", group, "", 10); err != nil || len(list) != want {
				t.Errorf("%q: %d, %v", group, len(list), err)
			}
		}
		must(t, write(t, s, func(tx *ps.Tx) error { return tx.DeleteRegistration("s1", "d") }))
		if err := write(t, s, func(tx *ps.Tx) error { return tx.DeleteRegistration("s1", "d") }); fault.KindOf(err) != fault.NotFound {
			t.Error(err)
		}
	})
}

func TestHubsAndCertificates(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn), t.Context()
		a := ps.LinkedHub{Service: "s1", HostName: "z", Connection: "secret", Weight: 3, Created: now}
		b := ps.LinkedHub{Service: "s1", HostName: "a", Weight: 0, Created: now.Add(time.Second)}
		c := ps.Certificate{Service: "s1", Name: "ca", ETag: "e", DER: []byte{0, 1, 255}, Verified: true, Code: "x", Created: now, Updated: now}
		must(t, write(t, s, func(tx *ps.Tx) error {
			return errors.Join(tx.PutLinkedHub(b), tx.PutLinkedHub(a), tx.PutCertificate(c))
		}))
		if got, err := s.LinkedHubs(ctx, "s1"); err != nil || !reflect.DeepEqual(got, []ps.LinkedHub{a, b}) {
			t.Errorf("%+v, %v", got, err)
		}
		if got, err := s.Certificates(ctx, "s1"); err != nil || !reflect.DeepEqual(got, []ps.Certificate{c}) {
			t.Errorf("%+v, %v", got, err)
		}
		must(t, write(t, s, func(tx *ps.Tx) error {
			if n, err := tx.CountCertificates("s1"); n != 1 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			if got, err := tx.Certificate("s1", "ca"); err != nil || !reflect.DeepEqual(got, c) {
				t.Errorf("%+v, %v", got, err)
			}
			return errors.Join(tx.DeleteLinkedHub("s1", "z"), tx.DeleteCertificate("s1", "ca"))
		}))
		for name, try := range map[string]func(tx *ps.Tx) error{
			"hub": func(tx *ps.Tx) error { return tx.DeleteLinkedHub("s1", "z") }, "certificate": func(tx *ps.Tx) error { return tx.DeleteCertificate("s1", "ca") },
			"reading": func(tx *ps.Tx) error { _, err := tx.Certificate("s1", "ca"); return err },
		} {
			if err := write(t, s, try); fault.KindOf(err) != fault.NotFound {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// A hub's devices and a service's enrollments may be in one database.
func TestItSharesADatabaseWithTheHub(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		h, err := hubstore.Open(t.Context(), hubstore.Config{DSN: dsn}, slog.New(slog.DiscardHandler))
		must(t, err)
		defer h.Close()
		if _, _, err := open(t, dsn).Ensure(t.Context(), ps.Service{ID: "s", Scope: "0ne", Secret: "x"}, nil); err != nil {
			t.Error(err)
		}
		if _, err := h.EnsurePolicies(t.Context(), "hub", []hubstore.Policy{{Name: "a"}}); err != nil {
			t.Error(err)
		}
	})
}
