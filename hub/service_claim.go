package hub

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
)

// ServiceClaim is what a back end proved with the key of a policy, for doors where that lasts longer than one request.
type ServiceClaim struct {
	Policy  string
	Rights  Right
	Path    string    // below the hub, lower case, without slashes at its ends; "": all of it
	Expires time.Time // zero: when the key is renewed
	hub     *Hub
	signer  signer
}

// ProveService checks a token made with the key of a policy, for the hub or a path below it. The key's text is taken for base64, as SDKs
// of IoT Hub do, or as it stands, as those of Event Hubs do. Faults are those of Authorize.
func (h *Hub) ProveService(token string) (ServiceClaim, error) {
	op := "hub.ProveService"
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
	return ServiceClaim{p.Name, Right(p.Rights), path, t.Expires, h, signer{policy: p.Name, key: sha256.Sum256([]byte(keys[i]))}}, nil
}

// ProvePolicyKey checks the key of a policy itself, as clients show it that sign nothing. Unauthenticated when it is none of the two.
func (h *Hub) ProvePolicyKey(policy, key string) (ServiceClaim, error) {
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

// Valid tells whether the policy still has the key. Who holds a claim asks again after Hub.Renewed.
func (c ServiceClaim) Valid() bool {
	p, ok := (*c.hub.policies.Load())[c.Policy]
	return ok && c.signer.among(p.PrimaryKey, p.SecondaryKey) && !c.hub.gone.Load()
}

// May tells whether the claim is good for the path now, with the right needed. Denied, Expired, or Unauthenticated when the key was renewed.
func (c ServiceClaim) May(need Right, path string) error {
	op := "hub.May"
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
