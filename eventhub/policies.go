package eventhub

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/store/eventhubstore"
)

// PolicyRoot is the policy every namespace is born with. It has every right and cannot go.
const PolicyRoot = "RootManageSharedAccessKey"

func rootPolicy() eventhubstore.Policy {
	return eventhubstore.Policy{
		Key: strings.ToLower(PolicyRoot), Name: PolicyRoot, Rights: uint32(EveryRight), PrimaryKey: newKey(), SecondaryKey: newKey(),
	}
}

// newKey returns 32 random bytes as base64, which clients read as text or as what it means.
func newKey() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return base64.StdEncoding.EncodeToString(b)
}

// Which says which of the two keys of a policy is meant.
type Which string

const (
	Primary   Which = "primary"
	Secondary Which = "secondary"
	Swap      Which = "swap" // to renew only: they change places, and nobody is cut
)

// Policy is a policy without its keys.
type Policy struct {
	EventHub string // the only one it opens; empty for a policy of the namespace
	Name     string
	Rights   Right
	Declared bool // by the resource
}

func policyOf(h *eventHub, p eventhubstore.Policy) Policy {
	out := Policy{Name: p.Name, Rights: Right(p.Rights), Declared: p.Declared}
	if h != nil {
		out.EventHub = h.Name
	}
	return out
}

// holder returns where the policies of the namespace are, or those of an event hub when one is named.
func (n *Namespace) holder(op string, s *state, eventHub string) (*eventHub, map[string]eventhubstore.Policy, error) {
	if eventHub == "" {
		return nil, s.policies, nil
	}
	h := s.hubs[strings.ToLower(eventHub)]
	if h == nil {
		return nil, nil, noEntity(op, eventHub)
	}
	return h, h.policies, nil
}

