package store

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
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

// updateLock is the key of the advisory lock that serves as PostgreSQL's one writer; any number nobody else uses.
const updateLock int64 = 0x1574_3005

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
	for i := range len(query) {
		if query[i] != '?' {
			b.WriteByte(query[i])
			continue
		}
		n++
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n))
	}
	return b.String()
}

// ownFile makes the file readable by its owner only, before a driver makes it for everybody; link keys are in it.
func ownFile(path string) error {
	op := "store.Open"
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fault.Wrap(op, fault.Invalid, err, "the directory of the database "+path+" cannot be made")
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fault.Wrap(op, fault.Invalid, err, "the database "+path+" cannot be opened for writing")
	}
	return f.Close()
}

// explain gives a driver's error its kind and words; faults pass unchanged and nil stays nil.
func (s *Store) explain(op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	full := fault.New(op, fault.Exhausted, "the disk that holds the control plane's state is full; this was not stored, and nothing stored before is lost").
		Advise("free space for %s, then do it again", s.where)
	busy := fault.New(op, fault.Unavailable, "the database is busy").Advise("try again in a moment")
	taken := fault.New(op, fault.Conflict, "something with this identity exists already")
	if e, ok := errors.AsType[*sqlitedriver.Error](err); ok {
		switch code := e.Code(); {
		case code&0xff == lib.SQLITE_FULL:
			return full.Because(err)
		case code&0xff == lib.SQLITE_BUSY, code&0xff == lib.SQLITE_LOCKED:
			return busy.Because(err)
		case code == lib.SQLITE_CONSTRAINT_UNIQUE, code == lib.SQLITE_CONSTRAINT_PRIMARYKEY:
			return taken.Because(err)
		case code&0xff == lib.SQLITE_CONSTRAINT && strings.Contains(e.Error(), "FOREIGN KEY"):
			return fault.New(op, fault.Conflict, "something else still refers to this").Because(err)
		case code&0xff == lib.SQLITE_NOTADB, code&0xff == lib.SQLITE_CORRUPT:
			return fault.Newf(op, fault.Conflict, "the database %s is damaged or is no database", s.where).
				Advise("stop the server, keep a copy of the file, and restore it from a backup").Because(err)
		case code&0xff == lib.SQLITE_READONLY, code&0xff == lib.SQLITE_CANTOPEN:
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
		case "23503":
			return fault.New(op, fault.Conflict, "something else still refers to this").Because(err)
		case "40001", "40P01", "55P03":
			return busy.Because(err)
		case "57P01", "57P02", "57P03", "53300":
			return fault.New(op, fault.Unavailable, "the database is stopping or has no connection left").Advise("try again in a moment").Because(err)
		}
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok || errors.Is(err, sql.ErrConnDone) {
		return fault.New(op, fault.Unavailable, "the database cannot be reached").Advise("check that it runs, then try again").Because(err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fault.New(op, fault.Timeout, "the request was given up before it was done").Because(err)
	}
	return fault.Wrap(op, fault.Internal, err, "")
}
