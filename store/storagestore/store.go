package storagestore

import (
	"context"
	"embed"
	"log/slog"
	"time"

	"github.com/isthmus-io/isthmus/store/database"
)

//go:embed migrations/sqlite/*.sql migrations/postgres/*.sql
var migrations embed.FS

// Config says where the tables are.
type Config = database.Config

// Store is an open database.
type Store struct{ db *database.DB }

// Open opens or makes the database and brings its schema up to date. A schema newer than the program is Conflict.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Store, error) {
	db, err := database.Open(ctx, cfg, database.Schema{
		Noun: "the blob services", Migrations: migrations, Steps: "storage_schema_steps", Lock: 0x1574_3009,
	}, log)
	if err != nil {
		return nil, err
	}
	return &Store{db}, nil
}

// Close ends every connection; it waits for a Write that is running and for what is being written together.
func (s *Store) Close() error { return s.db.Close() }

// Tx is what a function given to Write, Together or Reading works with.
type Tx struct{ sql *database.Session }

// Write runs the function in a transaction and commits when it returns nil. Its error comes back as it was.
func (s *Store) Write(ctx context.Context, fn func(tx *Tx) error) error {
	return s.db.Write(ctx, func(sql *database.Session) error { return fn(&Tx{sql}) })
}

// Together is Write for small changes of many, who share a transaction and its fsync. The function must not wait for another one.
func (s *Store) Together(ctx context.Context, fn func(tx *Tx) error) error {
	return s.db.Together(ctx, func(sql *database.Session) error { return fn(&Tx{sql}) }, nil)
}

// Reading is for single queries; two of them may see two moments.
func (s *Store) Reading(ctx context.Context) *Tx { return &Tx{s.db.Reading(ctx)} }

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
