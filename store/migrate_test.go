package store

import "testing"

func TestBothDialectsHaveTheSameSteps(t *testing.T) {
	a, err := steps(sqlite)
	if err != nil {
		t.Fatal(err)
	}
	b, err := steps(postgres)
	if err != nil {
		t.Fatal(err)
	}
	if len(a) == 0 || len(a) != len(b) {
		t.Fatalf("%d steps for SQLite, %d for PostgreSQL", len(a), len(b))
	}
	for i := range a {
		if a[i].number != i+1 || b[i].number != i+1 || a[i].name != b[i].name {
			t.Errorf("step %d: %d %s for SQLite, %d %s for PostgreSQL", i+1, a[i].number, a[i].name, b[i].number, b[i].name)
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
