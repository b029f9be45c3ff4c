package storage

import (
	"crypto/hmac"
	"fmt"
	"slices"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/workload"
)

// Right is what somebody may do (Blob service: permissions of a shared access signature).
type Right uint16

const (
	Read Right = 1 << iota // blobs, their properties and lists of blocks
	Add
	Create // a blob where there is none
	Write  // a blob, its blocks, properties, metadata and leases
	Delete
	List

	EveryRight = Read | Add | Create | Write | Delete | List
)

// Level is what something is done with.
type Level uint8

const (
	Service   Level = 1 << iota // the account: list containers
	Container                   // a container: create, delete, properties
	Listing                     // list the blobs of a container
	Object                      // a blob

	EveryLevel = Service | Container | Listing | Object
)

// Claim is what somebody proved that he may do.
type Claim struct {
	Who      string    // for logs: "key 1", a signature, a workload
	Workload string    // SPIFFE id, when it is one's
	Expires  time.Time // zero: never
	scopes   []scope
	still    func() bool // nil: always
}

// Holds tells whether what the claim was made of is still good: the key or the roles, and the account. What takes long asks again and again.
func (c Claim) Holds() bool { return c.still == nil || c.still() }

// scope is rights at levels, in one container and with one blob where they are named.
type scope struct {
	container, blob string
	levels          Level
	rights          Right
}

// Whole is a claim to everything.
func Whole(who string) Claim {
	return Claim{Who: who, scopes: []scope{{levels: EveryLevel, rights: EveryRight}}}
}

// Narrow returns the claim with no more than these rights, at these levels, in one container when it is named, and with one blob when that is.
func (c Claim) Narrow(who, container, blob string, levels Level, rights Right, expires time.Time) Claim {
	out := Claim{Who: who, Workload: c.Workload, Expires: expires, still: c.still}
	for _, s := range c.scopes {
		if container != "" && s.container != "" && s.container != container || blob != "" && s.blob != "" && s.blob != blob {
			continue
		}
		if container != "" {
			s.container = container
		}
		if blob != "" {
			s.blob = blob
		}
		s.levels &= levels
		s.rights &= rights
		out.scopes = append(out.scopes, s)
	}
	return out
}

// Covers tells whether the claim gives one of the rights at a level, for a container and, at the level of objects, a blob of it.
func (c Claim) Covers(level Level, container, blob string, oneOf Right) bool {
	return slices.ContainsFunc(c.scopes, func(s scope) bool {
		return s.levels&level != 0 && s.rights&oneOf != 0 && (s.container == "" || s.container == container) && (s.blob == "" || s.blob == blob)
	})
}

// Reaches tells whether the claim gives anything at all at a level.
func (c Claim) Reaches(level Level) bool {
	return slices.ContainsFunc(c.scopes, func(s scope) bool { return s.levels&level != 0 })
}

// ByKey returns the claim of whoever signed with one of the account's keys. signed tells whether a key, 32 bytes or more, made a signature; it
// has to take as long for one that did not. Unauthenticated, and Denied where keys open nothing.
func (a *Account) ByKey(signed func(key []byte) bool) (Claim, error) {
	op := "storage.ByKey"
	if a.spec.Load().KeysOff {
		return Claim{}, fault.Newf(op, fault.Denied, "keys, and signatures made with them, do not open %s", a.HostName()).
			Advise("use an identity with a role, or set keyAccess of the service to Enabled").Because(KeysOff)
	}
	k := a.keys.Load()
	first, second := signed(k.primary), signed(k.secondary)
	switch {
	case first:
		return a.byKey("key 1", k.primary), nil
	case second:
		return a.byKey("key 2", k.secondary), nil
	}
	return Claim{}, fault.New(op, fault.Unauthenticated, "the request is not signed with a key of this account").
		Advise("compare the account's name and key with those of the connection string, and the clocks of both machines").Because(WrongSignature)
}

func (a *Account) byKey(who string, key []byte) Claim {
	c := Whole(who)
	c.still = func() bool {
		k := a.keys.Load()
		return a.served() && !a.spec.Load().KeysOff && (hmac.Equal(key, k.primary) || hmac.Equal(key, k.secondary))
	}
	return c
}

func (a *Account) served() bool {
	now, ok := a.server.Account(a.id)
	return ok && now == a
}

// ByWorkload returns the claim of the workload that a token is about. Unauthenticated, Expired; Denied when it has no role here.
func (a *Account) ByWorkload(token string) (Claim, error) {
	op := "storage.ByWorkload"
	v, spec := a.server.cfg.Workloads, a.spec.Load()
	if v == nil || !workload.Is(token) {
		return Claim{}, fault.New(op, fault.Unauthenticated, "this account takes no such tokens").
			Advise("use the token of a workload of the deployment, a connection string, or a shared access signature").Because(NoIdentity)
	}
	p, err := v.Verify(token, slices.Concat([]string{workload.AudienceStorage}, spec.HostNames)...)
	if err != nil {
		return Claim{}, fault.Wrap(op, fault.Internal, fmt.Errorf("%w: %w", NoIdentity, err), "")
	}
	grants := workload.Rights(spec.Assignments, p)
	out := Claim{Who: p.Workload, Workload: p.Workload, Expires: p.Expires}
	out.still = func() bool { return a.served() && v.Holds(p) && grants.Holds(a.spec.Load().Assignments, p) }
	for _, g := range grants {
		s := scope{container: g.Scope, levels: EveryLevel}
		switch g.Role {
		case resource.RoleBlobReader:
			s.rights = Read | List
		case resource.RoleBlobContributor:
			s.rights = EveryRight
		default:
			continue
		}
		if g.Scope != "" {
			s.levels &^= Service // which would tell of other containers
		}
		out.scopes = append(out.scopes, s)
	}
	if len(out.scopes) == 0 {
		return Claim{}, fault.Newf(op, fault.Denied, "the workload %s has no role at %s", p.Workload, a.HostName()).
			Advise("make a RoleAssignment for it, and compare which agent carries it").Because(MayNot)
	}
	return out, nil
}
