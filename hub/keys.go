package hub

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"maps"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// Which says which of the two keys of a policy or a device is meant.
type Which string

const (
	Primary   Which = "primary"
	Secondary Which = "secondary"
	Swap      Which = "swap" // to renew only: they change places, and nobody is cut
)

// renew returns the keys as they are afterwards.
func (w Which) renew(op, primary, secondary string) (string, string, error) {
	switch w {
	case Primary:
		return newKey(), secondary, nil
	case Secondary:
		return primary, newKey(), nil
	case Swap:
		return secondary, primary, nil
	}
	return "", "", fault.Newf(op, fault.Invalid, "%.20q is no key that can be renewed", w).Advise("write primary, secondary or swap")
}

// signer is the key, or the certificate, by which somebody proved who it is. The key itself is not kept.
type signer struct {
	policy    string // empty when it was the device's own
	authority string // thumbprint of the authority that vouched for the certificate, if one did
	thumbs    thumbprints
	key       [sha256.Size]byte
}

// signerOf tells which of the keys made the token.
func signerOf(t sas.Token, keys ...string) (signer, bool) {
	i := t.Signer(keys...)
	if i < 0 {
		return signer{}, false
	}
	return signer{policy: t.Policy, key: sha256.Sum256([]byte(keys[i]))}, true
}

// among tells whether the key is still one of these.
func (s signer) among(keys ...string) bool {
	for _, k := range keys {
		if sum := sha256.Sum256([]byte(k)); subtle.ConstantTimeCompare(sum[:], s.key[:]) == 1 {
			return true
		}
	}
	return false
}

// still tells whether the key that made a session is one the device, or the policy, has now.
func (h *Hub) still(s signer, d hubstore.Device) bool {
	switch {
	case s.authority != "":
		return d.AuthType == AuthCertificateAuthority && h.trusted.Load().has(s.authority)
	case s.thumbs != thumbprints{}:
		return d.AuthType == AuthSelfSigned && s.thumbs.among(d.PrimaryThumbprint, d.SecondaryThumbprint)
	}
	if s.policy == "" {
		return d.AuthType == AuthSAS && s.among(d.PrimaryKey, d.SecondaryKey)
	}
	p := (*h.policies.Load())[s.policy]
	return !h.KeysOff() && s.among(p.PrimaryKey, p.SecondaryKey)
}

func (h *Hub) setPolicies(list []hubstore.Policy) {
	next := map[string]hubstore.Policy{}
	for _, p := range list {
		next[p.Name] = p
	}
	h.policies.Store(&next)
}

// Policy is a policy without its keys.
type Policy struct {
	Name   string
	Rights Right
}

// Policies returns the hub's policies by name.
func (h *Hub) Policies() []Policy {
	out := make([]Policy, 0, len(policyNames()))
	for _, p := range *h.policies.Load() {
		out = append(out, Policy{p.Name, Right(p.Rights)})
	}
	slices.SortFunc(out, func(a, b Policy) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func noPolicy(op, name string) *fault.Error {
	return fault.Newf(op, fault.NotFound, "the hub has no policy %q", shorten(name)).Advise("it has %s", strings.Join(policyNames(), ", "))
}

// RenewPolicyKey makes a new key in place of one of a policy's, or swaps the two. Tokens made with a key that is gone are refused from
// then on; the sessions of devices that came with one are cut before it returns, and counted; readers of events learn of it by
// Renewed. by is who asked, for the log.
func (h *Hub) RenewPolicyKey(ctx context.Context, policy string, which Which, by string) (cut int, err error) {
	op := "hub.RenewPolicyKey"
	h.renewing.Lock()
	defer h.renewing.Unlock()
	next := maps.Clone(*h.policies.Load())
	p, ok := next[policy]
	if !ok {
		return 0, noPolicy(op, policy)
	}
	if p.PrimaryKey, p.SecondaryKey, err = which.renew(op, p.PrimaryKey, p.SecondaryKey); err != nil {
		return 0, err
	}
	if err := h.server.store.Write(ctx, func(tx *hubstore.Tx) error { return tx.SetPolicyKeys(h.id, policy, p.PrimaryKey, p.SecondaryKey) }); err != nil {
		return 0, err
	}
	next[policy] = p
	h.policies.Store(&next)
	h.renew()
	cut = h.cutWhere(KeyGone, func(s *Session) bool {
		by := s.proof().signer
		return by.policy == policy && !by.among(p.PrimaryKey, p.SecondaryKey)
	})
	h.server.log.Info("hub: policy key renewed", "hub", h.Name(), "policy", policy, "key", string(which), "by", by, "cut", cut)
	return cut, nil
}

func (h *Hub) renew() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.renewed)
	h.renewed = make(chan struct{})
}

// Renewed returns a channel that is closed when the keys of a policy change next, or what the plan says of keys and of workloads' roles.
func (h *Hub) Renewed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.renewed
}

// RenewDeviceKey makes a new key in place of one of a device's, or swaps the two. A session that came with a key that is gone is cut
// before it returns, and counted. by is who asked, for the log.
func (h *Hub) RenewDeviceKey(ctx context.Context, id string, which Which, by string) (cut int, err error) {
	return h.RenewKey(ctx, Name{Device: id}, which, by)
}

// RenewKey is RenewDeviceKey for a device or a module.
func (h *Hub) RenewKey(ctx context.Context, n Name, which Which, by string) (cut int, err error) {
	op := "hub.RenewKey"
	var d hubstore.Device
	err = h.server.store.Write(ctx, func(tx *hubstore.Tx) (err error) {
		if d, err = tx.Device(h.id, n); err != nil {
			return err
		}
		if d.AuthType != AuthSAS {
			return fault.Newf(op, fault.Invalid, "%s does not use a shared access key", n.Words()).Advise("replace its certificate instead")
		}
		if d.PrimaryKey, d.SecondaryKey, err = which.renew(op, d.PrimaryKey, d.SecondaryKey); err != nil {
			return err
		}
		d.ETag = newETag()
		return tx.Replace(d)
	})
	if err != nil {
		return 0, err
	}
	cut = h.cutStale(d)
	h.server.log.Info("hub: device key renewed", "hub", h.Name(), "device", n.String(), "key", string(which), "by", by, "cut", cut)
	return cut, nil
}

// cutStale ends an identity's session when the key that made it is gone, and tells how many that were.
func (h *Hub) cutStale(d hubstore.Device) int {
	s := h.session(d.Name())
	if s == nil || h.still(s.proof().signer, d) {
		return 0
	}
	s.cut(KeyGone)
	return 1
}
