package databasetest

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // database/sql driver "pgx"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite" // database/sql driver "sqlite"
)

// Need is the environment variable that, when it is not empty, makes a missing PostgreSQL an error.
const Need = "ISTHMUS_NEED_POSTGRES"

// Server is a PostgreSQL for the time of a package's tests, or the lack of one. Main fills it in.
type Server struct {
	dir       string // of its socket; empty when the machine has no PostgreSQL
	stop      func()
	databases atomic.Int64
}

// Main is what a package's TestMain does: it fills in server, runs the tests, and fails when a goroutine is left.
func Main(m *testing.M, server *Server) {
	if err := server.start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	server.stop()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func (s *Server) start() (err error) {
	s.stop = func() {}
	dir, stop, err := startPostgres()
	switch {
	case err != nil:
		return fmt.Errorf("PostgreSQL is installed and does not start: %w", err)
	case dir != "":
		s.dir, s.stop = dir, stop
	case os.Getenv(Need) != "":
		return fmt.Errorf("%s is set and PostgreSQL is not installed below %s: make deps installs it", Need, programs)
	}
	return nil
}

// Each runs a test on every database there is, as a subtest named after it. dsn names an empty database, which stays the same one
// for the whole test.
func (s *Server) Each(t *testing.T, test func(t *testing.T, dsn string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, filepath.Join(t.TempDir(), "state dir", "isthmus.db")) })
	if s.dir == "" {
		return
	}
	t.Run("postgres", func(t *testing.T) { test(t, s.fresh(t)) })
}

// EachBenchmark is Each for a benchmark.
func (s *Server) EachBenchmark(b *testing.B, bench func(b *testing.B, dsn string)) {
	b.Helper()
	b.Run("sqlite", func(b *testing.B) { bench(b, filepath.Join(b.TempDir(), "isthmus.db")) })
	if s.dir == "" {
		return
	}
	b.Run("postgres", func(b *testing.B) { bench(b, s.fresh(b)) })
}

// fresh makes an empty database on the server.
func (s *Server) fresh(t testing.TB) string {
	t.Helper()
	db, err := sql.Open("pgx", s.dsn("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	name := fmt.Sprintf("t%d", s.databases.Add(1))
	if _, err := db.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return s.dsn(name)
}

func (s *Server) dsn(database string) string {
	q := url.Values{"host": {s.dir}, "user": {"isthmus"}, "sslmode": {"disable"}}
	return "postgres:///" + database + "?" + q.Encode()
}

// Raw opens a database without the program's own rules, to look at what is there or to spoil it.
func Raw(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	driver := "sqlite"
	if strings.HasPrefix(dsn, "postgres://") {
		driver = "pgx"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}
