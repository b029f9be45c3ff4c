package hubstore_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

func write(t *testing.T, s *hubstore.Store, fn func(tx *hubstore.Tx) error) {
	t.Helper()
	if err := s.Write(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func TestUploads(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s := open(t, dsn)
		now := time.UnixMilli(1_800_000_000_000).UTC()
		upload := func(n int, device string, expires time.Time) hubstore.Upload {
			return hubstore.Upload{Hub: "h1", Correlation: fmt.Sprint("c", n), Device: device, Blob: fmt.Sprint(device, "/é", n), Started: now, Expires: expires}
		}
		write(t, s, func(tx *hubstore.Tx) error {
			for i := range 4 {
				if err := tx.InsertUpload(upload(i, "d", now.Add(time.Duration(i)*time.Minute))); err != nil {
					return err
				}
			}
			return tx.InsertUpload(upload(9, "other", now.Add(time.Hour)))
		})
		if got, err := s.Upload(t.Context(), "h1", "c3"); err != nil || !reflect.DeepEqual(got, upload(3, "d", now.Add(3*time.Minute))) {
			t.Errorf("read back %+v, %v", got, err)
		}
		if _, err := s.Upload(t.Context(), "h2", "c3"); fault.KindOf(err) != fault.NotFound {
			t.Errorf("of another hub: %v", err)
		}
		count := func() (n int) {
			write(t, s, func(tx *hubstore.Tx) (err error) { n, err = tx.CountUploads("h1", "d", now); return err })
			return n
		}
		if n := count(); n != 3 { // the first has expired
			t.Errorf("%d are open", n)
		}
		write(t, s, func(tx *hubstore.Tx) error {
			if err := tx.DeleteUpload("h1", "c0"); err != nil {
				return err
			}
			if err := tx.DeleteUpload("h1", "c0"); fault.KindOf(err) != fault.NotFound {
				t.Errorf("twice: %v", err)
			}
			n, err := tx.ExpireUploads(now.Add(2 * time.Minute))
			if n != 2 {
				t.Errorf("%d expired", n)
			}
			return err
		})
		if n := count(); n != 1 {
			t.Errorf("%d are left", n)
		}
		write(t, s, func(tx *hubstore.Tx) error { return tx.DeleteUploadsOf("h1", "d") })
		if _, err := s.Upload(t.Context(), "h1", "c9"); count() != 0 || err != nil {
			t.Errorf("%d of the device are left; the other's: %v", count(), err)
		}
	})
}

func TestFileNotifications(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s := open(t, dsn)
		now := time.UnixMilli(1_800_000_000_000).UTC()
		notification := func(n int, expires time.Duration) hubstore.FileNotification {
			return hubstore.FileNotification{
				Hub: "h1", Device: "d", BlobURI: fmt.Sprint("https://h/c/d/", n), BlobName: fmt.Sprint("d/", n), Updated: now, Size: 5 << 32, Enqueued: now, Expires: now.Add(expires),
			}
		}
		insert := func(n int, expires time.Duration) {
			write(t, s, func(tx *hubstore.Tx) error { return tx.InsertFileNotification(notification(n, expires)) })
		}
		lock := func(token string, at time.Time) (n hubstore.FileNotification, ok bool) {
			write(t, s, func(tx *hubstore.Tx) (err error) {
				n, ok, err = tx.LockFileNotification("h1", token, at, at.Add(time.Minute))
				return err
			})
			return n, ok
		}
		if _, ok := lock("l", now); ok {
			t.Error("there is one before any came")
		}
		insert(1, time.Hour)
		insert(2, time.Second)
		insert(3, time.Hour)
		want := notification(1, time.Hour)
		want.Sequence, want.Deliveries, want.Lock = 1, 1, "l1"
		if got, ok := lock("l1", now); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
		later := now.Add(2 * time.Second)
		if got, ok := lock("l3", later); !ok || got.BlobName != "d/3" { // the second's time is over
			t.Errorf("then %+v", got)
		}
		if got, ok := lock("l", later); ok {
			t.Errorf("and %+v, which somebody has", got)
		}
		write(t, s, func(tx *hubstore.Tx) error { return tx.AbandonFileNotification("h1", "l1", later) })
		if got, ok := lock("l4", later); !ok || got.BlobName != "d/1" || got.Deliveries != 2 {
			t.Errorf("given back: %+v", got)
		}
		for name, fn := range map[string]func(*hubstore.Tx) error{
			"an old lock completes": func(tx *hubstore.Tx) error { return tx.CompleteFileNotification("h1", "l1", later) },
			"no lock completes":     func(tx *hubstore.Tx) error { return tx.CompleteFileNotification("h1", "", later) },
			"an old lock abandons":  func(tx *hubstore.Tx) error { return tx.AbandonFileNotification("h1", "l1", later) },
			"a lock that ended":     func(tx *hubstore.Tx) error { return tx.CompleteFileNotification("h1", "l4", later.Add(time.Hour)) },
			"of another hub":        func(tx *hubstore.Tx) error { return tx.CompleteFileNotification("h2", "l4", later) },
		} {
			if err := s.Write(t.Context(), fn); fault.KindOf(err) != fault.NotFound {
				t.Errorf("%s: %v", name, err)
			}
		}
		write(t, s, func(tx *hubstore.Tx) error { return tx.CompleteFileNotification("h1", "l4", later) })
		if got, ok := lock("l5", later.Add(2*time.Minute)); !ok || got.BlobName != "d/3" { // its lock ended
			t.Errorf("after the lock's end %+v", got)
		}
		for i := range 5 {
			insert(10+i, time.Hour)
		}
		write(t, s, func(tx *hubstore.Tx) error {
			n, err := tx.ExpireFileNotifications(later)
			if n != 1 {
				t.Errorf("%d expired", n)
			}
			return err
		})
		write(t, s, func(tx *hubstore.Tx) error { _, err := tx.TrimFileNotifications("h1", 2); return err })
		if n, err := s.CountFileNotifications(t.Context(), "h1"); n != 2 || err != nil {
			t.Errorf("%d are left, %v", n, err)
		}
		if got, ok := lock("l6", later); !ok || got.BlobName != "d/13" {
			t.Errorf("the newest stay, got %+v", got)
		}
	})
}

func TestEnsureSetting(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s := open(t, dsn)
		for _, value := range []string{`"first"`, `"second"`} {
			if got, err := s.EnsureSetting(t.Context(), "h1", "key", []byte(value)); err != nil || string(got) != `"first"` {
				t.Errorf("got %s, %v", got, err)
			}
		}
		if got, err := s.EnsureSetting(t.Context(), "h2", "key", []byte("2")); err != nil || string(got) != "2" {
			t.Errorf("another hub's: %s, %v", got, err)
		}
	})
}
