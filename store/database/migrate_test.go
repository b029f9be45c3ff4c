package database

import (
	"testing"
	"testing/fstest"

	"github.com/isthmus-io/isthmus/fault"
)

func TestStepsAreForBothDatabasesAndWithoutGaps(t *testing.T) {
	for name, tc := range map[string]struct {
		sqlite, postgres []string
		want             int // 0 for refused
	}{
		"the same":     {[]string{"0001_a.sql", "0002_b.sql"}, []string{"0001_a.sql", "0002_b.sql"}, 2},
		"one missing":  {[]string{"0001_a.sql", "0002_b.sql"}, []string{"0001_a.sql"}, 0},
		"another name": {[]string{"0001_a.sql"}, []string{"0001_b.sql"}, 0},
		"a gap":        {[]string{"0001_a.sql", "0003_b.sql"}, []string{"0001_a.sql", "0003_b.sql"}, 0},
		"none":         {nil, nil, 0},
	} {
		files := fstest.MapFS{}
		for d, list := range map[dialect][]string{sqlite: tc.sqlite, postgres: tc.postgres} {
			for _, f := range list {
				files[d.migrations()+"/"+f] = &fstest.MapFile{Data: []byte("-- " + d.String())}
			}
		}
		for _, d := range []dialect{sqlite, postgres} {
			got, err := Schema{Migrations: files}.steps(d)
			if len(got) != tc.want || (err != nil) != (tc.want == 0) || err != nil && fault.KindOf(err) != fault.Internal {
				t.Errorf("%s for %s: %v, %v", name, d, got, err)
			}
			if len(got) > 0 && (got[0].name != "0001_a" || got[0].text != "-- "+d.String()) {
				t.Errorf("%s for %s: %+v", name, d, got[0])
			}
		}
	}
}

func TestRebind(t *testing.T) {
	const q = "SELECT a FROM b WHERE c = ? AND d > ?"
	if got := sqlite.rebind(q); got != q {
		t.Error(got)
	}
	if got := postgres.rebind(q); got != "SELECT a FROM b WHERE c = $1 AND d > $2" {
		t.Error(got)
	}
}
