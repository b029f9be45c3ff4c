package audit_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/audit"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
)

var t0 = time.Date(2026, 11, 22, 8, 0, 0, 123456789, time.UTC)

// chain is n records that follow each other.
func chain(t testing.TB, tenant string, n int) []audit.Record {
	t.Helper()
	return extend(t, nil, tenant, n, "because")
}

func extend(t testing.TB, before []audit.Record, tenant string, n int, why string) []audit.Record {
	t.Helper()
	out, last := slices.Clone(before), audit.Place{}
	if len(out) > 0 {
		last = out[len(out)-1].Place()
	}
	for i := range n {
		r, err := audit.Record{Tenant: tenant, Time: t0.Add(time.Duration(i) * time.Second), Who: "olga of ot", Operation: "update", Kind: "Network",
			Path: "ot/n" + fmt.Sprint(last.Sequence%3), After: json.RawMessage(fmt.Sprintf(`{"n":%d}`, last.Sequence)), Why: why}.Follow(last)
		if err != nil {
			t.Fatal(err)
		}
		out, last = append(out, r), r.Place()
	}
	return out
}

func authority(t testing.TB, domain string) *identity.Authority {
	t.Helper()
	a, _, err := identity.NewAuthority(domain, t0)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// walk gives a chain to a verifier.
func walk(v *audit.Verifier, records []audit.Record, head *audit.Place) *audit.Break {
	for _, r := range records {
		if err := v.Record(r); err != nil {
			break
		}
	}
	var b *audit.Break
	errors.As(v.End(head), &b)
	return b
}

// forge makes a record's hash fit.
func forge(r audit.Record) audit.Record {
	r.Hash = r.Digest()
	return r
}

func TestWhatWasDoneIsTold(t *testing.T) {
	whole := chain(t, "ot", 200)
	head := whole[199].Place()
	swap := func(r []audit.Record, i, j int) []audit.Record { r[i], r[j] = r[j], r[i]; return r }
	renumber := func(r []audit.Record) []audit.Record {
		for i := range r {
			r[i].Sequence = int64(i + 1)
		}
		return r
	}
	stranger := forge(audit.Record{Tenant: "ot", Sequence: 17, Time: t0, Who: "mallory", Operation: "approve", Previous: whole[15].Hash})
	loose := audit.Record{Tenant: "ot", Sequence: 17, Time: t0, Who: "mallory", Operation: "approve", Previous: whole[15].Hash, Hash: strings.Repeat("0", 64)}
	for _, tc := range []struct {
		name  string
		do    func(r []audit.Record) []audit.Record
		what  audit.What
		at    int64
		count int64
		words string
	}{
		{"a changed word", func(r []audit.Record) []audit.Record { r[16].Who = "mallory"; return r }, audit.Changed, 17, 1, "its content does not fit its hash"},
		{"a changed object", func(r []audit.Record) []audit.Record { r[16].After = json.RawMessage(`{}`); return r }, audit.Changed, 17, 1, "its content"},
		{"a moved boundary", func(r []audit.Record) []audit.Record {
			r[16].Operation, r[16].Kind = "updateN", "etwork"
			return r
		}, audit.Changed, 17, 1, "its content"},
		{"another time", func(r []audit.Record) []audit.Record { r[16].Time = r[16].Time.Add(1); return r }, audit.Changed, 17, 1, "its content"},
		{"another hash", func(r []audit.Record) []audit.Record { r[16].Hash = r[15].Hash; return r }, audit.Changed, 17, 1, "its content"},
		{"another number", func(r []audit.Record) []audit.Record { r[16].Sequence = 99; return r }, audit.Changed, 17, 1, "its number was changed to 99"},
		{"changed, and its hash made to fit", func(r []audit.Record) []audit.Record {
			r[16].Who = "mallory"
			r[16] = forge(r[16])
			return r
		}, audit.Changed, 17, 1, "hash made to fit"},
		{"another record before, and its hash made to fit", func(r []audit.Record) []audit.Record {
			r[16].Previous = r[3].Hash
			r[16] = forge(r[16])
			return r
		}, audit.Changed, 17, 1, "nor what is after"},
		{"the last one changed, and its hash made to fit", func(r []audit.Record) []audit.Record {
			r[199].Who = "mallory"
			r[199] = forge(r[199])
			return r
		}, audit.Changed, 200, 1, "hash made to fit"},
		{"the first one changed", func(r []audit.Record) []audit.Record { r[0].Who = "mallory"; return r }, audit.Changed, 1, 1, "its content"},
		{"one removed", func(r []audit.Record) []audit.Record { return slices.Delete(r, 16, 17) }, audit.Removed, 17, 1, "it is missing, it was removed"},
		{"the first removed", func(r []audit.Record) []audit.Record { return r[1:] }, audit.Removed, 1, 1, "it is missing"},
		{"a hundred removed", func(r []audit.Record) []audit.Record { return slices.Delete(r, 16, 116) }, audit.Removed, 17, 100, "it and 99 more are missing"},
		{"one removed, the others renumbered", func(r []audit.Record) []audit.Record { return renumber(slices.Delete(r, 16, 17)) }, audit.Removed, 17, 1, "renumbered"},
		{"a hundred removed, the others renumbered", func(r []audit.Record) []audit.Record { return renumber(slices.Delete(r, 16, 116)) }, audit.Removed, 17, 100, "renumbered"},
		{"one removed, the next changed", func(r []audit.Record) []audit.Record {
			r[17].Who = "mallory"
			return slices.Delete(r, 16, 17)
		}, audit.Removed, 17, 1, "it is missing"},
		{"two reordered", func(r []audit.Record) []audit.Record { return swap(r, 16, 17) }, audit.Reordered, 17, 0, "record 18 stands before it"},
		{"two reordered and renumbered", func(r []audit.Record) []audit.Record { return renumber(swap(r, 16, 17)) }, audit.Reordered, 17, 0, "record 18 stands before it"},
		{"far ones reordered", func(r []audit.Record) []audit.Record { return renumber(swap(r, 16, 47)) }, audit.Reordered, 17, 0, "record 48 stands before it"},
		{"a block moved", func(r []audit.Record) []audit.Record {
			return slices.Concat(r[:16], r[20:30], r[16:20], r[30:])
		}, audit.Reordered, 17, 0, "record 21 stands before it"},
		{"the first two reordered", func(r []audit.Record) []audit.Record { return swap(r, 0, 1) }, audit.Reordered, 1, 0, "record 2 stands before it"},
		{"the last two reordered", func(r []audit.Record) []audit.Record { return swap(r, 198, 199) }, audit.Reordered, 199, 0, "record 200 stands before it"},
		{"one inserted whose hash fits", func(r []audit.Record) []audit.Record { return slices.Insert(r, 16, stranger) }, audit.Inserted, 17, 1, "it was inserted"},
		{"one inserted whose hash fits, the others renumbered", func(r []audit.Record) []audit.Record {
			return renumber(slices.Insert(r, 16, stranger))
		}, audit.Inserted, 17, 1, "it was inserted: what follows was record 17"},
		{"one inserted, the others renumbered", func(r []audit.Record) []audit.Record { return renumber(slices.Insert(r, 16, loose)) }, audit.Inserted, 17, 1, "comes after"},
		{"one inserted", func(r []audit.Record) []audit.Record { return slices.Insert(r, 16, loose) }, audit.Inserted, 17, 1, "it was inserted"},
		{"a copy inserted", func(r []audit.Record) []audit.Record { return slices.Insert(r, 16, r[9]) }, audit.Inserted, 17, 1, "a copy of record 10"},
		{"one twice", func(r []audit.Record) []audit.Record { return slices.Insert(r, 16, r[15]) }, audit.Inserted, 17, 1, "a copy of record 16"},
		{"one of another chain", func(r []audit.Record) []audit.Record {
			return slices.Insert(r, 16, chain(t, "it", 17)[16])
		}, audit.Inserted, 17, 0, "of tenant it"},
		{"one appended", func(r []audit.Record) []audit.Record { return extend(t, r, "ot", 1, "mine") }, audit.Inserted, 201, 1, "inserted"},
		{"the end cut off", func(r []audit.Record) []audit.Record { return r[:150] }, audit.CutOff, 151, 50, "ends early"},
		{"everything cut off", func([]audit.Record) []audit.Record { return nil }, audit.CutOff, 1, 200, "ends early"},
		{"the same once more", func(r []audit.Record) []audit.Record { return append(r[:16], chain(t, "ot", 16)...) }, audit.Inserted, 17, 1, "a second copy of record 1"},
		{"begun anew with something else", func(r []audit.Record) []audit.Record {
			return append(r[:16], extend(t, nil, "ot", 100, "something else")...)
		}, audit.BegunAnew, 17, 0, "begun anew"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := walk(audit.NewVerifier("ot", audit.Place{}, nil), tc.do(slices.Clone(whole)), &head)
			if got == nil || got.What != tc.what || got.Sequence != tc.at || got.Count != tc.count || !strings.Contains(got.Words, tc.words) {
				t.Fatalf("got %+v, want %s at %d (%d), %q", got, tc.what, tc.at, tc.count, tc.words)
			}
			if f := got.Fault("x"); f.Kind != fault.Conflict || !strings.Contains(f.Message, fmt.Sprintf("of tenant ot is broken at record %d", tc.at)) || f.Next == "" {
				t.Errorf("fault: %v, next: %s", f, f.Next)
			}
		})
	}
}

