package database_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/database"
)

func TestOneStatementManyTimesInATransaction(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		db := open(t, dsn, library(shelves))
		const one, below = "SELECT id FROM shelves WHERE id = ?", "SELECT id FROM shelves WHERE id < ? ORDER BY id"
		var got []string
		if err := db.Write(t.Context(), func(s *database.Session) error {
			for i := range 40 { // more than are kept, beside those that are
				if _, err := s.Exec("INSERT INTO shelves (id) VALUES (?)", fmt.Sprintf("s%02d", i)); err != nil {
					return err
				}
				var id string
				if ok, err := s.Row([]any{&id}, one, fmt.Sprintf("s%02d", i)); !ok || err != nil || id != fmt.Sprintf("s%02d", i) {
					t.Errorf("row %d is %q, %t, %v", i, id, ok, err)
				}
				if ok, err := s.Row([]any{&id}, one, "none"); ok || err != nil {
					t.Errorf("a row that is not there: %t, %v", ok, err)
				}
				if _, err := s.Row([]any{&id}, fmt.Sprintf("SELECT id FROM shelves WHERE id = ? AND %d = %d", i, i), "x"); err != nil {
					t.Error(err)
				}
			}
			if strings.HasPrefix(dsn, "postgres") { // which answers one query after the other
				return nil
			}
			// While its rows are read, a statement is begun again.
			var names func(than string, depth int) error
			names = func(than string, depth int) error {
				return s.Rows(func(scan func(...any) error) error {
					var id string
					if err := scan(&id); err != nil || depth == 0 {
						return err
					}
					got = append(got, fmt.Sprint(depth, id))
					return names(id, depth-1)
				}, below, than)
			}
			for range 3 {
				got = nil
				if err := names("s03", 2); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(dsn, "postgres") && strings.Join(got, " ") != "2s00 2s01 1s00 2s02 1s00 1s01" {
			t.Errorf("%q", got)
		}
		err := db.Write(t.Context(), func(s *database.Session) error {
			for range 3 {
				if _, err := s.Exec("INSERT INTO shelves (id) VALUES ('twice')"); err != nil {
					return err
				}
			}
			return nil
		})
		if fault.KindOf(err) != fault.Conflict {
			t.Errorf("a row that is there already: %v", err)
		}
		if n := count(t, db, "shelves"); n != 40 {
			t.Errorf("%d rows", n)
		}
	})
}
