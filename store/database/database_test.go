package database_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/database"
	"github.com/isthmus-io/isthmus/store/database/databasetest"
)

var server databasetest.Server

func TestMain(m *testing.M) { databasetest.Main(m, &server) }

const (
	shelves = "CREATE TABLE shelves (id TEXT NOT NULL PRIMARY KEY);"
	books   = "CREATE TABLE books (id TEXT NOT NULL PRIMARY KEY, shelf TEXT NOT NULL REFERENCES shelves (id), pages INTEGER NOT NULL CHECK (pages > 0)); INSERT INTO shelves (id) VALUES ('why?');"
)

// library is a schema with these steps for both databases.
func library(steps ...string) database.Schema {
	files := fstest.MapFS{}
	for i, text := range steps {
		for _, d := range []string{"sqlite", "postgres"} {
			files["migrations/"+d+"/000"+string(rune('1'+i))+"_step.sql"] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	return database.Schema{Noun: "the library", Migrations: files, Steps: "library_steps", Lock: 42}
}

func try(dsn string, sc database.Schema) (*database.DB, error) {
	return database.Open(context.Background(), database.Config{DSN: dsn}, sc, slog.New(slog.DiscardHandler))
}

func open(t *testing.T, dsn string, sc database.Schema) *database.DB {
	t.Helper()
	db, err := try(dsn, sc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func put(t *testing.T, db *database.DB, statement string, args ...any) error {
	t.Helper()
	return db.Write(t.Context(), func(s *database.Session) error {
		_, err := s.Exec(statement, args...)
		return err
	})
}

func count(t *testing.T, db *database.DB, table string) (n int) {
	t.Helper()
	if ok, err := db.Reading(t.Context()).Row([]any{&n}, "SELECT COUNT(*) FROM "+table); !ok || err != nil {
		t.Fatalf("%t, %v", ok, err)
	}
	return n
}

func TestStatementsFindTheirRows(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		db, ctx := open(t, dsn, library(shelves, books)), t.Context()
		for _, id := range []string{"b", "a", "c"} {
			if err := put(t, db, "INSERT INTO shelves (id) VALUES (?)", id); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		each := func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			got = append(got, id)
			return err
		}
		if err := db.View(ctx, func(s *database.Session) error {
			return s.Rows(each, "SELECT id FROM shelves WHERE id > ? AND id <> ? ORDER BY id", "a", "why?")
		}); err != nil || strings.Join(got, " ") != "b c" {
			t.Errorf("%q, %v", got, err)
		}
		var id string
		if ok, err := db.Reading(ctx).Row([]any{&id}, "SELECT id FROM shelves WHERE id = ?", "z"); ok || err != nil {
			t.Errorf("a row that is not there: %t, %v", ok, err)
		}
		mine := errors.New("mine")
		if err := db.Reading(ctx).Rows(func(func(...any) error) error { return mine }, "SELECT id FROM shelves"); !errors.Is(err, mine) {
			t.Errorf("the function's error is lost: %v", err)
		}
	})
}

func TestAFunctionThatFailsLeavesNothing(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		db, ctx := open(t, dsn, library(shelves)), t.Context()
		mine := errors.New("mine")
		insert := func(s *database.Session) error {
			_, err := s.Exec("INSERT INTO shelves (id) VALUES ('a')")
			return err
		}
		if err := db.Write(ctx, func(s *database.Session) error { return errors.Join(insert(s), mine) }); !errors.Is(err, mine) {
			t.Errorf("the function's error came back as %v", err)
		}
		func() {
			defer func() { _ = recover() }()
			_ = db.Write(ctx, func(s *database.Session) error {
				if err := insert(s); err != nil {
					return err
				}
				panic("in the middle")
			})
		}()
		if n := count(t, db, "shelves"); n != 0 {
			t.Errorf("%d rows are left behind", n)
		}
		if err := db.View(ctx, insert); err == nil {
			t.Error("a View can write")
		}
		if err := db.Write(ctx, insert); err != nil {
			t.Errorf("the writer is not free again: %v", err)
		}
	})
}

