package hubstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	_ "github.com/jackc/pgx/v5/stdlib" // database/sql driver "pgx"

	"github.com/isthmus-io/isthmus/fault"
)

//go:embed migrations/sqlite/*.sql migrations/postgres/*.sql
var migrations embed.FS

// Config says where the devices are.
type Config struct {
	// DSN is a file's path for SQLite, made when absent, or a connection string beginning with postgres:// for PostgreSQL.
	DSN string
	// MaxPages bounds an SQLite file, in pages of 4 KiB; 0 leaves it to the disk.
	MaxPages int
}

// Store is an open database.
type Store struct {
	log     *slog.Logger
	dialect dialect
	where   string // for words to the operator; never with a password
	read    *sql.DB
	write   *sql.DB
	writing sync.Mutex // held by the one Write of this process
}

// Open opens or makes the database and brings its schema up to date. A schema newer than the program is Conflict.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Store, error) {
	op := "hubstore.Open"
	s := &Store{log: log, where: cfg.DSN}
	var err error
	if strings.HasPrefix(cfg.DSN, "postgres://") || strings.HasPrefix(cfg.DSN, "postgresql://") {
		s.dialect, s.where = postgres, "the PostgreSQL server"
		if s.write, err = sql.Open("pgx", cfg.DSN); err != nil {
			return nil, s.explain(op, err)
		}
		s.read = s.write
	} else {
		if err := ownFile(cfg.DSN); err != nil {
			return nil, err
		}
		if s.write, err = sql.Open("sqlite", sqliteDSN(cfg, "_txlock=immediate")); err != nil {
			return nil, s.explain(op, err)
		}
		s.write.SetMaxOpenConns(1)
		if s.read, err = sql.Open("sqlite", sqliteDSN(cfg, "_pragma=query_only(1)")); err != nil {
			return nil, s.explain(op, errors.Join(err, s.write.Close()))
		}
		s.read.SetMaxOpenConns(4) // a burst of connecting devices queues here instead of opening files
		s.read.SetMaxIdleConns(4)
	}
	if err := s.migrate(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// ownFile makes the file readable by its owner only, before a driver makes it for everybody; device keys are in it.
func ownFile(name string) error {
	op := "hubstore.Open"
	if name == "" {
		return fault.New(op, fault.Invalid, "no database of devices is named").Advise("give the hub a data directory")
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return fault.Wrap(op, fault.Invalid, err, "the directory of the database "+name+" cannot be made")
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fault.Wrap(op, fault.Invalid, err, "the database "+name+" cannot be opened for writing")
	}
	return f.Close()
}

func sqliteDSN(cfg Config, more string) string {
	dsn := "file:" + strings.ReplaceAll(url.PathEscape(cfg.DSN), "%2F", "/") +
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&" + more
	if cfg.MaxPages > 0 {
		dsn += "&_pragma=max_page_count(" + strconv.Itoa(cfg.MaxPages) + ")"
	}
	return dsn
}

// Close ends every connection; it waits for a Write that is running.
func (s *Store) Close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	err := s.write.Close()
	if s.read != s.write {
		err = errors.Join(err, s.read.Close())
	}
	return fault.Wrap("hubstore.Close", fault.Internal, err, "")
}

// Write runs the function in a transaction and commits when it returns nil. Its error comes back as it was.
func (s *Store) Write(ctx context.Context, fn func(tx *Tx) error) error {
	op := "hubstore.Write"
	s.writing.Lock()
	defer s.writing.Unlock()
	sqlTx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return s.explain(op, err)
	}
	defer sqlTx.Rollback() //nolint:errcheck // also when fn panics; after a commit it does nothing
	if err := fn(&Tx{session{s, sqlTx}, ctx}); err != nil {
		return err
	}
	return s.explain(op, sqlTx.Commit())
}

func (s *Store) migrate(ctx context.Context) error {
	dir := path.Join("migrations", s.dialect.String())
	files, err := fs.ReadDir(migrations, dir)
	if err != nil {
		return fault.Wrap("hubstore.migrate", fault.Internal, err, "")
	}
	return s.Write(ctx, func(tx *Tx) error {
		if s.dialect == postgres {
			// Two processes that start together take turns; any number nobody else uses.
			if _, err := tx.exec(ctx, "SELECT pg_advisory_xact_lock(?)", int64(0x1574_3006)); err != nil {
				return err
			}
		}
		if _, err := tx.exec(ctx, "CREATE TABLE IF NOT EXISTS hub_schema_steps (number INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL)"); err != nil {
			return err
		}
		have := 0
		if _, err := tx.row(ctx, []any{&have}, "SELECT COALESCE(MAX(number), 0) FROM hub_schema_steps"); err != nil {
			return err
		}
		if have > len(files) {
			return fault.Newf("hubstore.migrate", fault.Conflict, "the database was written by a newer isthmus: its schema is %d, this program knows %d", have, len(files)).
				Advise("run the newer isthmus again, or restore the backup from before the upgrade; nothing was changed")
		}
		for i, f := range files[have:] {
			text, err := fs.ReadFile(migrations, path.Join(dir, f.Name()))
			if err != nil {
				return fault.Wrap("hubstore.migrate", fault.Internal, err, "")
			}
			// Without arguments both drivers run a text of several statements.
			if _, err := tx.db.ExecContext(ctx, string(text)); err != nil {
				return s.explain("hubstore.migrate", err)
			}
			if _, err := tx.exec(ctx, "INSERT INTO hub_schema_steps (number, name) VALUES (?, ?)", have+i+1, f.Name()); err != nil {
				return err
			}
		}
		return nil
	})
}
