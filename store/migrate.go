package store

import (
	"context"
	"embed"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

//go:embed migrations/sqlite/*.sql migrations/postgres/*.sql
var migrations embed.FS

// step is one migration: the number and name of its file, and its text.
type step struct {
	number int
	name   string
	text   string
}

// steps returns a dialect's migrations in order. Numbers run from 1 without gaps, which a test holds.
func steps(d dialect) ([]step, error) {
	dir := path.Join("migrations", d.String())
	files, err := fs.ReadDir(migrations, dir)
	if err != nil {
		return nil, fault.Wrap("store.steps", fault.Internal, err, "")
	}
	var out []step
	for _, f := range files {
		text, err := fs.ReadFile(migrations, path.Join(dir, f.Name()))
		if err != nil {
			return nil, fault.Wrap("store.steps", fault.Internal, err, "")
		}
		number, name, _ := strings.Cut(strings.TrimSuffix(f.Name(), ".sql"), "_")
		n, err := strconv.Atoi(number)
		if err != nil {
			return nil, fault.Wrap("store.steps", fault.Internal, err, "")
		}
		out = append(out, step{n, name, string(text)})
	}
	return out, nil
}

// migrate brings the schema up to date in one transaction, so that a step that fails leaves the old schema.
func (s *Store) migrate(ctx context.Context) error {
	op := "store.migrate"
	all, err := steps(s.dialect)
	if err != nil {
		return err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.in(ctx, op, s.write, nil, func(tx *Tx) error {
		if s.dialect == postgres {
			if _, err := tx.exec("SELECT pg_advisory_xact_lock(?)", updateLock); err != nil {
				return err
			}
		}
		if _, err := tx.exec("CREATE TABLE IF NOT EXISTS schema_steps (number INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL)"); err != nil {
			return err
		}
		var have int
		if _, err := tx.row([]any{&have}, "SELECT COALESCE(MAX(number), 0) FROM schema_steps"); err != nil {
			return err
		}
		if have > len(all) {
			return fault.Newf(op, fault.Conflict, "the database was written by a newer isthmus: its schema is %d, this program knows %d", have, len(all)).
				Advise("run the newer isthmus again, or restore the backup from before the upgrade; nothing was changed")
		}
		for _, st := range all[have:] {
			// Without arguments both drivers run a text of several statements.
			if _, err := tx.sql.ExecContext(ctx, st.text); err != nil {
				return s.explain(op, err)
			}
			if _, err := tx.exec("INSERT INTO schema_steps (number, name) VALUES (?, ?)", st.number, st.name); err != nil {
				return err
			}
			s.log.Info("store: schema step done", "step", st.number, "name", st.name, "database", s.dialect.String())
		}
		return nil
	})
}
