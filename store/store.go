package store

import (
	"context"
	"embed"
	"log/slog"

	"github.com/isthmus-io/isthmus/store/database"
)

//go:embed migrations/sqlite/*.sql migrations/postgres/*.sql
var migrations embed.FS

// Config says where the state is.
type Config = database.Config

// Store is an open database.
type Store struct{ db *database.DB }

// Open opens or makes the database and brings its schema up to date. A schema newer than the program is Conflict.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Store, error) {
	db, err := database.Open(ctx, cfg, database.Schema{
		Noun: "the control plane's state", Migrations: migrations, Steps: "schema_steps", Lock: 0x1574_3005,
	}, log)
	if err != nil {
		return nil, err
	}
	return &Store{db}, nil
}

// Close ends every connection; it waits for functions that are running.
func (s *Store) Close() error { return s.db.Close() }

// Shared tells whether other processes may write to the same database.
func (s *Store) Shared() bool { return s.db.Shared() }

// Update runs the function in a transaction that may write, and commits when it returns nil. Its error comes back as it was.
func (s *Store) Update(ctx context.Context, fn func(tx *Tx) error) error {
	return s.db.Write(ctx, func(sql *database.Session) error {
		tx := &Tx{sql: sql}
		if err := fn(tx); err != nil || !tx.nouns {
			return err
		}
		_, err := sql.Exec("UPDATE revision SET number = number + 1")
		return err
	})
}

// View runs the function in a transaction that sees one moment and cannot write.
func (s *Store) View(ctx context.Context, fn func(tx *Tx) error) error {
	return s.db.View(ctx, func(sql *database.Session) error { return fn(&Tx{sql: sql}) })
}

// Tx is what a function given to Update or View works with.
type Tx struct {
	sql   *database.Session
	nouns bool // a noun was written
}
