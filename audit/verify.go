package audit

import (
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// maxChains is how many chains an export may have.
const maxChains = 100_000

// Verified is what was found of one chain that is whole.
type Verified struct {
	Tenant  string     `json:"tenant,omitempty"`
	After   int64      `json:"after"`             // the record before the first one; 0 when the chain is there from its beginning
	Last    Place      `json:"last"`              // the last record
	Covered Checkpoint `json:"covered,omitzero"`  // the last signed checkpoint that fits
	Skipped int        `json:"skipped,omitempty"` // checkpoints given of records before the first one
}

// chainOf is one chain of a file.
type chainOf struct {
	Verified
	v       *Verifier
	through int64
}

// VerifyExport walks every chain of an export: the numbers and hashes of its records, and that its checkpoints, and those kept elsewhere,
// name records which are so, signed by an authority of the PEM text. The error is a *Break, or Invalid for what is no export, or for kept
// checkpoints that are newer than it. progress, if not nil, is called for each line.
func VerifyExport(in *Reader, rootsPEM []byte, kept []Checkpoint, progress func()) ([]Verified, error) {
	op := "audit.VerifyExport"
	first, err := in.Next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, fault.New(op, fault.Invalid, "the export is empty").Advise("make it anew: isthmus audit export")
	case err != nil:
		return nil, err
	}
	x := &verifying{header: first.Header, roots: rootsPEM, kept: kept, chains: map[string]*chainOf{}}
	for _, p := range first.Header.Chains {
		if err := x.begin(p); err != nil {
			return nil, err
		}
	}
	for {
		l, err := in.Next()
		switch {
		case errors.Is(err, io.EOF):
			return x.end()
		case err != nil:
			return nil, err
		}
		var tenant string
		if l.Record != nil {
			tenant = l.Record.Tenant
		} else {
			tenant = l.Checkpoint.Tenant
		}
		c := x.chains[tenant]
		if c == nil {
			if err := x.begin(Part{Tenant: tenant}); err != nil {
				return nil, err
			}
			c = x.chains[tenant]
		}
		if l.Record != nil {
			err = c.v.Record(*l.Record)
		} else {
			err = c.v.Expect(*l.Checkpoint)
		}
		if err != nil {
			return nil, err
		}
		if progress != nil {
			progress()
		}
	}
}

// verifying is one VerifyExport under way.
type verifying struct {
	header *Header
	roots  []byte
	kept   []Checkpoint
	chains map[string]*chainOf
}

// begin makes the verifier of a chain, with the checkpoints that were kept of it.
func (x *verifying) begin(p Part) error {
	op := "audit.VerifyExport"
	if x.chains[p.Tenant] != nil || len(x.chains) == maxChains {
		return fault.New(op, fault.Invalid, "the export's header names a chain twice, or too many chains").Advise("take the file as it was written")
	}
	c := &chainOf{Verified: Verified{Tenant: p.Tenant, After: p.After.Sequence}, v: NewVerifier(p.Tenant, p.After, x.roots), through: p.Through}
	x.chains[p.Tenant] = c
	kept := slices.DeleteFunc(slices.Clone(x.kept), func(k Checkpoint) bool { return k.Tenant != p.Tenant })
	slices.SortStableFunc(kept, func(a, b Checkpoint) int { return int(min(max(a.Sequence-b.Sequence, -1), 1)) })
	for _, k := range kept {
		if k.Sequence < p.After.Sequence {
			c.Skipped++
			continue
		}
		if err := c.v.Expect(k); err != nil {
			return err
		}
		if p.Through > 0 && k.Sequence > p.Through && x.header.At.Before(k.At) {
			return fault.Newf(op, fault.Invalid, "the export was made at %s and ends with record %d %s; the checkpoint is newer and names record %d",
				x.header.At.UTC().Format("2006-01-02 15:04:05"), p.Through, whose(p.Tenant), k.Sequence).Advise("compare it with a newer export")
		}
	}
	return nil
}

func (x *verifying) end() ([]Verified, error) {
	out := make([]Verified, 0, len(x.chains))
	for _, k := range x.kept {
		if x.chains[k.Tenant] == nil {
			return nil, fault.Newf("audit.VerifyExport", fault.Invalid, "a checkpoint is of the audit chain %s, which is not in the export", whose(k.Tenant)).
				Advise("give the checkpoint of a chain that is: isthmus audit checkpoint --tenant NAME")
		}
	}
	for _, c := range x.chains {
		if err := c.v.End(AtLeast(c.through)); err != nil {
			return nil, err
		}
		c.Last, c.Covered = c.v.Last(), c.v.Covered()
		out = append(out, c.Verified)
	}
	slices.SortFunc(out, func(a, b Verified) int { return strings.Compare(a.Tenant, b.Tenant) })
	return out, nil
}
