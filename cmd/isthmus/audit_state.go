package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/audit"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/keepfile"
)

const (
	stateFormat  = "isthmus audit export"
	stateVersion = 1
)

// exportState is how far an export got.
type exportState struct {
	Format      string          `json:"format"`
	Version     int             `json:"version"`
	TrustDomain string          `json:"trustDomain"`
	To          string          `json:"to"`
	Size        int64           `json:"size,omitempty"` // of the file, with everything below in it
	Chains      []exportedChain `json:"chains"`
}

// exportedChain is how far it got with one chain.
type exportedChain struct {
	Tenant     string      `json:"tenant,omitempty"`
	After      audit.Place `json:"after"`                // the last record exported
	Checkpoint int64       `json:"checkpoint,omitempty"` // the record of the last checkpoint exported
}

func (s exportState) chain(tenant string) (exportedChain, bool) {
	i := slices.IndexFunc(s.Chains, func(c exportedChain) bool { return c.Tenant == tenant })
	if i < 0 {
		return exportedChain{Tenant: tenant}, false
	}
	return s.Chains[i], true
}

// readState reads how far an export got before; there may be none.
func (x *auditExport) readState() (exportState, error) {
	op := "isthmus.export"
	if x.statePath == "" {
		return exportState{}, nil
	}
	b, err := readBounded(x.statePath, maxKept)
	if errors.Is(err, fs.ErrNotExist) {
		return exportState{}, nil
	}
	if err != nil {
		return exportState{}, fault.Newf(op, fault.Invalid, "how far the export got cannot be read: %v", err).Because(err)
	}
	var s exportState
	if err := json.Unmarshal(b, &s); err != nil || s.Format != stateFormat || s.Version != stateVersion {
		return exportState{}, fault.Newf(op, fault.Invalid, "%s is no state of an export", x.statePath).Because(err).Advise("name another file with --state")
	}
	if s.To != x.to || s.TrustDomain != x.domain {
		return exportState{}, fault.Newf(op, fault.Conflict, "%s is the state of an export of %s to %s", x.statePath, s.TrustDomain, s.To).
			Advise("name another file with --state")
	}
	return s, nil
}

// writeState replaces the state when something has changed.
func (x *auditExport) writeState(next exportState) error {
	slices.SortFunc(next.Chains, func(a, b exportedChain) int { return strings.Compare(a.Tenant, b.Tenant) })
	was, _ := json.Marshal(x.state) // both are plain values
	is, _ := json.Marshal(next)
	if bytes.Equal(was, is) {
		return nil
	}
	if err := keepfile.Write(x.statePath, append(is, '\n')); err != nil {
		return fault.Wrap("isthmus.export", fault.Exhausted, err, "how far the export got cannot be written down: "+err.Error())
	}
	x.state = next
	return nil
}
