package control

import (
	"context"
	"crypto/subtle"
	"slices"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// ContractDecision is what a side of a contract may do.
type ContractDecision string

const (
	// AcceptContract signs the text. The owner's signature stands under what it applies; it accepts what it has withdrawn itself, which is a
	// proposal again by that.
	AcceptContract ContractDecision = "accept"
	// RejectContract says that the text will not be accepted. What holds stays.
	RejectContract ContractDecision = "reject"
	// WithdrawContract ends what holds. The owner's withdrawal also takes its proposal back.
	WithdrawContract ContractDecision = "withdraw"
)

// ContractChoice is a decision about one text. Version and Digest name it, so that nobody agrees to what he has not read; they are needed to
// accept and to reject.
type ContractChoice struct {
	Decision ContractDecision
	Version  int64
	Digest   string
	Reason   string
}

// DecideContract takes a side's decision: the tenant that owns the contract and the one it is with may, and nobody else knows of it. An
// administrator of the deployment stands for the tenant it is with, or for the owner when the other side has nothing to decide. NotFound for
// what may not be seen, Conflict when the text is another by now, or it is decided already. Both sides get the audit record; one of a
// decision that was denied goes to the tenant that tried.
func (c *Control) DecideContract(ctx context.Context, p Principal, key resource.Key, d ContractChoice) (*resource.Contract, error) {
	op := "control.DecideContract"
	if err := checkReason(op, d.Reason); err != nil {
		return nil, err
	}
	if key.Kind != resource.KindContract {
		return nil, fault.Newf(op, fault.Invalid, "a %s is not agreed on", key.Kind).Advise("name a contract as TENANT/NAME")
	}
	var out *resource.Contract
	err := p.mayWrite(op)
	if err == nil {
		err = c.update(ctx, p.Who(), d.Reason, func(w *work) (err error) {
			out, err = w.decideContract(p, key, d)
			return err
		})
	}
	if err != nil {
		c.recordDenied(ctx, p, key, string(d.Decision), d.Reason, err)
		return nil, err
	}
	c.metrics.changes.WithLabelValues(string(d.Decision)).Inc()
	c.log.Info("control: contract decided", "contract", key.Path(), "decision", string(d.Decision), "who", p.Who(), "version", out.Status.Version, "state", string(out.Status.State))
	return c.show(p, out).(*resource.Contract), nil
}

func (w *work) decideContract(p Principal, key resource.Key, d ContractChoice) (*resource.Contract, error) {
	op := "control.DecideContract"
	o, err := w.get(key)
	if err != nil {
		return nil, err
	}
	before := asOr[*resource.Contract](o)
	if before == nil || !p.sees(before.Metadata.Tenant) && !p.sees(before.Spec.With) {
		return nil, noSuch(op, key)
	}
	after := resource.Clone(before)
	side := p.Tenant
	if p.whole() {
		side = sideOf(after, d.Decision)
	}
	switch d.Decision {
	case AcceptContract:
		err = w.accept(after, side, d)
	case RejectContract:
		err = w.reject(after, side, d)
	case WithdrawContract:
		err = w.withdrawContract(after, side, d)
	default:
		err = fault.Newf(op, fault.Invalid, "%.20q is not a decision", d.Decision).Advise("decide accept, reject or withdraw")
	}
	if err != nil {
		return nil, err
	}
	after.Status.State = stateOf(after)
	if err := w.put(before, after); err != nil {
		return nil, err
	}
	return after, w.recordContract(string(d.Decision), before, after)
}

// recordContract writes a decision into the chains of both sides.
func (w *work) recordContract(operation string, before, after *resource.Contract) error {
	if err := w.record(before.Metadata.Tenant, operation, before.Key(), portrayContract(before), portrayContract(after)); err != nil {
		return err
	}
	return w.tellOther(operation, before, after)
}

// sideOf is for which side an administrator of the deployment decides.
func sideOf(n *resource.Contract, d ContractDecision) string {
	if d == AcceptContract && n.Status.Proposal == nil && n.Status.Agreed == nil {
		return n.Metadata.Tenant
	}
	return n.Spec.With
}

// isThis refuses a decision about another text than the one that is there now.
func (d ContractChoice) isThis(op string, n *resource.Contract) error {
	st := n.Status
	if d.Version == st.Version && subtle.ConstantTimeCompare([]byte(d.Digest), []byte(st.Digest)) == 1 {
		return nil
	}
	if d.Version == 0 || d.Digest == "" {
		return fault.New(op, fault.Invalid, "which text is meant is not said").Advise("name its version and its digest, which stand in its status")
	}
	return fault.Newf(op, fault.Conflict, "the text is version %d with the digest %.12s by now", st.Version, st.Digest).
		Advise("read it again and decide again: isthmus contract show %s", n.Key().Path())
}

func (w *work) accept(n *resource.Contract, side string, d ContractChoice) error {
	op := "control.DecideContract"
	if err := d.isThis(op, n); err != nil {
		return err
	}
	st := &n.Status
	switch {
	case st.Agreed != nil && st.Agreed.Version == st.Version:
		return fault.Newf(op, fault.Conflict, "version %d is agreed already", st.Version)
	case side == n.Metadata.Tenant && st.Proposal == nil:
		return w.signForOwner(n, d.Reason)
	case side == n.Metadata.Tenant:
		return fault.Newf(op, fault.Denied, "%s has signed version %d already: now it is the other side that accepts", side, st.Version).
			Advise("ask the tenant %s to accept it", n.Spec.With)
	case st.Proposal == nil:
		return fault.Newf(op, fault.Conflict, "the tenant %s has withdrawn it, so there is nothing to accept", n.Metadata.Tenant).Advise("ask %s to propose it again", n.Metadata.Tenant)
	}
	if !n.Spec.Until.IsZero() && !n.Spec.Until.After(w.now) {
		return fault.Newf(op, fault.Conflict, "it ended at %s", n.Spec.Until.UTC().Format("2006-01-02 15:04:05 UTC")).Advise("ask %s to propose it with another end", n.Metadata.Tenant)
	}
	theirs, err := w.sign(n, side)
	if err != nil {
		return err
	}
	w.agree(n, *st.Proposal, theirs)
	w.decided(n, side, "accepted", d.Reason)
	return nil
}

func (w *work) reject(n *resource.Contract, side string, d ContractChoice) error {
	op := "control.DecideContract"
	if err := d.isThis(op, n); err != nil {
		return err
	}
	st := &n.Status
	rejected := ""
	for _, h := range slices.Backward(st.History) {
		if h.What == "proposed" {
			break
		}
		if h.What == "rejected" && h.Version == st.Version {
			rejected = h.By
		}
	}
	switch {
	case side == n.Metadata.Tenant:
		return fault.Newf(op, fault.Denied, "%s has proposed it, and the other side rejects or accepts", side).
			Advise("take it back with: isthmus contract withdraw %s", n.Key().Path())
	case st.Agreed != nil && st.Agreed.Version == st.Version:
		return fault.Newf(op, fault.Conflict, "version %d is agreed already", st.Version).Advise("end it with: isthmus contract withdraw %s", n.Key().Path())
	case rejected != "":
		return fault.Newf(op, fault.Conflict, "version %d is rejected already, by %s", st.Version, rejected)
	}
	w.decided(n, side, "rejected", d.Reason)
	return nil
}

func (w *work) withdrawContract(n *resource.Contract, side string, d ContractChoice) error {
	op := "control.DecideContract"
	st := &n.Status
	owner := side == n.Metadata.Tenant
	if st.Agreed == nil && (!owner || st.Proposal == nil) {
		return fault.New(op, fault.Conflict, "no version of it holds, so there is nothing to withdraw").Advise("what is proposed can be rejected")
	}
	if d.Version != 0 || d.Digest != "" { // whoever names a text means that one
		if a := st.Agreed; a != nil && (d.Version != a.Version || d.Digest != "" && d.Digest != a.Digest) {
			return fault.Newf(op, fault.Conflict, "the text that holds is version %d", a.Version).Advise("read it again: isthmus contract show %s", n.Key().Path())
		}
	}
	switch {
	case owner:
		st.Proposal = nil
	case st.Agreed.Version == st.Version: // the owner's signature stands, so that who withdrew may accept again
		if i := slices.IndexFunc(st.Agreed.Signatures, func(s resource.ContractSignature) bool { return s.Tenant == n.Metadata.Tenant }); i >= 0 {
			st.Proposal = &st.Agreed.Signatures[i]
		}
	}
	st.Agreed = nil
	w.decided(n, side, "withdrawn", d.Reason)
	return nil
}