// Policies returns the policies of the namespace, or those of one event hub when it is named, by name.
func (n *Namespace) Policies(eventHub string) ([]Policy, error) {
	h, all, err := n.holder("eventhub.Policies", n.state.Load(), eventHub)
	if err != nil {
		return nil, err
	}
	out := make([]Policy, 0, len(all))
	for _, p := range all {
		out = append(out, policyOf(h, p))
	}
	slices.SortFunc(out, func(a, b Policy) int { return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	return out, nil
}

// policy returns one.
func (n *Namespace) policy(op string, s *state, eventHub, name string) (*eventHub, eventhubstore.Policy, error) {
	h, all, err := n.holder(op, s, eventHub)
	if err != nil {
		return nil, eventhubstore.Policy{}, err
	}
	p, ok := all[strings.ToLower(name)]
	if !ok {
		where := "the namespace"
		if h != nil {
			where = "the event hub " + h.Name
		}
		return nil, p, fault.Newf(op, fault.NotFound, "%s has no policy %q", where, shorten(name))
	}
	return h, p, nil
}

// CreatePolicy adds a policy with two new keys, to the namespace or to one event hub. Conflict when it is there.
func (n *Namespace) CreatePolicy(ctx context.Context, eventHub, name string, rights Right) (Policy, error) {
	op := "eventhub.CreatePolicy"
	key, err := policyKey(op, name)
	if err != nil {
		return Policy{}, err
	}
	if rights = rights.whole(); rights == 0 || rights&^EveryRight != 0 {
		return Policy{}, fault.Newf(op, fault.Invalid, "the policy %s needs rights", name).Advise("give Send, Listen or Manage")
	}
	n.changing.Lock()
	defer n.changing.Unlock()
	var out Policy
	err = n.change(ctx, func(tx *eventhubstore.Tx, next *state) error {
		h, all, err := n.holder(op, next, eventHub)
		if err != nil {
			return err
		}
		if had, ok := all[key]; ok {
			return fault.Newf(op, fault.Conflict, "there is a policy %s already", had.Name)
		}
		if len(all) >= MaxPolicies {
			return fault.Newf(op, fault.Exhausted, "there are %d policies already, which is all there can be", len(all)).Advise("delete one that nobody uses")
		}
		p := eventhubstore.Policy{Key: key, Name: name, Rights: uint32(rights), PrimaryKey: newKey(), SecondaryKey: newKey()}
		out = policyOf(h, p)
		return next.putPolicy(tx, n.id, h, p)
	})
	if err == nil {
		n.server.log.Info("eventhub: policy created", "namespace", n.Name(), "eventHub", eventHub, "policy", name, "rights", rights.String())
	}
	return out, err
}

// putPolicy writes a policy down, here and in the store. h is nil for one of the namespace.
func (s *state) putPolicy(tx *eventhubstore.Tx, namespace string, h *eventHub, p eventhubstore.Policy) error {
	if h == nil {
		s.policies[p.Key] = p
	} else {
		p.Hub = h.Key
		s.edit(s.hubs[h.Key]).policies[p.Key] = p
	}
	return tx.PutPolicy(namespace, p)
}

// DeletePolicy removes a policy; whoever came by it is out. Conflict for one that the resource declares and for the namespace's first.
func (n *Namespace) DeletePolicy(ctx context.Context, eventHub, name string) error {
	op := "eventhub.DeletePolicy"
	n.changing.Lock()
	defer n.changing.Unlock()
	err := n.change(ctx, func(tx *eventhubstore.Tx, next *state) error {
		h, p, err := n.policy(op, next, eventHub, name)
		switch {
		case err != nil:
			return err
		case p.Declared:
			return declared(op, "policy "+p.Name)
		case h == nil && strings.EqualFold(p.Name, PolicyRoot):
			return fault.Newf(op, fault.Conflict, "the policy %s cannot be deleted", PolicyRoot).Advise("renew its keys instead")
		case h == nil:
			delete(next.policies, p.Key)
		default:
			delete(next.edit(h).policies, p.Key)
		}
		return tx.DeletePolicy(n.id, p.Hub, p.Key)
	})
	if err == nil {
		n.server.log.Info("eventhub: policy deleted", "namespace", n.Name(), "eventHub", eventHub, "policy", name)
	}
	return err
}

// declared refuses to change what the resource says.
func declared(op, what string) error {
	return fault.Newf(op, fault.Conflict, "the %s is declared by the resource of the namespace", what).Advise("change spec.eventHubs of the service instead")
}

// RenewPolicyKey makes a new key in place of one of a policy's, or swaps the two. Tokens made with a key that is gone are refused from
// then on, and claims they gave are worth nothing. by is who asked, for the log.
func (n *Namespace) RenewPolicyKey(ctx context.Context, eventHub, name string, which Which, by string) error {
	op := "eventhub.RenewPolicyKey"
	n.changing.Lock()
	defer n.changing.Unlock()
	err := n.change(ctx, func(tx *eventhubstore.Tx, next *state) error {
		h, p, err := n.policy(op, next, eventHub, name)
		if err != nil {
			return err
		}
		switch which {
		case Primary:
			p.PrimaryKey = newKey()
		case Secondary:
			p.SecondaryKey = newKey()
		case Swap:
			p.PrimaryKey, p.SecondaryKey = p.SecondaryKey, p.PrimaryKey
		default:
			return fault.Newf(op, fault.Invalid, "%.20q is no key that can be renewed", which).Advise("write primary, secondary or swap")
		}
		return next.putPolicy(tx, n.id, h, p)
	})
	if err == nil {
		n.server.log.Info("eventhub: policy key renewed", "namespace", n.Name(), "eventHub", eventHub, "policy", name, "key", string(which), "by", by)
	}
	return err
}

// Keys returns both keys of a policy. They are secrets.
func (n *Namespace) Keys(eventHub, policy string) (primary, secondary string, err error) {
	_, p, err := n.policy("eventhub.Keys", n.state.Load(), eventHub, policy)
	return p.PrimaryKey, p.SecondaryKey, err
}

// ConnectionString returns what a person gives to an SDK, with one of the two keys. When an event hub is named the string is for that one
// alone: with a policy of its own, or, when it has none of this name, with one of the namespace.
func (n *Namespace) ConnectionString(eventHub, policy string, which Which) (sas.EventHubs, error) {
	op := "eventhub.ConnectionString"
	s := n.state.Load()
	h, p, err := n.policy(op, s, eventHub, policy)
	if err != nil && eventHub != "" && s.hubs[strings.ToLower(eventHub)] != nil {
		h = s.hubs[strings.ToLower(eventHub)]
		if _, p, _ = n.policy(op, s, "", policy); p.Name != "" {
			err = nil
		}
	}
	if err != nil {
		return sas.EventHubs{}, err
	}
	c := sas.EventHubs{HostName: n.HostName(), Policy: p.Name, Key: p.PrimaryKey}
	if h != nil {
		c.Entity = h.Name
	}
	switch which {
	case Primary:
	case Secondary:
		c.Key = p.SecondaryKey
	default:
		return sas.EventHubs{}, fault.Newf(op, fault.Invalid, "%.20q is no key", which).Advise("write primary or secondary")
	}
	return c, nil
}
