package hubstore

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	sqlitedriver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/isthmus-io/isthmus/fault"
)

// dialect is what differs between the two databases beside the types in the migrations.
type dialect uint8

const (
	sqlite dialect = iota
	postgres
)

func (d dialect) String() string {
	if d == postgres {
		return "postgres"
	}
	return "sqlite"
}

// rebind turns each ? into what the database calls a parameter. Statements here have no other question marks.
func (d dialect) rebind(query string) string {
	if d == sqlite {
		return query
	}
	var b strings.Builder
	n := 0
	for part := range strings.SplitSeq(query, "?") {
		if n > 0 {
			b.WriteString("$" + strconv.Itoa(n))
		}
		b.WriteString(part)
		n++
	}
	return b.String()
}

// explain gives a driver's error its kind and words; faults pass unchanged and nil stays nil.
func (s *Store) explain(op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	full := fault.New(op, fault.Exhausted, "the disk that holds the hub's devices is full; this was not stored, and nothing stored before is lost").
		Advise("free space for %s, then do it again", s.where)
	busy := fault.New(op, fault.Unavailable, "the database of devices is busy or away").Advise("try again in a moment")
	taken := fault.New(op, fault.Conflict, "something with this identity exists already")
	if e, ok := errors.AsType[*sqlitedriver.Error](err); ok {
		switch code := e.Code(); code & 0xff {
		case lib.SQLITE_FULL:
			return full.Because(err)
		case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
			return busy.Because(err)
		case lib.SQLITE_CONSTRAINT:
			return taken.Because(err)
		case lib.SQLITE_NOTADB, lib.SQLITE_CORRUPT:
			return fault.Newf(op, fault.Conflict, "the database %s is damaged or is no database", s.where).
				Advise("stop the hub, keep a copy of the file, and restore it from a backup").Because(err)
		case lib.SQLITE_READONLY, lib.SQLITE_CANTOPEN:
			return fault.Newf(op, fault.Unavailable, "the database %s cannot be opened for writing", s.where).
				Advise("check the owner and the mode of the file and its directory").Because(err)
		}
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch e.Code { // PostgreSQL, Appendix A
		case "53100":
			return full.Because(err)
		case "23505":
			return taken.Because(err)
		case "40001", "40P01", "55P03", "57P01", "57P02", "57P03", "53300":
			return busy.Because(err)
		}
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return busy.Because(err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fault.New(op, fault.Timeout, "the request was given up before it was done").Because(err)
	}
	return fault.Wrap(op, fault.Internal, err, "")
}
