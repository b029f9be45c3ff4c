package control

import (
	"crypto/rand"
	"slices"

	"github.com/isthmus-io/isthmus/agreement"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// contract is a contract with what plans say of the version that holds; nil while none does.
type contract struct {
	noun   *resource.Contract
	agreed *plan.Contract // without the key
}

func newContract(n *resource.Contract) *contract {
	out := &contract{noun: n}
	if a := n.Status.Agreed; a != nil {
		if _, spec, err := a.Read(); err == nil { // a text that cannot be read is no agreement
			out.agreed = &plan.Contract{Name: n.Key().Path(), Version: a.Version, Digest: a.Digest, Spec: spec}
		}
	}
	return out
}

// between tells whether a contract is between two tenants, whichever owns it.
func between(n *resource.Contract, a, b string) bool {
	owner, with := n.Metadata.Tenant, n.Spec.With
	return owner == a && with == b || owner == b && with == a
}

// contractFromOutside is what the tenant sees that a contract is with: all that is agreed about, and none of the owner's own notes.
func contractFromOutside(n *resource.Contract) *resource.Contract {
	m := n.Metadata
	out := &resource.Contract{Header: n.Header, Spec: n.Spec, Status: n.Status}
	out.Metadata = resource.Meta{Tenant: m.Tenant, Name: m.Name, UID: m.UID, Generation: m.Generation, CreatedAt: m.CreatedAt}
	return out
}

// checkContract keeps a contract with the tenant it was begun with: another one would see what was agreed with the first.
func (w *work) checkContract(before, after *resource.Contract) error {
	op := "control.checkContract"
	if err := w.mustExist(op, tenantKey(after.Metadata.Tenant)); err != nil {
		return err
	}
	if before != nil && before.Spec.With != after.Spec.With {
		return fault.Newf(op, fault.Conflict, "the contract is with %s, and cannot become one with another tenant", before.Spec.With).
			Advise("make a contract of another name")
	}
	if before != nil {
		return nil
	}
	n := 0
	count := func(o resource.Object) {
		if c, ok := o.(*resource.Contract); ok && c.Metadata.Tenant == after.Metadata.Tenant && c.Spec.With == after.Spec.With {
			n++
		}
	}
	for _, c := range w.world().contracts {
		count(c.noun)
	}
	for _, ch := range w.changes {
		if ch.before == nil && ch.key == nil { // a new one is there twice: with its key again
			count(ch.after)
		}
	}
	if n >= maxContractsWith {
		return fault.Newf(op, fault.Exhausted, "there are %d contracts with %s already", n, after.Spec.With).Advise("delete those that are over")
	}
	return nil
}

// maxContractsWith bounds what one tenant can put before another one unasked.
const maxContractsWith = 200

// propose signs the text of a new or changed contract for its owner. A contract with oneself holds by that.
func (w *work) propose(n *resource.Contract) error {
	st := &n.Status
	st.Version++
	_, st.Digest = resource.Clone(n).Text(st.Version) // as it will be read back
	return w.signForOwner(n, "")
}

// signForOwner makes the proposal of the text as it is; version and digest are there already.
func (w *work) signForOwner(n *resource.Contract, reason string) error {
	mine, err := w.sign(n, n.Metadata.Tenant)
	if err != nil {
		return err
	}
	n.Status.Proposal = &mine
	w.decided(n, n.Metadata.Tenant, "proposed", reason)
	if n.Spec.With == n.Metadata.Tenant {
		w.agree(n, mine)
		w.decided(n, n.Metadata.Tenant, "accepted", reason)
	}
	n.Status.State = stateOf(n)
	return nil
}

func (w *work) sign(n *resource.Contract, tenant string) (resource.ContractSignature, error) {
	return agreement.Sign(w.c.authority, n.Key(), n.Status.Version, n.Status.Digest, tenant, printable(w.who), w.now)
}

// agree makes the text the one that holds, with the signatures of both sides.
func (w *work) agree(n *resource.Contract, signatures ...resource.ContractSignature) {
	text, digest := n.Text(n.Status.Version)
	n.Status.Agreed = &resource.AgreedContract{Version: n.Status.Version, Digest: digest, Text: text, Signatures: signatures}
	n.Status.Proposal = nil
}

// decided notes a decision in the contract.
func (w *work) decided(n *resource.Contract, tenant, what, reason string) {
	st := &n.Status
	st.Why = reason
	st.History = append(slices.Clone(st.History), resource.ContractHistory{At: w.now, By: printable(w.who), Tenant: tenant, What: what, Version: st.Version, Reason: reason})
	if over := len(st.History) - resource.MaxContractHistory; over > 0 {
		st.History = st.History[over:]
	}
}

// stateOf follows from what was signed and what was decided last.
func stateOf(n *resource.Contract) resource.ContractState {
	st := &n.Status
	switch {
	case st.Agreed != nil && st.Agreed.Version == st.Version:
		return resource.ContractAgreed
	case st.Agreed != nil:
		return resource.ContractChanged
	}
	for _, h := range slices.Backward(st.History) {
		switch h.What {
		case "withdrawn":
			return resource.ContractWithdrawn
		case "proposed":
			return resource.ContractProposed
		}
	}
	return resource.ContractProposed
}

// contractPortrait is what audit records of both sides show of a contract's standing.
type contractPortrait struct {
	UID     string                 `json:"uid"`
	State   resource.ContractState `json:"state"`
	Version int64                  `json:"version"`
	Digest  string                 `json:"digest"`
	Agreed  int64                  `json:"agreed,omitempty"` // the version that holds
	Holds   string                 `json:"holds,omitempty"`  // its digest
}

func portrayContract(n *resource.Contract) *contractPortrait {
	p := &contractPortrait{UID: n.Metadata.UID, State: n.Status.State, Version: n.Status.Version, Digest: n.Status.Digest}
	if a := n.Status.Agreed; a != nil {
		p.Agreed, p.Holds = a.Version, a.Digest
	}
	return p
}

// tellOther puts what the owner did into the chain of the tenant the contract is with, if there is such a tenant.
func (w *work) tellOther(operation string, before, after *resource.Contract) error {
	n := after
	if n == nil {
		n = before
	}
	if n.Spec.With == n.Metadata.Tenant {
		return nil
	}
	t, err := w.get(tenantKey(n.Spec.With))
	if err != nil || t == nil {
		return err
	}
	var was, is any
	if before != nil {
		was = portrayContract(before)
	}
	if after != nil {
		is = portrayContract(after)
	}
	return w.record(n.Spec.With, operation, n.Key(), was, is)
}

// addContractKey gives a new contract the key that its hashed fields are hashed with: only the process that carries a bridge gets it.
func (w *work) addContractKey(n *resource.Contract) error {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	sealed, err := w.c.seal(contractKeyPurpose(n.Metadata.UID), key)
	if err != nil {
		return err
	}
	if err := w.AddContractKey(n.Metadata.UID, sealed); err != nil {
		return err
	}
	w.changes = append(w.changes, change{after: n, key: key})
	return nil
}

func contractKeyPurpose(uid string) string { return "hash key of contract " + uid }

// leaveContract refuses while bridges name it, and tells the other side.
func (w *work) leaveContract(n *resource.Contract) error {
	list, err := w.List(resource.KindBridge, storeFilter(n.Metadata.Tenant, ""))
	if err != nil {
		return err
	}
	for _, o := range list {
		if b := o.(*resource.Bridge); b.Spec.Contract == n.Key().Path() {
			return fault.Newf("control.Delete", fault.Conflict, "%s works under it", b.Key()).
				Advise("delete the bridge first; to end the agreement at once: isthmus contract withdraw %s --reason ...", n.Key().Path())
		}
	}
	return w.tellOther("delete", n, nil)
}

// leaveContractsWith ends what was agreed with a tenant that goes: another one of its name has agreed to nothing.
func (w *work) leaveContractsWith(tenant string) error {
	list, err := w.List(resource.KindContract, noFilter)
	if err != nil {
		return err
	}
	for _, o := range list {
		before := o.(*resource.Contract)
		if before.Spec.With != tenant || before.Metadata.Tenant == tenant {
			continue
		}
		after := resource.Clone(before)
		after.Status.Agreed, after.Status.Proposal = nil, nil
		w.decided(after, tenant, "withdrawn", "the tenant "+tenant+" was deleted")
		after.Status.State = stateOf(after)
		if err := w.put(before, after); err != nil {
			return err
		}
		if err := w.record(before.Metadata.Tenant, "withdraw", before.Key(), portrayContract(before), portrayContract(after)); err != nil {
			return err
		}
	}
	return nil
}
