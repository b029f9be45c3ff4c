package database

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// step is one migration: its file's name, and its text for the database at hand.
type step struct{ name, text string }

// steps returns the migrations for a dialect in order. A schema whose numbers have gaps, or which is not written for both databases,
// is refused here rather than on the day somebody moves from one to the other.
func (sc Schema) steps(d dialect) ([]step, error) {
	op := "database.steps"
	files, err := fs.ReadDir(sc.Migrations, d.migrations())
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "")
	}
	others, err := fs.ReadDir(sc.Migrations, d.other().migrations())
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "")
	}
	if len(files) == 0 || len(files) != len(others) {
		return nil, fault.Newf(op, fault.Internal, "%s: %d migrations for %s, %d for %s", sc.Noun, len(files), d, len(others), d.other())
	}
	var out []step
	for i, f := range files {
		if !strings.HasPrefix(f.Name(), fmt.Sprintf("%04d_", i+1)) || others[i].Name() != f.Name() {
			return nil, fault.Newf(op, fault.Internal, "%s: migration %d is %s for %s, %s for %s", sc.Noun, i+1, f.Name(), d, others[i].Name(), d.other())
		}
		text, err := fs.ReadFile(sc.Migrations, d.migrations()+"/"+f.Name())
		if err != nil {
			return nil, fault.Wrap(op, fault.Internal, err, "")
		}
		out = append(out, step{strings.TrimSuffix(f.Name(), ".sql"), string(text)})
	}
	return out, nil
}

// migrate brings the schema up to date in one transaction, so that a step that fails leaves the old schema.
func (db *DB) migrate(ctx context.Context) error {
	op := "database.migrate"
	all, err := db.schema.steps(db.dialect)
	if err != nil {
		return err
	}
	return db.Write(ctx, func(s *Session) error {
		if _, err := s.Exec("CREATE TABLE IF NOT EXISTS " + db.schema.Steps + " (number INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL)"); err != nil {
			return err
		}
		var have int
		if _, err := s.Row([]any{&have}, "SELECT COALESCE(MAX(number), 0) FROM "+db.schema.Steps); err != nil {
			return err
		}
		if have > len(all) {
			return fault.Newf(op, fault.Conflict, "the database was written by a newer isthmus: its schema is %d, this program knows %d", have, len(all)).
				Advise("run the newer isthmus again, or restore the backup from before the upgrade; nothing was changed")
		}
		for i, st := range all[have:] {
			// Without arguments both drivers run a text of several statements. It is not for rebind: a migration may have question marks.
			if _, err := s.on.ExecContext(ctx, st.text); err != nil {
				return db.explain(op, err)
			}
			if _, err := s.Exec("INSERT INTO "+db.schema.Steps+" (number, name) VALUES (?, ?)", have+i+1, st.name); err != nil {
				return err
			}
			db.log.Info("database: schema step done", "of", db.schema.Noun, "step", st.name, "database", db.dialect.String())
		}
		return nil
	})
}
