package client

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// GrantRequest asks for access to a target.
type GrantRequest struct {
	Target string        // TENANT/NETWORK/NAME
	Kind   grant.Kind    // Once when empty
	Reason string        // stands in the audit log for good
	From   time.Time     // as soon as it is approved when zero
	For    time.Duration // an hour when 0, or what the policy lets at most
	Ask    []string      // names of people who are to approve; every approver when empty

	Hours  *resource.WorkingHours // Standing only
	Person string                 // Standing only: who is let in, by name, or as TENANT/NAME; who asks when empty
}

// Grant is a grant as one who may see it sees it.
type Grant struct {
	grant.Grant
	Recorded         bool     `json:"recorded,omitempty"`   // sessions are recorded
	Unreviewed       bool     `json:"unreviewed,omitempty"` // an emergency that nobody has looked at afterwards
	MayDecide        bool     `json:"mayDecide"`            // the caller may approve or deny what waits
	Approvers        []string `json:"approvers,omitempty"`  // who may approve what waits; for people of the target's tenant
	Sessions         int      `json:"sessions"`             // open now, as far as reported
	ConnectionString string   `json:"connectionString,omitempty"`
}

// GrantFilter narrows a list of grants; empty fields let everything pass.
type GrantFilter struct {
	Tenant, Target, Person string
	State                  grant.State
	Open, Mine, Unreviewed bool
	Before                 time.Time
	Limit                  int // 100 when 0, at most 1000
}

const grantsPath = "/v1/access/grants"

// RequestAccess asks for access.
func (c *Client) RequestAccess(ctx context.Context, r GrantRequest) (g Grant, err error) {
	body := struct {
		Target string                 `json:"target"`
		Kind   grant.Kind             `json:"kind,omitempty"`
		Reason string                 `json:"reason"`
		From   time.Time              `json:"from,omitzero"`
		For    string                 `json:"for,omitempty"`
		Ask    []string               `json:"ask,omitempty"`
		Hours  *resource.WorkingHours `json:"hours,omitempty"`
		Person string                 `json:"person,omitempty"`
	}{r.Target, r.Kind, r.Reason, r.From, text(r.For), r.Ask, r.Hours, r.Person}
	err = c.do(ctx, request{method: http.MethodPost, path: grantsPath, body: body, into: &g})
	return g, err
}

