package store_test

import (
	"log/slog"
	"testing"

	"github.com/isthmus-io/isthmus/store"
)

func filled(b *testing.B, n int) *store.Store {
	b.Helper()
	st, err := store.Open(ctx, store.Config{DSN: b.TempDir() + "/a.db"}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { st.Close() })
	appendAudit(b, st, n)
	return st
}

func appendAudit(b *testing.B, st *store.Store, n int) {
	b.Helper()
	if err := st.Update(ctx, func(tx *store.Tx) error {
		for range n {
			if err := tx.AppendAudit(store.AuditRecord{Tenant: "ot", Time: t0, Who: "olga of ot", Operation: "update", Kind: "Network", Path: "ot/plant-7",
				Before: []byte(`{"spec":{"displayName":"before"}}`), After: []byte(`{"spec":{"displayName":"after"}}`), Why: "because"}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
}

// One record in a transaction of its own, as most changes are.
func BenchmarkAppendAudit(b *testing.B) {
	st := filled(b, 1)
	for b.Loop() {
		appendAudit(b, st, 1)
	}
}

// Many in one, as an apply of many nouns is.
func BenchmarkAppendAuditTogether(b *testing.B) {
	st := filled(b, 1)
	for b.Loop() {
		appendAudit(b, st, 1000)
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkVerifyAudit(b *testing.B) {
	const n = 10_000
	st := filled(b, n)
	for b.Loop() {
		if err := st.View(ctx, func(tx *store.Tx) error { return tx.VerifyAudit(ctx, "ot", nil) }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "records/s")
}
