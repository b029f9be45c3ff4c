package hub

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/workload"
)

// ServiceClaim is what a back end proved with the key of a policy, or as a workload, for doors where that lasts longer than one request.
type ServiceClaim struct {
	Policy  string // or the workload's SPIFFE id
	Rights  Right
	Path    string    // below the hub, lower case, without slashes at its ends; "": all of it
	Expires time.Time // zero: when the key is renewed
	hub     *Hub
	signer  signer

	workload *WorkloadClaim // by which it was proved; nil: by the key of a policy
}

// ProveService checks a token made with the key of a policy, for the hub or a path below it, or that of a workload. The key's text is taken for
// base64, as SDKs of IoT Hub do, or as it stands, as those of Event Hubs do. Faults are those of Authorize and of ProveWorkload.
func (h *Hub) ProveService(token string) (ServiceClaim, error) {
	op := "hub.ProveService"
	if workload.Is(token) {
		c, err := h.ProveWorkload(token)
		if err != nil {
			return ServiceClaim{}, err
		}
		return c.service(), nil
	}
	if h.KeysOff() {
		return ServiceClaim{}, h.keysAreOff(op)
	}
	t, err := sas.Parse(token)
	if err != nil {
		return ServiceClaim{}, err
	}
	p, ok := (*h.policies.Load())[t.Policy]
	keys := []string{p.PrimaryKey, p.SecondaryKey}
	i := t.EitherSigner(keys...)
	if i < 0 || !ok {
		return ServiceClaim{}, wrongPolicyKey(op, t.Policy)
	}
	path, ok := t.Under(h.HostNames())
	if !ok {
		return ServiceClaim{}, fault.Newf(op, fault.Denied, "the token is for another resource than %s", h.HostName()).Advise("sign sr=%s", h.HostName())
	}
	if err := h.fresh(t); err != nil {
		return ServiceClaim{}, err
	}
	by := signer{policy: p.Name, key: sha256.Sum256([]byte(keys[i]))}
	return ServiceClaim{Policy: p.Name, Rights: Right(p.Rights), Path: path, Expires: t.Expires, hub: h, signer: by}, nil
}

// ProvePolicyKey checks the key of a policy itself, as clients show it that sign nothing. Unauthenticated when it is none of the two.
func (h *Hub) ProvePolicyKey(policy, key string) (ServiceClaim, error) {
	if h.KeysOff() {
		return ServiceClaim{}, h.keysAreOff("hub.ProvePolicyKey")
	}
	p, ok := (*h.policies.Load())[policy]
	same := subtle.ConstantTimeCompare([]byte(key), []byte(p.PrimaryKey)) | subtle.ConstantTimeCompare([]byte(key), []byte(p.SecondaryKey))
	if !ok || key == "" || same != 1 {
		return ServiceClaim{}, wrongPolicyKey("hub.ProvePolicyKey", policy)
	}
	return ServiceClaim{Policy: p.Name, Rights: Right(p.Rights), hub: h, signer: signer{policy: p.Name, key: sha256.Sum256([]byte(key))}}, nil
}

func wrongPolicyKey(op, policy string) error {
	return fault.Newf(op, fault.Unauthenticated, "the token is not signed with a key of policy %q", shorten(policy)).
		Advise("copy the policy's connection string again; its key may have been renewed")
}

// Valid tells whether the policy still has the key, or the workload its roles. Who holds a claim asks again after Hub.Renewed.
func (c ServiceClaim) Valid() bool {
	if c.workload != nil {
		return c.workload.Valid()
	}
	p, ok := (*c.hub.policies.Load())[c.Policy]
	return ok && !c.hub.KeysOff() && c.signer.among(p.PrimaryKey, p.SecondaryKey) && !c.hub.gone.Load()
}

// May tells whether the claim is good for the path now, with the right needed. Denied, Expired, or Unauthenticated when the key was renewed.
func (c ServiceClaim) May(need Right, path string) error {
	op := "hub.May"
	if c.workload != nil {
		return c.workload.mayService(need, path)
	}
	if !c.Valid() {
		return fault.Newf(op, fault.Unauthenticated, "the key of policy %s was renewed", c.Policy).Advise("copy the policy's connection string again")
	}
	if now := c.hub.server.clock.Now(); !c.Expires.IsZero() && !now.Before(c.Expires) {
		return fault.Newf(op, fault.Expired, "the token ended %s ago", now.Sub(c.Expires).Round(time.Second)).Advise("make a new one before the old one ends")
	}
	if c.Rights&need != need {
		return fault.Newf(op, fault.Denied, "policy %s does not have %s", c.Policy, need).Advise("use a policy that has it, such as %s", PolicyService)
	}
	if path = strings.ToLower(strings.Trim(path, "/")); c.Path != "" && path != c.Path && !strings.HasPrefix(path, c.Path+"/") {
		return fault.Newf(op, fault.Denied, "the token is for %.80q and not for %.80q", c.Path, path).Advise("sign sr=%s", c.hub.HostName())
	}
	return nil
}
