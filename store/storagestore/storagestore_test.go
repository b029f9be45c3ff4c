package storagestore_test

import (
	"errors"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/database/databasetest"
	"github.com/isthmus-io/isthmus/store/hubstore"
	ss "github.com/isthmus-io/isthmus/store/storagestore"
)

var server databasetest.Server

func TestMain(m *testing.M) { databasetest.Main(m, &server) }

var now = time.UnixMilli(1_800_000_000_123).UTC()

func open(t *testing.T, dsn string) *ss.Store {
	t.Helper()
	s, err := ss.Open(t.Context(), ss.Config{DSN: dsn}, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func blob(name, content string) ss.Blob {
	return ss.Blob{
		Container: "aggregates", Name: name, ETag: "0x1", Created: now, Modified: now.Add(time.Second), Size: 7, Content: content,
		Properties: ss.Properties{ContentType: "text/plain", MD5: []byte{1, 2}, Metadata: map[string]string{"a": "ü"}, Copied: &ss.Copied{ID: "i", Source: "s", At: now}},
		Lease:      ss.Lease{ID: "l", Seconds: 15, Until: now.Add(time.Minute), Breaking: true},
	}
}

// What was written is what another process reads.
func TestRows(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn), t.Context()
		a, err := s.Ensure(ctx, ss.Account{ID: "a1", Created: now, PrimaryKey: "p", SecondaryKey: "q"})
		must(t, err)
		again, err := s.Ensure(ctx, ss.Account{ID: "a1", Created: now.Add(1), PrimaryKey: "x", SecondaryKey: "y"})
		if err != nil || again != a || a.PrimaryKey != "p" || !a.Created.Equal(now) {
			t.Errorf("%+v, %v", again, err)
		}
		must(t, s.Write(ctx, func(tx *ss.Tx) error { return tx.SetKeys(ss.Account{ID: "a1", PrimaryKey: "n", SecondaryKey: "q"}) }))
		if err := s.Write(ctx, func(tx *ss.Tx) error { return tx.SetKeys(ss.Account{ID: "a2"}) }); fault.KindOf(err) != fault.NotFound {
			t.Error(err)
		}
		c := ss.Container{Name: "aggregates", Incarnation: "i1", ETag: "0x9", Modified: now, Metadata: map[string]string{"k": "v"}, Declared: true}
		small := blob("small", "")
		small.Small = []byte{0, 1, 255}
		empty := ss.Blob{Container: "aggregates", Name: "empty", ETag: "0x2", Created: now, Modified: now}
		must(t, s.Write(ctx, func(tx *ss.Tx) error {
			return errors.Join(tx.PutContainer("a1", c), tx.PutBlob("a1", blob("d/1", "c1"), now), tx.PutBlob("a1", small, now), tx.PutBlob("a1", empty, now), tx.PutBlob("a2", blob("d/1", "c9"), now))
		}))
		tx := open(t, dsn).Reading(ctx)
		if got, ok, err := tx.Container("a1", "aggregates"); err != nil || !ok || !reflect.DeepEqual(got, c) {
			t.Errorf("%+v, %v", got, err)
		}
		for _, want := range []ss.Blob{blob("d/1", "c1"), small, empty} {
			got, ok, err := tx.Blob("a1", "aggregates", want.Name)
			if len(got.Small) == 0 {
				got.Small = nil
			}
			if err != nil || !ok || !reflect.DeepEqual(got, want) {
				t.Errorf("%+v, %v", got, err)
			}
		}
		if _, ok, err := tx.Blob("a1", "aggregates", "none"); ok || err != nil {
			t.Errorf("%v, %v", ok, err)
		}
		if n, bytes, err := tx.Usage("a1"); n != 3 || bytes != 14 || err != nil {
			t.Errorf("%d, %d, %v", n, bytes, err)
		}
		var names []string
		list, err := tx.Blobs("a1", "aggregates", "", "e", 2)
		must(t, err)
		for _, b := range list {
			names = append(names, b.Name)
		}
		if !reflect.DeepEqual(names, []string{"empty", "small"}) {
			t.Errorf("%v", names)
		}
		if list, err := tx.Blobs("a1", "aggregates", "d/", "", 9); err != nil || len(list) != 1 {
			t.Errorf("%d, %v", len(list), err)
		}
	})
}