func TestAWholeChainFits(t *testing.T) {
	r := chain(t, "", 300)
	head := r[299].Place()
	if b := walk(audit.NewVerifier("", audit.Place{}, nil), r, &head); b != nil {
		t.Error(b)
	}
	if b := walk(audit.NewVerifier("", r[99].Place(), nil), r[100:], &head); b != nil {
		t.Errorf("from its middle: %v", b)
	}
	if b := walk(audit.NewVerifier("", audit.Place{}, nil), nil, &audit.Place{}); b != nil {
		t.Errorf("an empty one: %v", b)
	}
	if b := walk(audit.NewVerifier("", audit.Place{}, nil), nil, nil); b != nil {
		t.Errorf("one of which nothing is known: %v", b)
	}
	if b := walk(audit.NewVerifier("", r[98].Place(), nil), r[100:], nil); b == nil || b.What != audit.Removed || b.Sequence != 100 {
		t.Errorf("a gap after the place: %v", b)
	}
}

func TestCheckpoints(t *testing.T) {
	a, other := authority(t, "isthmus.test"), authority(t, "isthmus.test")
	whole := chain(t, "ot", 100)
	head := whole[99].Place()
	sign := func(by *identity.Authority, tenant string, r audit.Record) audit.Checkpoint {
		c, err := audit.SignCheckpoint(by, tenant, r.Place(), t0.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	rewritten := append(slices.Clone(whole[:40]), extend(t, whole[:40], "ot", 60, "never happened")[40:]...)
	newHead := rewritten[99].Place()
	change := func(c audit.Checkpoint, f func(*audit.Checkpoint)) audit.Checkpoint { f(&c); return c }
	for _, tc := range []struct {
		name    string
		records []audit.Record
		head    *audit.Place
		marks   []audit.Checkpoint
		what    audit.What // "": whole
		at      int64
		words   string
	}{
		{"as it was", whole, &head, []audit.Checkpoint{sign(a, "ot", whole[9]), sign(a, "ot", whole[99])}, "", 0, ""},
		{"in another order", whole, &head, []audit.Checkpoint{sign(a, "ot", whole[99]), sign(a, "ot", whole[9])}, "", 0, ""},
		{"rewritten whole", rewritten, &newHead, []audit.Checkpoint{sign(a, "ot", whole[29]), sign(a, "ot", whole[69])}, audit.Rewritten, 70, "after record 30"},
		{"rewritten, the checkpoint too", rewritten, &newHead, []audit.Checkpoint{change(sign(a, "ot", whole[69]), func(c *audit.Checkpoint) { c.Hash = rewritten[69].Hash })}, audit.Forged, 70, "does not fit"},
		{"cut off, the head too", whole[:60], &audit.Place{Sequence: 60, Hash: whole[59].Hash}, []audit.Checkpoint{sign(a, "ot", whole[69])}, audit.CutOff, 61, "names record 70"},
		{"everything gone", nil, nil, []audit.Checkpoint{sign(a, "ot", whole[69])}, audit.CutOff, 1, "names record 70"},
		{"of another deployment", whole, &head, []audit.Checkpoint{sign(other, "ot", whole[9])}, audit.Forged, 10, "another authority"},
		{"of another chain", whole, &head, []audit.Checkpoint{sign(a, "it", whole[9])}, audit.Forged, 10, "of tenant it"},
		{"made up", whole, &head, []audit.Checkpoint{change(sign(a, "ot", whole[9]), func(c *audit.Checkpoint) { c.Signature = "" })}, audit.Forged, 10, "does not fit"},
		{"with another time", whole, &head, []audit.Checkpoint{change(sign(a, "ot", whole[9]), func(c *audit.Checkpoint) { c.At = t0 })}, audit.Forged, 10, "does not fit"},
		{"with another trust domain", whole, &head, []audit.Checkpoint{change(sign(a, "ot", whole[9]), func(c *audit.Checkpoint) { c.TrustDomain = "x" })}, audit.Forged, 10, "does not fit"},
		{"of the wrong record", whole, &head, []audit.Checkpoint{change(sign(a, "ot", whole[9]), func(c *audit.Checkpoint) { c.Sequence = 11 })}, audit.Forged, 11, "does not fit"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, early := range []bool{true, false} {
				v := audit.NewVerifier("ot", audit.Place{}, a.CertificatePEM())
				for i, r := range append(slices.Clone(tc.records), audit.Record{}) {
					for _, c := range tc.marks {
						if early && i == 0 || !early && (int64(i) == c.Sequence || i == len(tc.records) && c.Sequence > int64(i)) {
							_ = v.Expect(c) // End says it again
						}
					}
					if i < len(tc.records) && v.Record(r) != nil {
						break
					}
				}
				err := v.End(tc.head)
				var b *audit.Break
				errors.As(err, &b)
				if (b == nil) != (tc.what == "") || b != nil && (b.What != tc.what || b.Sequence != tc.at || !strings.Contains(b.Words, tc.words)) {
					t.Errorf("early %t: %+v, want %s at %d: %q", early, b, tc.what, tc.at, tc.words)
				}
				if tc.what == "" && v.Covered().Sequence != 100 {
					t.Errorf("covered to %d", v.Covered().Sequence)
				}
			}
		})
	}
	if _, err := audit.SignCheckpoint(a, "ot", audit.Place{}, t0); fault.KindOf(err) != fault.Invalid {
		t.Errorf("of nothing: %v", err)
	}
}

// Whatever is done to a chain whose head is known, it is found, and not before where it was done.
func TestNothingGoesUnseen(t *testing.T) {
	whole := chain(t, "ot", 150)
	head := whole[149].Place()
	rapid.Check(t, func(rt *rapid.T) {
		r := slices.Clone(whole)
		for range rapid.IntRange(1, 3).Draw(rt, "steps") {
			i, j := rapid.IntRange(0, len(r)-1).Draw(rt, "i"), rapid.IntRange(0, len(r)-1).Draw(rt, "j")
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0:
				r[i].Who += "x"
			case 1:
				r[i].Why += "x"
				r[i] = forge(r[i])
			case 2:
				r = slices.Delete(r, i, i+1)
			case 3:
				r[i], r[j] = r[j], r[i]
			case 4:
				r = slices.Insert(r, i, r[j])
			case 5:
				r = r[:i]
			}
			if len(r) == 0 {
				break
			}
		}
		same := slices.EqualFunc(r, whole, func(a, b audit.Record) bool { return a.Digest() == b.Digest() && a.Hash == b.Hash })
		least := 1
		for i := range min(len(r), len(whole)) {
			if r[i].Digest() != whole[i].Digest() || r[i].Hash != whole[i].Hash {
				least = i + 1
				break
			}
			least = i + 2
		}
		b := walk(audit.NewVerifier("ot", audit.Place{}, nil), r, &head)
		switch {
		case same != (b == nil):
			rt.Fatalf("same: %t, found: %v", same, b)
		case b != nil && b.Sequence < int64(least)-1:
			rt.Fatalf("found at %d, done at %d: %v", b.Sequence, least, b)
		}
	})
}