// text is empty for no time at all.
func text(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// Grants lists the caller's grants, or those for targets of his tenant when his role is about others' access; requested last first.
func (c *Client) Grants(ctx context.Context, f GrantFilter) ([]Grant, error) {
	var reply struct {
		Items []Grant `json:"items"`
	}
	q := values("tenant", f.Tenant, "target", f.Target, "person", f.Person, "state", string(f.State))
	setFlags(q, map[string]bool{"open": f.Open, "mine": f.Mine, "unreviewed": f.Unreviewed})
	setPage(q, f.Before, f.Limit)
	err := c.do(ctx, request{method: http.MethodGet, path: grantsPath, query: q, into: &reply})
	return reply.Items, err
}

func setFlags(q url.Values, flags map[string]bool) {
	for name, on := range flags {
		if on {
			q.Set(name, "true")
		}
	}
}

func setPage(q url.Values, before time.Time, limit int) {
	if !before.IsZero() {
		q.Set("before", before.UTC().Format(time.RFC3339Nano))
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
}

// Grant returns one grant.
func (c *Client) Grant(ctx context.Context, id string) (g Grant, err error) {
	err = c.do(ctx, request{method: http.MethodGet, path: grantsPath + "/" + id, into: &g})
	return g, err
}

// waitAtOnce is how long one question waits, within what a Client waits for a reply.
const waitAtOnce = 20 * time.Second

// WaitGrant returns the grant as soon as nothing of it waits for a decision, or when ctx ends, with its error.
func (c *Client) WaitGrant(ctx context.Context, id string) (g Grant, err error) {
	for {
		asked := time.Now()
		err = c.do(ctx, request{method: http.MethodGet, path: grantsPath + "/" + id, query: values("wait", waitAtOnce.String()), into: &g})
		if ctx.Err() != nil {
			return g, ctx.Err()
		}
		if err != nil || !g.Waits() {
			return g, err
		}
		if time.Since(asked) < time.Second { // so many wait that nobody is kept waiting
			select {
			case <-ctx.Done():
				return g, ctx.Err()
			case <-time.After(time.Second):
			}
		}
	}
}

// DecideGrant takes a step with a grant: approve, deny, revoke, extend (by more) or review.
func (c *Client) DecideGrant(ctx context.Context, id, decision, why string, more time.Duration) (g Grant, err error) {
	body := struct {
		Why string `json:"why,omitempty"`
		For string `json:"for,omitempty"`
	}{why, text(more)}
	err = c.do(ctx, request{method: http.MethodPost, path: grantsPath + "/" + id + "/" + decision, body: body, into: &g})
	return g, err
}

// Pass lets a person's program build a link of its own, as an agent does, for an hour at most.
type Pass struct {
	Certificate string       `json:"certificate"` // PEM
	Roots       string       `json:"roots"`       // PEM
	Expires     time.Time    `json:"expires"`
	Relays      []plan.Relay `json:"relays"`
	Grants      []PassGrant  `json:"grants"` // in force, or beginning within the hour
}

// PassGrant is where one grant leads.
type PassGrant struct {
	ID        string                  `json:"id"`
	Target    string                  `json:"target"` // TENANT/NETWORK/NAME
	TargetUID string                  `json:"targetUid"`
	Protocol  resource.TargetProtocol `json:"protocol"`
	Address   string                  `json:"address,omitempty"` // what is dialled there; for people of the target's tenant
	From      time.Time               `json:"from"`
	Until     time.Time               `json:"until"`
	Hours     *resource.WorkingHours  `json:"hours,omitempty"`
	Providers []plan.Peer             `json:"providers"` // none while the agent has not joined
	Recorded  bool                    `json:"recorded"`
	Socks     bool                    `json:"socks"`
	Logins    []string                `json:"logins,omitempty"`   // accounts an SSH certificate may name; any when empty
	HostKeys  []string                `json:"hostKeys,omitempty"` // the machine's SSH keys, as far as they are known
	HostCA    string                  `json:"hostCA,omitempty"`   // the tenant's authority for SSH host certificates
}

// Pass asks for a pass for the key of a certificate request (PEM), for some grants or for all of the caller's.
func (c *Client) Pass(ctx context.Context, csr string, grants ...string) (p Pass, err error) {
	body := struct {
		CSR    string   `json:"csr"`
		Grants []string `json:"grants,omitempty"`
	}{csr, grants}
	if err = c.do(ctx, request{method: http.MethodPost, path: "/v1/access/passes", body: body, into: &p}); err != nil {
		return p, err
	}
	for _, g := range p.Grants {
		if err := g.check(); err != nil {
			return Pass{}, err
		}
	}
	return p, nil
}

// check refuses names that cannot be: they become names of files, and words of commands and of ssh's configuration.
func (g *PassGrant) check() error {
	parts := strings.Split(g.Target, "/")
	noName := func(p string) bool { return resource.ValidateName(p) != nil }
	noLogin := func(l string) bool { return !resource.ValidLogin(l) }
	if len(parts) == 3 && !slices.ContainsFunc(parts, noName) && !slices.ContainsFunc(g.Logins, noLogin) {
		return nil
	}
	return fault.Newf("client.Pass", fault.Internal, "the control plane sent a grant for %.100q with the accounts %.200q, which nobody can have declared", g.Target, g.Logins).
		Advise("do not use this control plane before somebody has looked at it")
}

// SSHCertificate is an OpenSSH certificate.
type SSHCertificate struct {
	Certificate string    `json:"certificate"` // a line of an id_ed25519-cert.pub file
	KeyID       string    `json:"keyId"`
	Principals  []string  `json:"principals"`
	Expires     time.Time `json:"expires"`
}

// SSHCertificate has a public key (a line of an id_ed25519.pub file) certified for an account for as long as a grant lasts.
func (c *Client) SSHCertificate(ctx context.Context, grantID, publicKey, login string) (s SSHCertificate, err error) {
	body := struct {
		Grant     string `json:"grant"`
		PublicKey string `json:"publicKey"`
		Login     string `json:"login"`
	}{grantID, publicKey, login}
	err = c.do(ctx, request{method: http.MethodPost, path: "/v1/access/ssh-certificates", body: body, into: &s})
	return s, err
}

// SSHAuthority is the public half of a tenant's SSH authority.
type SSHAuthority struct {
	Tenant string `json:"tenant"`
	Users  string `json:"users"` // a line of the file that TrustedUserCAKeys names
	Hosts  string `json:"hosts"` // a line of known_hosts after @cert-authority PATTERN
}

// SSHAuthority returns that of a tenant; the caller's own when it is empty.
func (c *Client) SSHAuthority(ctx context.Context, tenant string) (a SSHAuthority, err error) {
	err = c.do(ctx, request{method: http.MethodGet, path: "/v1/access/authority", query: values("tenant", tenant), into: &a})
	return a, err
}
