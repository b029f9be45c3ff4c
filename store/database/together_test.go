package database_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/isthmus-io/isthmus/store/database"
)

// TestTogether: many submit at once; those that fail undo their own work only, answers come in the order of submission, and nothing that
// was answered without an error is missing.
func TestTogether(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		db := open(t, dsn, library("CREATE TABLE things (id INTEGER NOT NULL PRIMARY KEY);"))
		boom := errors.New("boom")
		const n = 500
		var mu sync.Mutex
		var order []int
		var all sync.WaitGroup
		all.Add(n)
		for i := range n {
			db.Submit(t.Context(), func(s *database.Session) error {
				if _, err := s.Exec("INSERT INTO things (id) VALUES (?)", i); err != nil {
					return err
				}
				if i%7 == 0 {
					return boom
				}
				return nil
			}, func(err error) {
				defer all.Done()
				if got := errors.Is(err, boom); got != (i%7 == 0) || !got && err != nil {
					t.Errorf("%d: %v", i, err)
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
			})
		}
		all.Wait()
		for i, o := range order {
			if i != o {
				t.Fatalf("answer %d was that of %d", i, o)
			}
		}
		var count, failed int
		if _, err := db.Reading(t.Context()).Row([]any{&count, &failed}, "SELECT COUNT(*), COALESCE(SUM(CASE WHEN id % 7 = 0 THEN 1 ELSE 0 END), 0) FROM things"); err != nil {
			t.Fatal(err)
		}
		if count != n-(n+6)/7 || failed != 0 {
			t.Errorf("%d rows, %d of those that failed", count, failed)
		}
		told := false
		if err := db.Together(t.Context(), func(*database.Session) error { return boom }, func() { told = true }); !errors.Is(err, boom) || told {
			t.Errorf("%v, after was called: %v", err, told)
		}
		if err := db.Together(t.Context(), func(*database.Session) error { return nil }, func() { told = true }); err != nil || !told {
			t.Errorf("%v, after was called: %v", err, told)
		}
	})
}
