package testworld

import (
	"context"
	"os"

	"github.com/isthmus-io/isthmus/access/dialer"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
)

// Person is somebody of a tenant, with a token of his own.
type Person struct {
	*client.Client
	UID   string
	Name  string
	world *World
}

// Person makes a person with roles and lets him in at the API.
func (w *World) Person(ctx context.Context, tenant, name string, roles ...resource.TenantRole) (*Person, error) {
	req := client.PersonRequest{Tenant: tenant, Name: name}
	for _, r := range roles {
		req.Roles = append(req.Roles, string(r))
	}
	p, err := w.Client.CreatePerson(ctx, req)
	if err != nil {
		return nil, err
	}
	secret, _, err := w.Client.CreatePersonToken(ctx, p.UID, "testworld", 0)
	if err != nil {
		return nil, err
	}
	roots, err := os.ReadFile(w.CAFile)
	if err != nil {
		return nil, err
	}
	c, err := client.New(client.Config{Addresses: []string{w.ServerAddress}, Roots: roots, Token: secret, Clock: w.cfg.Clock})
	if err != nil {
		return nil, err
	}
	return &Person{Client: c, UID: p.UID, Name: name, world: w}, nil
}

// Pass asks for a pass with a key of its own, as a dialer needs it.
func (p *Person) Pass(ctx context.Context) (dialer.Pass, error) {
	key, keyPEM, err := identity.NewKey()
	if err != nil {
		return dialer.Pass{}, err
	}
	csr, err := identity.NewRequest(key, "")
	if err != nil {
		return dialer.Pass{}, err
	}
	got, err := p.Client.Pass(ctx, string(csr))
	if err != nil {
		return dialer.Pass{}, err
	}
	out := dialer.Pass{Certificate: got.Certificate, Key: string(keyPEM), Roots: got.Roots, Relays: got.Relays, Expires: got.Expires}
	for _, g := range got.Grants {
		out.Grants = append(out.Grants, dialer.PassGrant{
			ID: g.ID, Target: g.Target, TargetUID: g.TargetUID, Protocol: g.Protocol, Address: g.Address, From: g.From, Until: g.Until, Hours: g.Hours,
			Providers: g.Providers, Recorded: g.Recorded, Socks: g.Socks, Logins: g.Logins, HostKeys: g.HostKeys, HostCA: g.HostCA,
		})
	}
	return out, nil
}

// Dialer runs a person's program that dials targets, until Close of the world or Stop of the process.
func (p *Person) Dialer(ctx context.Context) (*dialer.Dialer, *Process, error) {
	d, err := dialer.New(dialer.Config{Pass: p.Pass, Holder: p.UID}, p.world.log(p.Name), p.world.cfg.Clock)
	if err != nil {
		return nil, nil, err
	}
	pr := p.world.process("dialer of "+p.Name, func(ctx context.Context, up func()) error {
		up()
		return d.Run(ctx)
	})
	return d, pr, pr.Start(ctx)
}

// LetIn asks for a target and has it approved by another.
func (p *Person) LetIn(ctx context.Context, r client.GrantRequest, approver *Person) (client.Grant, error) {
	if r.Reason == "" {
		r.Reason = "testworld"
	}
	g, err := p.RequestAccess(ctx, r)
	if err != nil || approver == nil {
		return g, err
	}
	if _, err := approver.DecideGrant(ctx, g.ID, "approve", "", 0); err != nil {
		return g, fault.Wrap("testworld.LetIn", fault.Internal, err, "")
	}
	return p.Grant(ctx, g.ID)
}
