package control

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// shownRules bounds the rules that stand in one audit record. Records are kept for ever.
const shownRules = 1000

// listPortrait is what an audit record shows of an allowlist. Of a change only the rules that came, went or changed are shown; Digest is
// the same for the same rules, so that one can tell when a list was last as it is now.
type listPortrait struct {
	UID         string            `json:"uid"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Spec        listSpec          `json:"spec"`
}

type listSpec struct {
	Owner    string               `json:"owner,omitempty"`
	Gateways []string             `json:"gateways,omitempty"`
	Count    int                  `json:"count"`            // of all rules
	Digest   string               `json:"digest"`           // names all rules, in their order
	Rules    []resource.AllowRule `json:"rules,omitempty"`  // that came, went or changed
	Unshown  int                  `json:"unshown,omitzero"` // more of these than a record takes
}

// portrayList shows some rules of an allowlist.
func (w *work) portrayList(a *resource.Allowlist, rules []resource.AllowRule) listPortrait {
	m := a.Metadata
	p := listPortrait{UID: m.UID, Labels: m.Labels, Annotations: m.Annotations}
	p.Spec = listSpec{Owner: a.Spec.Owner, Gateways: a.Spec.Gateways, Count: len(a.Spec.Rules), Digest: w.rulesDigest(a), Rules: rules}
	if more := len(rules) - shownRules; more > 0 {
		p.Spec.Rules, p.Spec.Unshown = rules[:shownRules], more
	}
	return p
}

// rulesDigest names the rules of a list, from what they are cut into.
func (w *work) rulesDigest(a *resource.Allowlist) string {
	var parts []*plan.Part
	if was := w.world().allowlist(a.Key()); was != nil {
		parts = was.parts
	}
	for _, ch := range w.changes {
		if ch.after == a {
			parts = ch.parts
		}
	}
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p.Digest))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// portrayLists shows of both what the other has not.
func (w *work) portrayLists(before, after *resource.Allowlist) (then, now any) {
	return w.portrayList(before, without(before.Spec.Rules, after.Spec.Rules)), w.portrayList(after, without(after.Spec.Rules, before.Spec.Rules))
}

// without returns the rules that are not among others, or are there as something else.
func without(rules, others []resource.AllowRule) []resource.AllowRule {
	known := make(map[string]*resource.AllowRule, len(others))
	for i := range others {
		known[others[i].Name] = &others[i]
	}
	var out []resource.AllowRule
	for i := range rules {
		if o := known[rules[i].Name]; o == nil || !o.Equal(rules[i]) {
			out = append(out, rules[i])
		}
	}
	return out
}
