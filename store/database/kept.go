package database

import "database/sql"

// maxKept bounds the statements which one transaction keeps compiled.
const maxKept = 32

// kept is the statements that a transaction of SQLite runs again and again: a batch of changes runs few statements many times, and to
// compile one takes SQLite longer than to run it. PostgreSQL's driver does the like by itself.
type kept struct {
	tx       *sql.Tx
	seen     map[string]struct{}
	compiled map[string]*sql.Stmt // closed with the transaction
}

func (db *DB) keeping(tx *sql.Tx) *kept {
	if db.dialect != sqlite {
		return nil
	}
	return &kept{tx: tx}
}

// take returns a statement which is run for the second time or later, nil for others. Whoever took it puts it back when it has run: one
// that is still running must not be begun again.
func (s *Session) take(query string) *sql.Stmt {
	k := s.kept
	if k == nil {
		return nil
	}
	if st := k.compiled[query]; st != nil {
		delete(k.compiled, query)
		return st
	}
	if _, again := k.seen[query]; !again {
		if k.seen == nil {
			k.seen = map[string]struct{}{}
		}
		if len(k.seen) < maxKept {
			k.seen[query] = struct{}{}
		}
		return nil
	}
	st, err := k.tx.PrepareContext(s.ctx, query)
	if err != nil {
		return nil // running it says what is wrong
	}
	if k.compiled == nil {
		k.compiled = map[string]*sql.Stmt{}
	}
	return st
}