// A content is garbage when the last blob that has it goes, and not before.
func TestGarbage(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn), t.Context()
		write := func(fn func(tx *ss.Tx) error) { t.Helper(); must(t, s.Write(ctx, fn)) }
		garbage := func(want ...string) {
			t.Helper()
			list, err := s.Reading(ctx).Garbage(now, 10)
			var got []string
			for _, g := range list {
				got = append(got, g.Content)
			}
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%v, want %v: %v", got, want, err)
			}
		}
		write(func(tx *ss.Tx) error { return tx.Discard("a", "c1", now) }) // it is being written
		garbage("c1")
		write(func(tx *ss.Tx) error {
			return errors.Join(tx.PutBlocks("a", "c1", []byte("b")), tx.PutBlob("a", blob("1", "c1"), now))
		})
		garbage()
		other := blob("1", "c1")
		other.Container = "other"
		write(func(tx *ss.Tx) error {
			return errors.Join(tx.PutBlob("a", blob("2", "c1"), now), tx.PutBlob("a", other, now))
		})
		write(func(tx *ss.Tx) error { return tx.DeleteBlob("a", "aggregates", "1", now) })
		garbage()
		write(func(tx *ss.Tx) error { return tx.PutBlob("a", blob("2", "c2"), now) })
		garbage()
		write(func(tx *ss.Tx) error {
			_, _, err := tx.DeleteContainer("a", "aggregates", now)
			return err
		})
		garbage("c2")
		write(func(tx *ss.Tx) error {
			blobs, bytes, err := tx.DeleteContainer("a", "other", now.Add(-time.Second))
			if blobs != 1 || bytes != 7 {
				t.Errorf("%d, %d", blobs, bytes)
			}
			return err
		})
		garbage("c1", "c2")
		if list, err := s.Reading(ctx).Garbage(now.Add(-time.Second), 10); err != nil || len(list) != 1 {
			t.Errorf("%v, %v", list, err)
		}
		if b, err := s.Reading(ctx).Blocks("a", "c1"); err != nil || string(b) != "b" {
			t.Errorf("%q, %v", b, err)
		}
		write(func(tx *ss.Tx) error {
			return tx.Forget([]ss.Garbage{{Account: "a", Content: "c1"}, {Account: "a", Content: "c2"}})
		})
		garbage()
		if b, err := s.Reading(ctx).Blocks("a", "c1"); err != nil || b != nil {
			t.Errorf("%q, %v", b, err)
		}
		if err := s.Write(ctx, func(tx *ss.Tx) error { return tx.DeleteBlob("a", "aggregates", "1", now) }); fault.KindOf(err) != fault.NotFound {
			t.Error(err)
		}
	})
}

func TestAfter(t *testing.T) {
	for prefix, want := range map[string]string{"a": "b", "a/": "a0", "a\uD7FF": "a\uE000", "a\U0010FFFF": "b", "\U0010FFFF": "", "": "", "ü": "ý", "\x7f": "\u0080"} {
		got, ok := ss.After(prefix)
		if got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", prefix, got, ok)
		}
		if ok && !(prefix < got && prefix+"\U0010FFFF\U0010FFFF" < got) {
			t.Errorf("%q is not after everything that begins with %q", got, prefix)
		}
	}
}

// The tables stand beside a hub's in one database.
func TestBesideAHub(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		h, err := hubstore.Open(t.Context(), hubstore.Config{DSN: dsn}, slog.New(slog.DiscardHandler))
		must(t, err)
		defer h.Close()
		_, err = open(t, dsn).Ensure(t.Context(), ss.Account{ID: "a", Created: now})
		must(t, err)
	})
}
