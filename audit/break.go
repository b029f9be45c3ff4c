package audit

import (
	"fmt"

	"github.com/isthmus-io/isthmus/fault"
)

// What was done to a chain.
type What string

// What a Verifier finds.
const (
	Removed   What = "removed"    // records that were there are not
	Changed   What = "changed"    // a record says something else than when it was written
	Reordered What = "reordered"  // records that were written stand in another order
	Inserted  What = "inserted"   // records stand there that were not written there
	CutOff    What = "cut off"    // the end is missing
	BegunAnew What = "begun anew" // a record says that there is none before it, and there is
	Rewritten What = "rewritten"  // every hash fits, but not the checkpoint somebody signed
	Forged    What = "forged"     // a checkpoint that the authority did not sign, or not for this chain
)

// Break is where a chain is no longer what was written, and why. It is an error; Fault gives it to people.
type Break struct {
	Tenant   string // whose chain
	Sequence int64  // the first record that is not what was written there; of a forged checkpoint the record it names
	Count    int64  // how many records were removed, inserted or cut off; 0 when that is not known
	What     What
	Words    string // how it shows
}

// Error is one line.
func (b *Break) Error() string {
	if b.What == Forged {
		return fmt.Sprintf("a checkpoint of the audit chain %s is forged, that of record %d: %s", whose(b.Tenant), b.Sequence, b.Words)
	}
	return fmt.Sprintf("the audit chain %s is broken at record %d: %s", whose(b.Tenant), b.Sequence, b.Words)
}

// Fault is the break as a Conflict, with what to do.
func (b *Break) Fault(op string) *fault.Error {
	f := fault.New(op, fault.Conflict, b.Error()).Because(b)
	switch b.What {
	case Forged:
		return f.Advise("somebody wrote it past the control plane: keep a copy of what you have, and compare it with checkpoints kept elsewhere")
	case Rewritten:
		return f.Advise("somebody wrote the chain anew up to there: keep a copy of it, and compare it with an export or a backup from before the checkpoint")
	}
	return f.Advise("somebody changed it past the control plane: keep a copy of it, and compare it with an export or a backup from record %d on", b.Sequence)
}

func whose(tenant string) string {
	if tenant == "" {
		return "of the deployment"
	}
	return "of tenant " + tenant
}

// some is "it was inserted", or "it and 4 more were inserted".
func some(count int64, one, many string) string {
	if count <= 1 {
		return "it " + one
	}
	return fmt.Sprintf("it and %d more %s", count-1, many)
}

func missing(count int64) string {
	return some(count, "is missing, it was removed", "are missing, they were removed")
}
