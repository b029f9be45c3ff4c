package builtin

import (
	"context"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/workload"
)

// New returns what a connection of an SDK of Event Hubs may see of a hub.
func New(h *hub.Hub) eventhub.Directory { return directory{h} }

type directory struct{ hub *hub.Hub }

// HostNames implements eventhub.Directory.
func (d directory) HostNames() []string { return d.hub.HostNames() }

// Prove implements eventhub.Directory: tokens are those of the hub's policies and of workloads.
func (d directory) Prove(_ context.Context, kind, token string) (eventhub.Claim, error) {
	op := "builtin.Prove"
	if workload.Is(token) {
		return d.proveWorkload(token)
	}
	if d.hub.KeysOff() && kind != eventhub.TokenJWT {
		return eventhub.Claim{}, keysAreOff(op)
	}
	if kind == eventhub.TokenJWT {
		return eventhub.Claim{}, fault.New(op, fault.Unauthenticated, "InvalidToken: This hub takes no tokens of an identity provider.").
			Advise("use the connection string of a policy, such as %s", hub.PolicyService)
	}
	c, err := d.hub.ProveService(token)
	switch fault.KindOf(err) {
	case fault.Unauthenticated:
		err = badSignature(op, err)
	case fault.Denied:
		err = fault.Newf(op, fault.Unauthenticated, "InvalidAudience: The token is for another host than %s.", NamespaceHost(d.hub)).
			Advise("sign sr=sb://%s/%s", NamespaceHost(d.hub), EntityName(d.hub)).Because(err)
	case fault.Expired:
		t, _ := sas.Parse(token) // it was read before
		err = fault.Newf(op, fault.Expired, "ExpiredToken: The token is expired. Expiration time: %s.", t.Expires.UTC().Format(time.RFC3339)).
			Advise("make a new one, and compare the clocks of both machines if it was just made").Because(err)
	}
	if err != nil {
		return eventhub.Claim{}, err
	}
	path := ""
	if c.Path != "" {
		var ok bool
		if path, ok = split(d.hub, c.Path); !ok {
			name, _, _ := strings.Cut(c.Path, "/")
			return eventhub.Claim{}, noEntity(op, name)
		}
	}
	return claim(c, path), nil
}

// ProveKey implements eventhub.Directory.
func (d directory) ProveKey(_ context.Context, policy, key string) (eventhub.Claim, error) {
	if d.hub.KeysOff() {
		return eventhub.Claim{}, keysAreOff("builtin.ProveKey")
	}
	c, err := d.hub.ProvePolicyKey(policy, key)
	if err != nil {
		return eventhub.Claim{}, badSignature("builtin.ProveKey", err)
	}
	return claim(c, ""), nil
}

// Entity implements eventhub.Directory.
func (d directory) Entity(ctx context.Context, name string) (eventhub.Entity, error) {
	op := "builtin.Entity"
	at, spelled, ok := endpoint(d.hub, strings.Trim(name, "/"))
	if !ok {
		return nil, noEntity(op, name)
	}
	s, err := d.hub.Stream(at)
	if err != nil { // deleted just now
		return nil, noEntity(op, name)
	}
	n, err := s.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	created, err := d.hub.Created(ctx)
	if err != nil {
		return nil, err
	}
	return &entity{stream: s, name: spelled, created: created, partitions: n, gone: s.Gone()}, nil
}

// claim is what the holder of a policy's key may do with events: read them, when it may connect as a service.
func claim(c hub.ServiceClaim, path string) eventhub.Claim {
	out := eventhub.Claim{Path: path, Expires: c.Expires, Who: c.Policy, Valid: c.Valid}
	if c.Rights&hub.ServiceConnect != 0 {
		out.Rights = eventhub.Listen
	}
	return out
}

func badSignature(op string, why error) error {
	return fault.New(op, fault.Unauthenticated, "InvalidSignature: The token has an invalid signature.").
		Advise("copy the policy's connection string again; its key may have been renewed").Because(why)
}

func noEntity(op, name string) error {
	return fault.Newf(op, fault.NotFound, "The messaging entity '%.100s' could not be found.", name).
		Advise("the built-in endpoint is called messages/events; others by their names, if they are of kind %s", hub.StreamEndpoint)
}
