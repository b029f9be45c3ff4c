package control

import (
	"context"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/access/sshca"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

// Keys that one process may have certified: at once, and one more each. Every one is a record in the audit log; one is good for all sessions of a
// grant and account.
const (
	certifiedBurst = 1000
	certifiedEvery = time.Second
)

func (c *Control) notTooManyKeys(op string, id identity.ID) error {
	if wait := c.certified.Take(string(id)); wait > 0 {
		return tooOften(op, string(id)+" has keys certified too often", wait)
	}
	return nil
}

// leadsTo tells whether a process leads to a target by its plan.
func (w *world) leadsTo(id identity.ID, t *resource.Target) bool {
	a := w.agents[id]
	if a == nil || t == nil || placeOf(a) != placeOf(t) {
		return false
	}
	_, leads := (compiler{}).target(w, w.at(placeOf(t)), t, a)
	return leads
}

// CertifySession gives the process that leads to a target a certificate for a key of one session, with which it logs in for the person whose
// session it records. Denied when it does not lead there or the grant lets nobody in now.
func (c *Control) CertifySession(ctx context.Context, id identity.ID, r SessionCertificateRequest) (SSHCertificate, error) {
	op := "control.CertifySession"
	if err := c.mustBeMember(op, id); err != nil {
		return SSHCertificate{}, err
	}
	if !validSession(r.Session) {
		return SSHCertificate{}, fault.New(op, fault.Invalid, "the session's id cannot be right")
	}
	var out SSHCertificate
	err := c.update(ctx, string(id), "", func(w *work) error {
		g, ok, err := w.Grant(r.Grant)
		if err != nil {
			return err
		}
		t := w.world().owned[g.TargetUID]
		if !ok || !w.world().leadsTo(id, t) {
			return fault.Newf(op, fault.Denied, "%s does not lead to the target of the grant", id).Advise("its plan says where it leads")
		}
		if !recorded(t, w.world().policy(t)) {
			return fault.Newf(op, fault.Denied, "sessions into %s are not recorded, so nobody logs in for people there", g.Target).Advise("its plan says what is recorded")
		}
		if err := c.notTooManyKeys(op, id); err != nil {
			return err
		}
		out, err = w.certifySSH(op, g, r.PublicKey, r.Login, r.Session)
		return err
	})
	return out, err
}

// hostCertificate is the life of a host certificate, which an agent renews long before its end.
const hostCertificate = 30 * 24 * time.Hour

// HostCertificate certifies the host key under which an agent shows itself to people whose sessions it records, for every SSH target that it leads
// to: NAME.NETWORK.TENANT.isthmus, which is the name that "isthmus ssh" checks. Denied when it leads to none.
func (c *Control) HostCertificate(ctx context.Context, id identity.ID, publicKey string) (SSHCertificate, error) {
	op := "control.HostCertificate"
	if err := c.mustBeMember(op, id); err != nil {
		return SSHCertificate{}, err
	}
	key, err := sshca.ParseKey(publicKey)
	if err != nil {
		return SSHCertificate{}, err
	}
	var out SSHCertificate
	err = c.update(ctx, string(id), "", func(w *work) error {
		a := w.world().agents[id]
		if a == nil {
			return unknownIdentity(op, id)
		}
		for _, t := range w.world().at(placeOf(a)).targets {
			if t.Protocol() == resource.ProtocolSSH && w.world().leadsTo(id, t) && len(out.Principals) < maxHostNames {
				out.Principals = append(out.Principals, HostKeyAlias(t.Key()))
			}
		}
		if err := c.notTooManyKeys(op, id); err != nil {
			return err
		}
		if len(out.Principals) == 0 {
			return fault.Newf(op, fault.Denied, "%s leads to no target with the protocol ssh", id).Advise("its plan says where it leads")
		}
		ca, err := w.authorityOf(a.Metadata.Tenant, store.KeySSHHosts)
		if err != nil {
			return err
		}
		out.Expires = w.now.Add(hostCertificate).Truncate(time.Second)
		if out.Certificate, err = ca.Host(key, out.Principals, w.now, out.Expires); err != nil {
			return err
		}
		out.KeyID = out.Principals[0]
		return w.record(a.Metadata.Tenant, "certify", resource.Key{Kind: "Certificate", Tenant: a.Metadata.Tenant, Name: a.Metadata.Name}, nil,
			map[string]any{"names": out.Principals, "expires": out.Expires})
	})
	if err != nil {
		return SSHCertificate{}, err
	}
	return out, nil
}

// maxHostNames is how many names a host certificate takes.
const maxHostNames = 64

// HostKeyAlias is the name under which SSH knows a target: NAME.NETWORK.TENANT.isthmus.
func HostKeyAlias(target resource.Key) string {
	return strings.Join([]string{target.Name, target.Scope, target.Tenant, "isthmus"}, ".")
}

// mustBeMember refuses processes that were deleted.
func (c *Control) mustBeMember(op string, id identity.ID) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.world.agents[id] == nil {
		c.metrics.refused.Inc()
		return unknownIdentity(op, id)
	}
	return nil
}
