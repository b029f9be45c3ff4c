package database

import (
	"context"
	"database/sql"
	"errors"
)

// Session runs statements: in one transaction, or outside of one. A statement has ? where its arguments go, and no other question
// marks.
type Session struct {
	db   *DB
	ctx  context.Context //nolint:containedctx // a Session lives only inside one call
	on   statements
	kept *kept // nil outside of a transaction
}

// statements is what *sql.DB and *sql.Tx have in common.
type statements interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Write runs the function in a transaction that may write, and commits when it returns nil. Its error comes back as it was.
func (db *DB) Write(ctx context.Context, fn func(s *Session) error) error {
	db.writing.Lock()
	defer db.writing.Unlock()
	return db.in(ctx, "database.Write", db.write, nil, func(s *Session) error {
		if db.dialect == postgres {
			// Another process's Write waits here, so that both see a world in which writes come one after the other.
			if _, err := s.Exec("SELECT pg_advisory_xact_lock(?)", db.schema.Lock); err != nil {
				return err
			}
		}
		return fn(s)
	})
}

// View runs the function in a transaction that sees one moment and cannot write.
func (db *DB) View(ctx context.Context, fn func(s *Session) error) error {
	var opt *sql.TxOptions // an SQLite reader's connection is query_only, and a snapshot is what WAL readers have
	if db.dialect == postgres {
		opt = &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead}
	}
	return db.in(ctx, "database.View", db.read, opt, fn)
}

// Reading is for single queries, without the two round trips of a transaction; two of them may see two moments.
func (db *DB) Reading(ctx context.Context) *Session { return &Session{db, ctx, db.read, nil} }

func (db *DB) in(ctx context.Context, op string, on *sql.DB, opt *sql.TxOptions, fn func(s *Session) error) error {
	tx, err := on.BeginTx(ctx, opt)
	if err != nil {
		return db.explain(op, err)
	}
	// Also when fn panics; after a commit it does nothing.
	defer tx.Rollback() //nolint:errcheck // the cause is on its way already
	if err := fn(&Session{db, ctx, tx, db.keeping(tx)}); err != nil {
		return err
	}
	return db.explain(op, tx.Commit())
}

// Exec runs a statement and tells how many rows it touched.
func (s *Session) Exec(query string, args ...any) (int64, error) {
	var r sql.Result
	var err error
	if st := s.take(query); st != nil { //nolint:sqlclosecheck // the transaction closes it
		r, err = st.ExecContext(s.ctx, args...)
		s.kept.compiled[query] = st
	} else {
		r, err = s.on.ExecContext(s.ctx, s.db.dialect.rebind(query), args...)
	}
	if err != nil {
		return 0, s.explain(err)
	}
	n, err := r.RowsAffected()
	return n, s.explain(err)
}

// Row scans the one row of a query; ok is false when there is none.
func (s *Session) Row(dest []any, query string, args ...any) (ok bool, err error) {
	if st := s.take(query); st != nil { //nolint:sqlclosecheck // the transaction closes it
		err = st.QueryRowContext(s.ctx, args...).Scan(dest...)
		s.kept.compiled[query] = st
	} else {
		err = s.on.QueryRowContext(s.ctx, s.db.dialect.rebind(query), args...).Scan(dest...)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, s.explain(err)
}

// Rows calls each for every row of a query, until it fails. each scans, and returns scan's error as it is.
func (s *Session) Rows(each func(scan func(...any) error) error, query string, args ...any) error {
	var rows *sql.Rows
	var err error
	if st := s.take(query); st != nil {
		defer func() { s.kept.compiled[query] = st }() // after its rows are closed
		rows, err = st.QueryContext(s.ctx, args...)
	} else {
		rows, err = s.on.QueryContext(s.ctx, s.db.dialect.rebind(query), args...)
	}
	if err != nil {
		return s.explain(err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err below tells what went wrong
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return s.explain(err)
		}
	}
	return s.explain(rows.Err())
}

func (s *Session) explain(err error) error { return s.db.explain("database", err) }
