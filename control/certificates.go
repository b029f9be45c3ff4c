package control

import (
	"context"
	"slices"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

// issue signs a request as an id, for Config.CertificateTTL. No host name is in the certificate, a relay's neither: people's TLS to the
// control plane passes through relays, and nobody who knows the server by name only may take the relay for it.
func (w *work) issue(id identity.ID, csr string) (EnrolReply, error) {
	cert, err := w.c.authority.IssueIdentity([]byte(csr), id, w.now, w.c.cfg.CertificateTTL)
	if err != nil {
		return EnrolReply{}, err
	}
	return EnrolReply{
		ID: id, Certificate: string(cert), Roots: w.c.compiler.roots, Expires: w.now.Add(w.c.cfg.CertificateTTL),
	}, nil
}

// certify issues a certificate to an agent or relay that joined before, and notes when it ends. Unauthenticated when it is gone.
func (w *work) certify(id identity.ID, csr string) (EnrolReply, error) {
	o, err := w.c.process(w.Tx, id)
	if err != nil {
		return EnrolReply{}, err
	}
	if o == nil {
		w.c.metrics.refused.Inc()
		return EnrolReply{}, unknownIdentity("control.certify", id)
	}
	out, err := w.issue(id, csr)
	if err != nil {
		return EnrolReply{}, err
	}
	out.Name = o.Head().Metadata.Name
	if a, ok := o.(*resource.Agent); ok {
		a.Status.CertificateEnd = out.Expires
		err = w.PutStatus(a)
	}
	return out, err
}

// Renew gives an agent or relay a certificate for another Config.CertificateTTL. The caller has verified that id is who asks.
// Unauthenticated when it was deleted.
func (c *Control) Renew(ctx context.Context, id identity.ID, csr string) (CertificateReply, error) {
	var out EnrolReply
	err := c.update(ctx, string(id), "", func(w *work) (err error) {
		out, err = w.certify(id, csr)
		return err
	})
	return CertificateReply{Certificate: out.Certificate, Roots: out.Roots, Expires: out.Expires}, err
}

// ServingCertificate gives a hub a plain TLS server certificate for names of the services it serves: those asked for, or all of
// them when hosts is empty. Denied for any other name and for a process that is no hub.
func (c *Control) ServingCertificate(ctx context.Context, id identity.ID, csr string, hosts []string) (CertificateReply, error) {
	op := "control.ServingCertificate"
	may, err := c.servedNames(op, id)
	if err != nil {
		return CertificateReply{}, err
	}
	if len(hosts) == 0 {
		hosts = may
	}
	for _, h := range hosts {
		if !slices.Contains(may, h) {
			return CertificateReply{}, fault.Newf(op, fault.Denied, "%s serves no service with the name %q", id, h).
				Advise("set spec.servedBy of the service to this hub; for a privatelink name set spec.privateLinkCertificate too")
		}
	}
	now := c.clock.Now()
	cert, err := c.authority.IssueServer([]byte(csr), now, c.cfg.ServingTTL, hosts...)
	if err != nil {
		return CertificateReply{}, err
	}
	return CertificateReply{Certificate: string(cert), Roots: c.compiler.roots, Expires: now.Add(c.cfg.ServingTTL).UTC()},
		c.store.Update(ctx, func(tx *store.Tx) error {
			w := &work{Tx: tx, c: c, who: string(id), now: now.UTC()}
			a, _ := id.Agent()
			return w.record(a.Tenant, "certify", resource.Key{Kind: "Certificate", Name: hosts[0]}, nil, map[string]any{"names": hosts, "expires": now.Add(c.cfg.ServingTTL).UTC()})
		})
}

// servedNames are the names a hub may have a certificate for, sorted.
func (c *Control) servedNames(op string, id identity.ID) ([]string, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	a := c.world.agents[id]
	if a == nil {
		c.metrics.refused.Inc()
		return nil, unknownIdentity(op, id)
	}
	var out []string
	if a.Spec.Role == resource.RoleHub {
		for _, s := range c.world.at(placeOf(a)).services {
			if s.Spec.ServedBy == a.Metadata.Name {
				out = append(out, servedNames(s)...)
			}
		}
	}
	if len(out) == 0 {
		return nil, fault.Newf(op, fault.Denied, "%s serves no service", id).Advise("set spec.servedBy of a service to %s, which must have joined as a hub", a.Metadata.Name)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
