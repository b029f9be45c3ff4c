package storage

import (
	"context"
	"slices"
	"time"

	"github.com/isthmus-io/isthmus/fault"
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
	Who     string    // for logs: "key 1", a signature, an identity
	Expires time.Time // zero: never
	scopes  []scope
}

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
	out := Claim{Who: who, Expires: expires}
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
		return Whole("key 1"), nil
	case second:
		return Whole("key 2"), nil
	}
	return Claim{}, fault.New(op, fault.Unauthenticated, "the request is not signed with a key of this account").
		Advise("compare the account's name and key with those of the connection string, and the clocks of both machines").Because(WrongSignature)
}

// ByIdentity returns the claim of whoever a token is about. Unauthenticated, Expired.
func (a *Account) ByIdentity(ctx context.Context, token string) (Claim, error) {
	op := "storage.ByIdentity"
	check := a.server.cfg.Tokens
	if check == nil {
		return Claim{}, fault.New(op, fault.Unauthenticated, "this account takes no tokens").Advise("use a connection string, or a shared access signature").Because(NoIdentity)
	}
	who, err := check(ctx, *a.spec.Load(), token)
	if err != nil {
		return Claim{}, err
	}
	out := Claim{Who: who.Who, Expires: who.Expires}
	for _, g := range who.Grants {
		s := scope{container: g.Container, levels: EveryLevel, rights: g.Rights}
		if g.Container != "" {
			s.levels &^= Service // which would tell of other containers
		}
		out.scopes = append(out.scopes, s)
	}
	return out, nil
}
