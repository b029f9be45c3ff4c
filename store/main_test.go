package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/store"
)

// serverDir holds the socket of a PostgreSQL for the time of the tests; empty when the machine has none.
var serverDir string

func TestMain(m *testing.M) {
	stop := func() {}
	if dir, end, err := startPostgres(); err != nil {
		fmt.Fprintln(os.Stderr, "PostgreSQL is installed and does not start:", err)
		os.Exit(1)
	} else if dir != "" {
		serverDir, stop = dir, end
	}
	code := m.Run()
	stop()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

var databases atomic.Int64

// each runs a test on every database there is. open opens the same one each time it is called.
func each(t *testing.T, test func(t *testing.T, dsn string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, filepath.Join(t.TempDir(), "state dir", "isthmus.db")) })
	if serverDir == "" {
		return
	}
	t.Run("postgres", func(t *testing.T) {
		dsn := func(db string) string {
			q := url.Values{"host": {serverDir}, "user": {"isthmus"}, "sslmode": {"disable"}}
			return "postgres:///" + db + "?" + q.Encode()
		}
		db, err := sql.Open("pgx", dsn("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		name := fmt.Sprintf("t%d", databases.Add(1))
		if _, err := db.Exec("CREATE DATABASE " + name); err != nil {
			t.Fatal(err)
		}
		test(t, dsn(name))
	})
}

func open(t *testing.T, dsn string) *store.Store {
	t.Helper()
	st, err := store.Open(context.Background(), store.Config{DSN: dsn}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}