func TestWritesAreOneAfterTheOther(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		sc := library("CREATE TABLE counters (n BIGINT NOT NULL); INSERT INTO counters (n) VALUES (0);")
		// Two that opened one database are two processes; they also bring the schema up to date at the same time.
		var dbs [2]*database.DB
		var wg sync.WaitGroup
		for i := range dbs {
			wg.Go(func() {
				var err error
				if dbs[i], err = try(dsn, sc); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		for i := range 40 {
			wg.Go(func() {
				if err := dbs[i%2].Write(t.Context(), func(s *database.Session) error {
					var n int64
					if _, err := s.Row([]any{&n}, "SELECT n FROM counters"); err != nil {
						return err
					}
					_, err := s.Exec("UPDATE counters SET n = ?", n+1)
					return err
				}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		var n int
		if _, err := dbs[0].Reading(t.Context()).Row([]any{&n}, "SELECT n FROM counters"); err != nil || n != 40 {
			t.Errorf("%d of 40 writes are there, %v", n, err)
		}
		for _, db := range dbs {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestDriversErrorsGetTheirKinds(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		db := open(t, dsn, library(shelves, books))
		for _, q := range []string{"INSERT INTO shelves (id) VALUES ('a')", "INSERT INTO books (id, shelf, pages) VALUES ('b', 'a', 1)"} {
			if err := put(t, db, q); err != nil {
				t.Fatal(err)
			}
		}
		for _, tc := range []struct {
			statement string
			want      fault.Kind
		}{
			{"INSERT INTO shelves (id) VALUES ('a')", fault.Conflict},
			{"DELETE FROM shelves WHERE id = 'a'", fault.Conflict},
			{"INSERT INTO books (id, shelf, pages) VALUES ('c', 'none', 1)", fault.Conflict},
			{"INSERT INTO books (id, shelf, pages) VALUES ('c', 'a', 0)", fault.Internal},
			{"SELECT nonsense FROM nowhere", fault.Internal},
		} {
			if err := put(t, db, tc.statement); fault.KindOf(err) != tc.want {
				t.Errorf("%s: %v, want %v", tc.statement, err, tc.want)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := db.View(ctx, func(*database.Session) error { return nil }); fault.KindOf(err) != fault.Timeout {
			t.Errorf("a context that has ended: %v", err)
		}
	})
}

func TestTextWithAZeroByteIsStoredOrRefused(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		db := open(t, dsn, library(shelves))
		err := put(t, db, "INSERT INTO shelves (id) VALUES (?)", "a\x00b")
		if strings.HasPrefix(dsn, "postgres") && fault.KindOf(err) != fault.Invalid {
			t.Errorf("PostgreSQL, which knows no such text: %v", err)
		} else if !strings.HasPrefix(dsn, "postgres") && err != nil {
			t.Error(err)
		}
	})
}

func TestTheSchemaGrows(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		first, err := try(dsn, library(shelves))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(put(t, first, "INSERT INTO shelves (id) VALUES ('a')"), first.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := try(dsn, library(shelves, "CREATE TABLE half (id TEXT); nonsense;")); fault.KindOf(err) != fault.Internal {
			t.Errorf("a step that cannot be done: %v", err)
		}
		second := open(t, dsn, library(shelves, books))
		if n := count(t, second, "shelves"); n != 2 {
			t.Errorf("%d shelves after the second step", n)
		}
		if err := put(t, second, "SELECT * FROM half"); err == nil {
			t.Error("a step that failed left half of itself")
		}
		_, err = try(dsn, library(shelves))
		if fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Message(err), "newer") || fault.Next(err) == "" {
			t.Errorf("an older program: %v", err)
		}
		if n := count(t, second, "shelves"); n != 2 {
			t.Error("the refusal changed something")
		}
	})
}

func TestAFullDiskLosesNothing(t *testing.T) {
	dsn := filepath.Join(t.TempDir(), "full.db")
	db, err := database.Open(t.Context(), database.Config{DSN: dsn, MaxPages: 20}, library(shelves), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stored := 0
	for ; err == nil && stored < 1000; stored++ {
		err = put(t, db, "INSERT INTO shelves (id) VALUES (?)", strings.Repeat("x", 2000)+string(rune('a'+stored)))
	}
	if fault.KindOf(err) != fault.Exhausted || !strings.Contains(fault.Message(err), "the library") || !strings.Contains(fault.Next(err), dsn) {
		t.Fatalf("after %d rows: %v, next %q", stored, err, fault.Next(err))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, dsn, library(shelves)) // the disk has room again
	if n := count(t, db, "shelves"); n != stored-1 || n == 0 {
		t.Errorf("%d of %d are there", n, stored-1)
	}
	if err := put(t, db, "INSERT INTO shelves (id) VALUES ('after')"); err != nil {
		t.Error(err)
	}
}

func TestTheFileIsItsOwnersOnly(t *testing.T) {
	dsn := filepath.Join(t.TempDir(), "a dir?", "100% mine #1.db")
	open(t, dsn, library(shelves))
	for _, f := range []string{dsn, dsn + "-wal"} {
		if fi, err := os.Stat(f); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, fi, err)
		}
	}
}

func TestWhatIsNoDatabaseIsRefused(t *testing.T) {
	letter := filepath.Join(t.TempDir(), "letter.db")
	if err := os.WriteFile(letter, []byte(strings.Repeat("this is a letter to my aunt\n", 200)), 0o600); err != nil {
		t.Fatal(err)
	}
	for dsn, want := range map[string]fault.Kind{
		"":                                     fault.Invalid,
		letter:                                 fault.Conflict,
		letter + "/below.db":                   fault.Invalid,
		"postgres:///nobody?host=/nonexistent": fault.Unavailable,
	} {
		if _, err := try(dsn, library(shelves)); fault.KindOf(err) != want || fault.Message(err) == "" {
			t.Errorf("%q: %v, want %v", dsn, err, want)
		}
	}
}
