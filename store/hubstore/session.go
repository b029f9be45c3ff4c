package hubstore

import (
	"context"
	"database/sql"
	"errors"
)

// querier is what *sql.DB and *sql.Tx have in common.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// session runs statements, inside a transaction or outside.
type session struct {
	store *Store
	db    querier
}

func (s *Store) reading() session { return session{s, s.read} }

func (q session) exec(ctx context.Context, query string, args ...any) (int64, error) {
	r, err := q.db.ExecContext(ctx, q.store.dialect.rebind(query), args...)
	if err != nil {
		return 0, q.store.explain("hubstore", err)
	}
	n, err := r.RowsAffected()
	return n, q.store.explain("hubstore", err)
}

// row scans the one row of a query; ok is false when there is none.
func (q session) row(ctx context.Context, dest []any, query string, args ...any) (ok bool, err error) {
	err = q.db.QueryRowContext(ctx, q.store.dialect.rebind(query), args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, q.store.explain("hubstore", err)
}

// rows calls each for every row of a query. each scans.
func (q session) rows(ctx context.Context, each func(scan func(...any) error) error, query string, args ...any) error {
	rows, err := q.db.QueryContext(ctx, q.store.dialect.rebind(query), args...)
	if err != nil {
		return q.store.explain("hubstore", err)
	}
	defer rows.Close() //nolint:errcheck // what went wrong is in rows.Err
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return q.store.explain("hubstore", err)
		}
	}
	return q.store.explain("hubstore", rows.Err())
}
