package store_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/isthmus-io/isthmus/store"
	"github.com/isthmus-io/isthmus/store/database/databasetest"
)

var server databasetest.Server

func TestMain(m *testing.M) { databasetest.Main(m, &server) }

func open(t *testing.T, dsn string) *store.Store {
	t.Helper()
	st, err := store.Open(context.Background(), store.Config{DSN: dsn}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}
