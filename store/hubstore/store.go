package hubstore

import (
	"context"
	"embed"
	"log/slog"

	"github.com/isthmus-io/isthmus/store/database"
)

//go:embed migrations/sqlite/*.sql migrations/postgres/*.sql
var migrations embed.FS

// Config says where the devices are.
type Config = database.Config

// Store is an open database.
type Store struct {
	db      *database.DB
	indexes indexes
	turns   turns // of queries
}

// Open opens or makes the database and brings its schema up to date. A schema newer than the program is Conflict.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Store, error) {
	db, err := database.Open(ctx, cfg, database.Schema{
		Noun: "the hub's devices", Migrations: migrations, Steps: "hub_schema_steps", Lock: 0x1574_3006,
	}, log)
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, indexes: indexes{shared: db.Shared()}}
	s.turns.open()
	return s, nil
}

// Close ends every connection; it waits for a Write that is running.
func (s *Store) Close() error { return s.db.Close() }

// Write runs the function in a transaction and commits when it returns nil. Its error comes back as it was.
func (s *Store) Write(ctx context.Context, fn func(tx *Tx) error) error {
	return s.db.Write(ctx, func(sql *database.Session) error { return fn(&Tx{sql, &s.indexes}) })
}

// Submit is Write for what is frequent: functions that are submitted at the same time share one transaction and one fsync, and an error of
// one undoes only its own work. done is called when fn's work is durable or undone, in the order of submission, by one goroutine; it must
// not wait.
func (s *Store) Submit(ctx context.Context, fn func(tx *Tx) error, done func(error)) {
	s.db.Submit(ctx, func(sql *database.Session) error { return fn(&Tx{sql, &s.indexes}) }, done)
}

// Together is Submit for who waits for the answer. after, which may be nil, is called as done is, when there was no error.
func (s *Store) Together(ctx context.Context, fn func(tx *Tx) error, after func()) error {
	return s.db.Together(ctx, func(sql *database.Session) error { return fn(&Tx{sql, &s.indexes}) }, after)
}
