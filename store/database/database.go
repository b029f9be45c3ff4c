package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // database/sql driver "pgx"
	_ "modernc.org/sqlite"             // database/sql driver "sqlite"

	"github.com/isthmus-io/isthmus/fault"
)

// Config says where a database is.
type Config struct {
	// DSN is a file's path for SQLite, made when absent, or a connection string beginning with postgres:// for PostgreSQL.
	DSN string
	// MaxPages bounds an SQLite file, in pages of 4 KiB; 0 leaves it to the disk.
	MaxPages int
}

// Schema is what a package keeps in its database. Packages with different Steps and Lock may share one PostgreSQL database.
type Schema struct {
	Noun       string // what is stored, for words to people: "the hub's devices"
	Migrations fs.FS  // folders migrations/sqlite and migrations/postgres with the same files, 0001_name.sql and so on without gaps
	Steps      string // the table that keeps which migrations were done
	Lock       int64  // key of the advisory lock that makes one writer of all who use a PostgreSQL
}

// maxReaders bounds the connections, and so the files or server processes, that reading takes; who comes when all are taken waits.
const maxReaders = 8

// DB is an open database.
type DB struct {
	log     *slog.Logger
	dialect dialect
	schema  Schema
	where   string // for words to the operator; never with a password
	read    *sql.DB
	write   *sql.DB

	writing  sync.Mutex // held by the one Write of this process
	together together
}

// Open opens or makes the database and brings its schema up to date. A schema newer than the program is Conflict.
func Open(ctx context.Context, cfg Config, schema Schema, log *slog.Logger) (*DB, error) {
	op := "database.Open"
	if cfg.DSN == "" {
		return nil, fault.Newf(op, fault.Invalid, "no database for %s is named", schema.Noun).Advise("give a file's path or postgres://...")
	}
	db := &DB{log: log, schema: schema, where: cfg.DSN}
	db.together.room.L = &db.together.mu
	var err error
	if strings.HasPrefix(cfg.DSN, "postgres://") || strings.HasPrefix(cfg.DSN, "postgresql://") {
		db.dialect, db.where = postgres, "the PostgreSQL server"
		err = db.openServer(cfg)
	} else {
		err = db.openFile(cfg)
	}
	if err != nil {
		_ = db.Close() // the first failure is the one to tell
		return nil, db.explain(op, err)
	}
	if err := db.migrateBesideOthers(ctx); err != nil {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}

// migrateBesideOthers brings the schema up to date while another process may do the same. SQLite does not wait for its busy timeout
// while it turns a new file to WAL, but says at once that the file is locked; so this waits instead.
func (db *DB) migrateBesideOthers(ctx context.Context) error {
	const patience, pause = 10 * time.Second, 20 * time.Millisecond
	over := time.NewTimer(patience)
	defer over.Stop()
	for {
		err := db.migrate(ctx)
		if db.dialect != sqlite || fault.KindOf(err) != fault.Unavailable {
			return err
		}
		again := time.NewTimer(pause)
		select {
		case <-again.C:
		case <-over.C:
			again.Stop()
			return err
		case <-ctx.Done():
			again.Stop()
			return err
		}
	}
}

func (db *DB) openServer(cfg Config) (err error) {
	if db.write, err = sql.Open("pgx", cfg.DSN); err != nil {
		return err
	}
	db.write.SetMaxOpenConns(maxReaders)
	db.read = db.write
	return nil
}

func (db *DB) openFile(cfg Config) (err error) {
	if err := ownFile(cfg.DSN); err != nil {
		return err
	}
	if db.write, err = sql.Open("sqlite", sqliteDSN(cfg, "_txlock=immediate")); err != nil {
		return err
	}
	db.write.SetMaxOpenConns(1)
	if db.read, err = sql.Open("sqlite", sqliteDSN(cfg, "_pragma=query_only(1)")); err != nil {
		return err
	}
	db.read.SetMaxOpenConns(maxReaders)
	db.read.SetMaxIdleConns(maxReaders)
	return nil
}

// ownFile makes the file readable by its owner only, before a driver makes it for everybody.
func ownFile(path string) error {
	op := "database.Open"
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fault.Wrap(op, fault.Invalid, err, "the directory of the database "+path+" cannot be made")
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fault.Wrap(op, fault.Invalid, err, "the database "+path+" cannot be opened for writing")
	}
	return f.Close()
}

func sqliteDSN(cfg Config, more string) string {
	dsn := "file:" + strings.ReplaceAll(url.PathEscape(cfg.DSN), "%2F", "/") +
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&" + more
	if cfg.MaxPages > 0 {
		dsn += fmt.Sprintf("&_pragma=max_page_count(%d)", cfg.MaxPages)
	}
	return dsn
}

// Close ends every connection; it waits for functions that are running.
func (db *DB) Close() error {
	db.together.drain()
	db.writing.Lock()
	defer db.writing.Unlock()
	var err error
	if db.write != nil {
		err = db.write.Close()
	}
	if db.read != nil && db.read != db.write {
		err = errors.Join(err, db.read.Close())
	}
	return fault.Wrap("database.Close", fault.Internal, err, "")
}

// Shared tells whether other processes may write to the same database.
func (db *DB) Shared() bool { return db.dialect == postgres }

// Postgres tells whether statements go to PostgreSQL, for the few that the two databases do not write alike.
func (db *DB) Postgres() bool { return db.dialect == postgres }
