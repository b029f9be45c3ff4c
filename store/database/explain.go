package database

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	sqlitedriver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/isthmus-io/isthmus/fault"
)

// explain gives a driver's error its kind and words; faults pass unchanged and nil stays nil.
func (db *DB) explain(op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	var told *fault.Error
	if e, ok := errors.AsType[*sqlitedriver.Error](err); ok {
		told = db.sqliteFault(op, e)
	} else if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		told = db.postgresFault(op, e)
	} else if _, ok := errors.AsType[*pgconn.ConnectError](err); ok || errors.Is(err, sql.ErrConnDone) {
		told = fault.New(op, fault.Unavailable, "the database cannot be reached").Advise("check that it runs, then try again")
	}
	if told == nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		told = fault.New(op, fault.Timeout, "the request was given up before it was done")
	}
	if told == nil {
		return fault.Wrap(op, fault.Internal, err, "")
	}
	return told.Because(err)
}

// sqliteFault returns nil for what has no words of its own; so does postgresFault.
func (db *DB) sqliteFault(op string, e *sqlitedriver.Error) *fault.Error {
	switch code := e.Code(); {
	case code&0xff == lib.SQLITE_FULL:
		return db.full(op)
	case code&0xff == lib.SQLITE_BUSY, code&0xff == lib.SQLITE_LOCKED:
		return busy(op)
	case code == lib.SQLITE_CONSTRAINT_UNIQUE, code == lib.SQLITE_CONSTRAINT_PRIMARYKEY:
		return taken(op)
	case code&0xff == lib.SQLITE_CONSTRAINT && strings.Contains(e.Error(), "FOREIGN KEY"):
		return referred(op)
	case code&0xff == lib.SQLITE_NOTADB, code&0xff == lib.SQLITE_CORRUPT:
		return fault.Newf(op, fault.Conflict, "the database %s is damaged or is no database", db.where).
			Advise("stop the server, keep a copy of the file, and restore it from a backup")
	case code&0xff == lib.SQLITE_READONLY, code&0xff == lib.SQLITE_CANTOPEN:
		return fault.Newf(op, fault.Unavailable, "the database %s cannot be opened for writing", db.where).
			Advise("check the owner and the mode of the file and its directory")
	}
	return nil
}

func (db *DB) postgresFault(op string, e *pgconn.PgError) *fault.Error {
	switch e.Code { // PostgreSQL, Appendix A
	case "53100":
		return db.full(op)
	case "23505":
		return taken(op)
	case "23503":
		return referred(op)
	case "22021", "22P05":
		return fault.New(op, fault.Invalid, "a text holds a character that the database cannot store, such as a zero byte").Advise("take it out and try again")
	case "40001", "40P01", "55P03":
		return busy(op)
	case "57P01", "57P02", "57P03", "53300":
		return fault.New(op, fault.Unavailable, "the database is stopping or has no connection left").Advise("try again in a moment")
	}
	return nil
}

func (db *DB) full(op string) *fault.Error {
	return fault.Newf(op, fault.Exhausted, "the disk that holds %s is full; this was not stored, and nothing stored before is lost", db.schema.Noun).
		Advise("free space for %s, then do it again", db.where)
}

func busy(op string) *fault.Error {
	return fault.New(op, fault.Unavailable, "the database is busy").Advise("try again in a moment")
}

func taken(op string) *fault.Error {
	return fault.New(op, fault.Conflict, "something with this identity exists already")
}

func referred(op string) *fault.Error {
	return fault.New(op, fault.Conflict, "something else still refers to this")
}
