package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"

	_ "github.com/jackc/pgx/v5/stdlib" // database/sql driver "pgx"
	_ "modernc.org/sqlite"             // database/sql driver "sqlite"

	"github.com/isthmus-io/isthmus/fault"
)

// Config says where the state is.
type Config struct {
	// DSN is a file's path for SQLite, made when absent, or a connection string beginning with postgres:// for PostgreSQL.
	DSN string
	// MaxPages bounds an SQLite file, in pages of 4 KiB; 0 leaves it to the disk.
	MaxPages int
}

// maxReaders bounds the connections, and so the files or server processes, that reading takes.
const maxReaders = 8

// Store is an open database.
type Store struct {
	log     *slog.Logger
	dialect dialect
	where   string // for words to the operator; never with a password
	read    *sql.DB
	write   *sql.DB

	writing sync.Mutex // held by the one Update of this process
}

// Open opens or makes the database and brings its schema up to date. A schema newer than the program is Conflict.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Store, error) {
	op := "store.Open"
	s := &Store{log: log, where: cfg.DSN}
	var err error
	switch {
	case cfg.DSN == "":
		return nil, fault.New(op, fault.Invalid, "no database is named").Advise("give a file's path or postgres://...")
	case strings.HasPrefix(cfg.DSN, "postgres://"), strings.HasPrefix(cfg.DSN, "postgresql://"):
		s.dialect, s.where = postgres, "the PostgreSQL server"
		s.write, err = sql.Open("pgx", cfg.DSN)
		s.read = s.write
		if err == nil {
			s.write.SetMaxOpenConns(maxReaders)
		}
	default:
		s.dialect = sqlite
		if err := ownFile(cfg.DSN); err != nil {
			return nil, err
		}
		if s.write, err = sql.Open("sqlite", sqliteDSN(cfg, "_txlock=immediate")); err != nil {
			break
		}
		s.write.SetMaxOpenConns(1)
		if s.read, err = sql.Open("sqlite", sqliteDSN(cfg, "_pragma=query_only(1)")); err == nil {
			s.read.SetMaxOpenConns(maxReaders)
			s.read.SetMaxIdleConns(maxReaders)
		}
	}
	if err != nil {
		return nil, s.explain(op, err)
	}
	if err := s.migrate(ctx); err != nil {
		_ = s.Close() // the first failure is the one to tell
		return nil, err
	}
	return s, nil
}

func sqliteDSN(cfg Config, more string) string {
	u := url.URL{Scheme: "file", Opaque: url.PathEscape(cfg.DSN)}
	dsn := strings.ReplaceAll(u.String(), "%2F", "/") +
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&" + more
	if cfg.MaxPages > 0 {
		dsn += fmt.Sprintf("&_pragma=max_page_count(%d)", cfg.MaxPages)
	}
	return dsn
}

// Close ends every connection; it waits for functions that are running.
func (s *Store) Close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	err := s.write.Close()
	if s.read != s.write {
		if e := s.read.Close(); err == nil {
			err = e
		}
	}
	return fault.Wrap("store.Close", fault.Internal, err, "")
}

// Shared tells whether other processes may write to the same database.
func (s *Store) Shared() bool { return s.dialect == postgres }

// Update runs the function in a transaction that may write, and commits when it returns nil. Its error comes back as it was.
func (s *Store) Update(ctx context.Context, fn func(tx *Tx) error) error {
	op := "store.Update"
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.in(ctx, op, s.write, nil, func(tx *Tx) error {
		if s.dialect == postgres {
			// Another server's Update waits here, so that both see a world in which updates come one after the other.
			if _, err := tx.exec("SELECT pg_advisory_xact_lock(?)", updateLock); err != nil {
				return err
			}
		}
		if err := fn(tx); err != nil {
			return err
		}
		if !tx.nouns {
			return nil
		}
		_, err := tx.exec("UPDATE revision SET number = number + 1")
		return err
	})
}

// View runs the function in a transaction that sees one moment and cannot write.
func (s *Store) View(ctx context.Context, fn func(tx *Tx) error) error {
	opt := &sql.TxOptions{ReadOnly: true}
	if s.dialect == postgres {
		opt.Isolation = sql.LevelRepeatableRead
	} else {
		opt = nil // the connection itself is query_only, and a snapshot is what WAL readers have
	}
	return s.in(ctx, "store.View", s.read, opt, fn)
}

func (s *Store) in(ctx context.Context, op string, db *sql.DB, opt *sql.TxOptions, fn func(tx *Tx) error) error {
	sqlTx, err := db.BeginTx(ctx, opt)
	if err != nil {
		return s.explain(op, err)
	}
	tx := &Tx{store: s, ctx: ctx, sql: sqlTx}
	// Also when fn panics; after a commit it does nothing.
	defer sqlTx.Rollback() //nolint:errcheck // the cause is on its way already
	if err := fn(tx); err != nil {
		return err
	}
	if err := sqlTx.Commit(); err != nil {
		return s.explain(op, err)
	}
	return nil
}

// Tx is what a function given to Update or View works with.
type Tx struct {
	store *Store
	ctx   context.Context //nolint:containedctx // a Tx lives only inside one call
	sql   *sql.Tx
	nouns bool // a noun was written
}

func (tx *Tx) exec(query string, args ...any) (int64, error) {
	r, err := tx.sql.ExecContext(tx.ctx, tx.store.dialect.rebind(query), args...)
	if err != nil {
		return 0, tx.store.explain("store", err)
	}
	n, err := r.RowsAffected()
	if err != nil {
		return 0, tx.store.explain("store", err)
	}
	return n, nil
}

// row scans the one row of a query; ok is false when there is none.
func (tx *Tx) row(dest []any, query string, args ...any) (ok bool, err error) {
	err = tx.sql.QueryRowContext(tx.ctx, tx.store.dialect.rebind(query), args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, tx.store.explain("store", err)
	}
	return true, nil
}

// rows calls each for every row of a query. each scans.
func (tx *Tx) rows(each func(scan func(...any) error) error, query string, args ...any) error {
	rows, err := tx.sql.QueryContext(tx.ctx, tx.store.dialect.rebind(query), args...)
	if err != nil {
		return tx.store.explain("store", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err below tells what went wrong
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return err
		}
	}
	return tx.store.explain("store", rows.Err())
}
