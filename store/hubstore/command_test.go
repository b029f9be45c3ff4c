package hubstore_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

func TestCommandsThroughTheirLife(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn), t.Context()
		d := device("a")
		now := d.Created
		write := func(fn func(tx *hubstore.Tx) error) error { return s.Write(ctx, fn) }
		full := hubstore.Command{
			Hub: "h1", To: d.Name(), MessageID: "m", CorrelationID: "c", UserID: "u", Recipient: "/Devices/a", ContentType: "t", ContentEncoding: "e", Ack: "full",
			Properties: map[string]string{"k": "v", "": "é"}, Enqueued: now, Expires: now.Add(time.Hour), Body: []byte{0, 1, 255},
		}
		empty := hubstore.Command{Hub: "h1", To: d.Name(), Enqueued: now, Expires: now.Add(time.Minute)}
		if err := write(func(tx *hubstore.Tx) error { return second(tx.InsertCommand(full)) }); fault.KindOf(err) != fault.NotFound {
			t.Errorf("for nobody: %v", err)
		}
		if err := write(func(tx *hubstore.Tx) error {
			if err := tx.Insert(d); err != nil {
				return err
			}
			for _, c := range []*hubstore.Command{&full, &empty} {
				var err error
				if c.Sequence, err = tx.InsertCommand(*c); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if full.Sequence != 1 || empty.Sequence != 2 { // what was undone left no gap
			t.Errorf("numbered %d and %d", full.Sequence, empty.Sequence)
		}
		if err := write(func(tx *hubstore.Tx) error {
			list, err := tx.Commands("h1", d.Name())
			if err != nil || len(list) != 2 {
				return fmt.Errorf("%d listed, %w", len(list), err)
			}
			for i, want := range []hubstore.Command{full, empty} {
				if err := tx.LoadCommand(&list[i]); err != nil {
					return err
				}
				if want.Body == nil {
					want.Body = list[i].Body
				}
				if len(list[i].Body) != len(want.Body) || !reflect.DeepEqual(list[i], want) {
					t.Errorf("read back %+v, want %+v", list[i], want)
				}
			}
			return tx.LoadCommand(&hubstore.Command{Hub: "h1", To: d.Name(), Sequence: 9})
		}); fault.KindOf(err) != fault.NotFound {
			t.Errorf("one that is not there: %v", err)
		}

		const mine = "00000000-0000-4000-"
		session := mine
		free := func(at time.Time) bool {
			ok, err := s.CommandFree(ctx, "h1", d.Name(), session, at)
			if err != nil {
				t.Error(err)
			}
			return ok
		}
		due := func(at time.Time) bool {
			ok, err := s.CommandsDue(ctx, "h1", at)
			if err != nil {
				t.Error(err)
			}
			return ok
		}
		lock := func(c hubstore.Command, name string, until time.Time) {
			c.Lock, c.LockedUntil, c.Deliveries = name, until, 3
			if err := write(func(tx *hubstore.Tx) error { return tx.LockCommand(c) }); err != nil {
				t.Fatal(err)
			}
		}
		if !free(now) || due(now) || !due(empty.Expires) {
			t.Error("two are free, one is due in a minute")
		}
		lock(full, "lent", now.Add(10*time.Second))
		lock(empty, mine+"x", time.Time{})
		if free(now) || !free(now.Add(10*time.Second)) || due(now.Add(9*time.Second)) || !due(now.Add(10*time.Second)) {
			t.Error("one is lent for 10 s, the other while a session lives")
		}
		for _, session = range []string{"", "00000000-0000-4001-"} {
			if !free(now) {
				t.Errorf("the session %q is another one", session)
			}
		}
		if n, err := s.CountCommands(ctx, "h1", d.Name()); n != 2 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if err := write(func(tx *hubstore.Tx) error {
			if list, err := tx.ExpiredCommands("h1", now.Add(time.Hour), 10); len(list) != 0 || err != nil {
				t.Errorf("expired though somebody has them: %+v, %v", list, err)
			}
			if list, err := tx.LapsedCommands("h1", now.Add(time.Hour), 10); len(list) != 1 || err != nil || list[0].Lock != "lent" || list[0].Deliveries != 3 {
				t.Errorf("lapsed: %+v, %v", list, err)
			}
			if c, err := tx.CommandByLock("h1", d.Name(), mine+"x"); err != nil || c == nil || c.Sequence != empty.Sequence {
				t.Errorf("by lock: %+v, %v", c, err)
			}
			for _, none := range []string{"", "else"} {
				if c, err := tx.CommandByLock("h1", d.Name(), none); c != nil || err != nil {
					t.Errorf("by lock %q: %+v, %v", none, c, err)
				}
			}
			if err := tx.FreeCommands("h1"); err != nil {
				return err
			}
			list, err := tx.ExpiredCommands("h1", now.Add(time.Hour), 10)
			if len(list) != 1 || list[0].Deliveries != 4 {
				t.Errorf("given back: %+v", list)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := write(func(tx *hubstore.Tx) error {
			if err := tx.DeleteCommand(empty); err != nil {
				return err
			}
			n, err := tx.CountCommands("h1", d.Name())
			if n != 1 {
				t.Errorf("%d left", n)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := write(func(tx *hubstore.Tx) error { return tx.Delete("h1", d.Name()) }); err != nil {
			t.Fatal(err)
		}
		if n, err := s.CountCommands(ctx, "h1", d.Name()); n != 0 || err != nil {
			t.Errorf("the queue outlived its device: %d, %v", n, err)
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestFeedbackThroughItsLife(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn), t.Context()
		now := device("a").Created
		write := func(fn func(tx *hubstore.Tx) error) {
			t.Helper()
			if err := s.Write(ctx, fn); err != nil {
				t.Fatal(err)
			}
		}
		add := func(id, to string, after time.Duration) {
			write(func(tx *hubstore.Tx) error {
				return tx.InsertFeedback(hubstore.Feedback{Hub: "h1", MessageID: id, Device: to, Status: "Success", Description: "well", Happened: now.Add(after), Expires: now.Add(after + time.Hour)})
			})
		}
		take := func(lock string, at time.Time, limit int) (ids string) {
			write(func(tx *hubstore.Tx) error {
				list, err := tx.LockFeedback("h1", lock, at, at.Add(time.Minute), limit)
				for _, f := range list {
					ids += fmt.Sprint(f.MessageID, f.Deliveries, " ")
					if f.Generation != "g" || f.Device != "a" || f.Status != "Success" || f.Description != "well" || !f.Expires.Equal(f.Happened.Add(time.Hour)) {
						t.Errorf("read back %+v", f)
					}
				}
				return err
			})
			return ids
		}
		write(func(tx *hubstore.Tx) error { return tx.Insert(device("a")) })
		for i, id := range []string{"x", "y", "z"} {
			add(id, "a", time.Duration(i)*time.Second)
		}
		add("nobody's", "b", 0)
		if n, oldest, err := s.FeedbackFree(ctx, "h1", now, 64); n != 3 || !oldest.Equal(now) || err != nil {
			t.Errorf("%d free since %v, %v", n, oldest, err)
		}
		if got := take("l1", now, 2); got != "x0 y0 " {
			t.Errorf("first %q", got)
		}
		if got := take("l2", now, 2); got != "z0 " {
			t.Errorf("second %q", got)
		}
		count := func(what string, want int64, fn func(tx *hubstore.Tx) (int64, error)) {
			t.Helper()
			write(func(tx *hubstore.Tx) error {
				n, err := fn(tx)
				if n != want {
					t.Errorf("%s: %d records, want %d", what, n, want)
				}
				return err
			})
		}
		count("another lock", 0, func(tx *hubstore.Tx) (int64, error) { return tx.DeleteFeedback("h1", "l3", now) })
		count("too late", 0, func(tx *hubstore.Tx) (int64, error) { return tx.DeleteFeedback("h1", "l1", now.Add(time.Minute)) })
		count("given back", 2, func(tx *hubstore.Tx) (int64, error) { return tx.FreeFeedback("h1", "l1", now, 3) })
		count("completed", 1, func(tx *hubstore.Tx) (int64, error) { return tx.DeleteFeedback("h1", "l2", now) })
		if got := take("l4", now, 2); got != "x1 y1 " {
			t.Errorf("again %q", got)
		}
		if got := take("l5", now.Add(time.Minute), 1); got != "x2 " { // the lock lapsed
			t.Errorf("lapsed %q", got)
		}
		count("dropped, and given back", 1, func(tx *hubstore.Tx) (int64, error) { return tx.FreeFeedback("h1", "l5", now.Add(time.Minute), 3) })
		due := func(at time.Time, deliveries int, keep int64) bool {
			ok, err := s.FeedbackDue(ctx, "h1", at, deliveries, keep)
			if err != nil {
				t.Error(err)
			}
			return ok
		}
		if due(now, 2, 9) || !due(now.Add(time.Minute), 2, 9) || !due(now.Add(time.Hour+time.Second), 9, 9) || due(now, 9, 1) || !due(now, 9, 0) {
			t.Error("due at the wrong time")
		}
		count("kept", 0, func(tx *hubstore.Tx) (int64, error) { return tx.DropFeedback("h1", now, 2, 9, 10) })
		for range 3 {
			add("w", "a", 0)
		}
		count("the oldest make room", 3, func(tx *hubstore.Tx) (int64, error) { return tx.DropFeedback("h1", now, 9, 1, 10) })
		count("expired", 0, func(tx *hubstore.Tx) (int64, error) { return tx.DropFeedback("h1", now.Add(time.Hour), 9, 9, 10) })
		if n, _, err := s.FeedbackFree(ctx, "h1", now, 64); n != 0 || err != nil {
			t.Errorf("%d left, %v", n, err)
		}
	})
}
