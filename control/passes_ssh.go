package control

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/access/sshca"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

// SSHCertificate certifies a person's SSH key for a target for as long as his grant, or its working hours, last. Denied when the grant is
// not his or lets him in nowhere now, Invalid for a login that the target does not have.
func (c *Control) SSHCertificate(ctx context.Context, p Principal, r SSHCertificateRequest) (SSHCertificate, error) {
	op := "control.SSHCertificate"
	by, err := p.asPerson(op)
	if err != nil {
		return SSHCertificate{}, err
	}
	if err := c.notTooManyPasses(op, by); err != nil {
		return SSHCertificate{}, err
	}
	var out SSHCertificate
	err = c.update(ctx, p.Who(), "", func(w *work) error {
		g, ok, err := w.Grant(r.Grant)
		if err != nil {
			return err
		}
		if !ok || g.Person.ID != p.Person {
			return noSuchGrant(op, printable(r.Grant))
		}
		out, err = w.certifySSH(op, g, r.PublicKey, r.Login, "")
		return err
	})
	return out, err
}

// longestStandingCertificate is the longest life of a certificate for a grant that lets somebody in for months.
const longestStandingCertificate = 24 * time.Hour

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// certifySSH certifies a key for the person of a grant: for an account, and for that account of the one target, which is what a machine can be told
// to look at (AuthorizedPrincipalsFile) when others trust the same authority. session is the one it is for, when an agent asks.
func (w *work) certifySSH(op string, g grant.Grant, publicKey, login, session string) (SSHCertificate, error) {
	none := SSHCertificate{}
	key, err := sshca.ParseKey(publicKey)
	if err != nil {
		return none, err
	}
	t := w.world().owned[g.TargetUID]
	if words, next := w.c.whyClosed(g, w.now); words != "" {
		return none, fault.Newf(op, fault.Denied, "the grant %s of %s for %s lets nobody in: %s", g.ID, g.Person.Who(), g.Target, words).Advise("%s", next)
	}
	if t.Protocol() != resource.ProtocolSSH {
		return none, fault.Newf(op, fault.Invalid, "%s speaks %s, not ssh", g.Target, t.Protocol()).Advise("use: isthmus connect %s", g.Target)
	}
	if err := checkLogin(op, t, login); err != nil {
		return none, err
	}
	until := g.Until
	if g.Kind == grant.Standing { // what is revoked meanwhile is not asked about by a machine that is reached some other way
		until = earlier(until, w.now.Add(longestStandingCertificate))
	}
	if g.Hours != nil {
		if end, ok := g.Hours.Hold(w.now); ok && end.Before(until) {
			until = end
		}
	}
	ca, err := w.authorityOf(t.Metadata.Tenant, store.KeySSHUsers)
	if err != nil {
		return none, err
	}
	serial := newSerial()
	forwarding := t.Spec.SSH != nil && t.Spec.SSH.PortForwarding
	id := g.Person.Who() + " grant " + g.ID
	principals := []string{login, login + "@" + HostKeyAlias(t.Key())}
	line, err := ca.User(key, sshca.UserCertificate{
		ID: id, Principals: principals, From: w.now, Until: until, Serial: serial, PTY: true, Forwarding: forwarding,
		Recorded: session == "" && recorded(t, w.world().policy(t)), // the person's own ends at the agent
	})
	if err != nil {
		return none, err
	}
	out := SSHCertificate{Certificate: line, KeyID: id, Principals: principals, Expires: until.UTC().Truncate(time.Second)}
	return out, w.recordBoth("certify", keyOfGrant(g), g.Tenant, g.Person.Tenant, nil, certified{g.Target, id, login, serial, out.Expires, session})
}

// certified is what an audit record shows of an SSH certificate.
type certified struct {
	Target  string    `json:"target"`
	KeyID   string    `json:"keyId"`
	Login   string    `json:"login"`
	Serial  uint64    `json:"serial,string"`
	Expires time.Time `json:"expires"`
	Session string    `json:"session,omitempty"` // the agent's, which logs in for the person
}

func checkLogin(op string, t *resource.Target, login string) error {
	if !resource.ValidLogin(login) {
		return fault.Newf(op, fault.Invalid, "%q cannot be an account's name", printable(login)).Advise("give the account with: isthmus ssh -l LOGIN %s", t.Key().Path())
	}
	if t.Spec.SSH != nil && len(t.Spec.SSH.Logins) > 0 && !slices.Contains(t.Spec.SSH.Logins, login) {
		return fault.Newf(op, fault.Invalid, "%s has no account %q for people who are let in", t.Key(), login).Advise("accounts are %s", strings.Join(t.Spec.SSH.Logins, ", "))
	}
	return nil
}

func (w *work) authorityOf(tenant string, purpose store.KeyPurpose) (*sshca.Authority, error) {
	private, err := w.c.privateKey(w.Tx, tenant, purpose)
	if err != nil {
		return nil, err
	}
	return sshca.Load(private)
}

func newSerial() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}

// SSHAuthority returns the public halves of a tenant's SSH authority, which machines and people's machines are told once. NotFound for a tenant
// that the principal may not see, and for one that has no target yet.
func (c *Control) SSHAuthority(_ context.Context, p Principal, tenant string) (SSHAuthority, error) {
	op := "control.SSHAuthority"
	if tenant == "" {
		tenant = p.Tenant
	}
	if !p.sees(tenant) {
		return SSHAuthority{}, noSuch(op, tenantKey(tenant))
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	keys := c.world.publics[tenant]
	out := SSHAuthority{Tenant: tenant, Users: keys[store.KeySSHUsers], Hosts: keys[store.KeySSHHosts]}
	if out.Users == "" {
		return out, fault.Newf(op, fault.NotFound, "the tenant %q has no SSH authority yet", tenant).Advise("it is made with the tenant's first target")
	}
	return out, nil
}
