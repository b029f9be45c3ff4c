package audit

import "fmt"

// searchBytes is how much is hashed at most to find out which number a record had when it was written.
const searchBytes = 16 << 20

// judge tells what was done, from the records that fit, whose last one is v.last, and from those held, the first of which does not fit.
// Hashes tell more than numbers do: who renumbers records cannot make their hashes fit without writing everything after them anew.
func (v *Verifier) judge() Break {
	next := v.last.Sequence + 1
	first := &v.held[0]
	was := v.written(first) // its number when it was written; 0: what it says was never written
	if first.Tenant != v.tenant {
		return Break{Sequence: next, What: Inserted, Words: "it was inserted: it is of another chain, the one " + whose(first.Tenant)}
	}
	for j := range v.held {
		if r := &v.held[j]; r.Previous == v.last.Hash && r.Hash == r.digestAs(next) && r.Tenant == v.tenant {
			return v.displaced(first, was, next, int64(j))
		}
	}
	if b, ok := v.begunAnew(first, was, next); ok {
		return b
	}
	if p, ok := v.before(first.Previous); ok && was == p.Sequence+1 && p.Sequence < v.last.Sequence {
		if was == first.Sequence && v.passed[was%window].Hash == first.Hash {
			return Break{Sequence: next, Count: 1, What: Inserted, Words: fmt.Sprintf("it was inserted: it is a second copy of record %d", was)}
		}
		n := v.last.Sequence - p.Sequence
		return Break{Sequence: was, Count: n, What: Inserted,
			Words: fmt.Sprintf("%s: what follows was record %d when it was written", some(n, "was inserted", "were inserted"), was)}
	}
	switch {
	case was > next && was != first.Sequence:
		return Break{Sequence: next, Count: was - next, What: Removed, Words: missing(was-next) + ", and those after it were renumbered"}
	case was > next:
		return Break{Sequence: next, Count: was - next, What: Removed, Words: missing(was - next)}
	case was == 0 && first.Sequence > next:
		return Break{Sequence: next, Count: first.Sequence - next, What: Removed, Words: missing(first.Sequence - next)}
	case was == 0 && first.Sequence == next:
		return Break{Sequence: next, Count: 1, What: Changed, Words: "its content does not fit its hash, it was changed"}
	case was < next:
		return Break{Sequence: next, Count: 1, What: Inserted, Words: fmt.Sprintf("it was inserted: it has the number %d, and records up to %d are before it", first.Sequence, v.last.Sequence)}
	case next == 1:
		return Break{Sequence: 1, Count: 1, What: Changed, Words: "it was changed: it is the first and names one before it"}
	case len(v.held) > 1 && v.held[1].Previous != first.Hash:
		return Break{Sequence: next, Count: 1, What: Changed, Words: "it was changed and its hash made to fit: it does not follow the record before it, nor what is after it follows it"}
	case v.good.Sequence == v.last.Sequence:
		return Break{Sequence: next, Count: 1, What: Changed, Words: "it was changed and its hash made to fit: it does not follow the record before it, which a checkpoint confirms"}
	}
	return Break{Sequence: v.last.Sequence, Count: 1, What: Changed,
		Words: fmt.Sprintf("it was changed and its hash made to fit: record %d was written after another one", next)}
}

// begunAnew tells whether the record begins a chain where one is already.
func (v *Verifier) begunAnew(r *Record, was, next int64) (Break, bool) {
	if r.Previous != "" || next == 1 || was == 0 || was == 1 && v.passed[1] == (Place{1, r.Hash}) {
		return Break{}, false
	}
	return Break{Sequence: next, What: BegunAnew, Words: "the chain was begun anew: the record that stands there says that there is none before it"}, true
}

// displaced tells what it means that the true next record is not the first held, but so many after it.
func (v *Verifier) displaced(first *Record, was, next, after int64) Break {
	switch {
	case after == 0:
		return Break{Sequence: next, Count: 1, What: Changed, Words: fmt.Sprintf("its number was changed to %d", first.Sequence)}
	case was > next:
		return Break{Sequence: next, What: Reordered, Words: fmt.Sprintf("the records were reordered: record %d stands before it", was)}
	case was > 0 && was < next:
		return Break{Sequence: next, Count: after, What: Inserted, Words: fmt.Sprintf("%s: it is a copy of record %d", some(after, "was inserted", "were inserted"), was)}
	}
	return Break{Sequence: next, Count: after, What: Inserted, Words: some(after, "was inserted", "were inserted") + ": the record that was written there comes after"}
}

// before finds the place with a hash among the last ones that fit.
func (v *Verifier) before(hash string) (Place, bool) {
	if hash == v.from.Hash && v.last.Sequence-v.from.Sequence < window {
		return v.from, true
	}
	for _, p := range v.passed {
		if p.Hash == hash && p.Sequence > 0 {
			return p, true
		}
	}
	return Place{}, false
}

// written finds the number with which the record's hash fits, near the one it has and then further away; 0 when there is none.
func (v *Verifier) written(r *Record) int64 {
	tries := max(int64(searchBytes/(r.size()+256)), 2*window)
	for d := int64(0); d <= tries/2; d++ {
		if r.Sequence+d > 0 && r.Hash == r.digestAs(r.Sequence+d) {
			return r.Sequence + d
		}
		if r.Sequence-d > 0 && r.Hash == r.digestAs(r.Sequence-d) {
			return r.Sequence - d
		}
	}
	if r.Hash == r.digestAs(1) {
		return 1
	}
	return 0
}
