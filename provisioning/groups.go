package provisioning

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/provisioningstore"
)

// groups is what a service knows of its enrollment groups at one revision. It is not changed.
type groups struct {
	revision    int64
	symmetric   []*Enrollment
	authorities []*x509.Certificate
	of          map[[sha256.Size]byte]*Enrollment // the group of an authority's certificate; the first by name when there are several
}

// groups returns the service's groups as the database has them now. They are read only when they changed.
func (s *Service) groups(ctx context.Context) (*groups, error) {
	revision, err := s.store().Revision(ctx, s.id)
	if err != nil {
		return nil, err
	}
	if g := s.known.Load(); g != nil && g.revision == revision {
		return g, nil
	}
	g, err := s.readGroups(ctx, revision)
	if err != nil {
		return nil, err
	}
	s.known.Store(g)
	return g, nil
}

func (s *Service) readGroups(ctx context.Context, revision int64) (*groups, error) {
	g := &groups{revision: revision, of: map[[sha256.Size]byte]*Enrollment{}}
	verified := map[string]*x509.Certificate{}
	list, err := s.store().Certificates(ctx, s.id)
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		if cert, err := x509.ParseCertificate(c.DER); err == nil && c.Verified {
			verified[c.Name] = cert
		}
	}
	for after := ""; ; {
		page, err := s.store().Enrollments(ctx, s.id, provisioningstore.Group, after, 500)
		if err != nil {
			return nil, err
		}
		for _, row := range page {
			after = row.ID
			e, err := stored(row)
			if err != nil {
				return nil, err
			}
			g.add(&e, verified)
		}
		if len(page) < 500 {
			return g, nil
		}
	}
}

func (g *groups) add(e *Enrollment, verified map[string]*x509.Certificate) {
	switch e.Attestation.Type {
	case AttestSymmetricKey:
		g.symmetric = append(g.symmetric, e)
	case AttestX509:
		for _, c := range e.signing(verified) {
			key := sha256.Sum256(c.Raw)
			if g.of[key] == nil {
				g.of[key] = e
				g.authorities = append(g.authorities, c)
			}
		}
	}
}

// signing returns the authorities of a group.
func (e *Enrollment) signing(verified map[string]*x509.Certificate) []*x509.Certificate {
	var out []*x509.Certificate
	x := e.Attestation.X509
	if x.CAReferences != nil {
		for _, name := range []string{x.CAReferences.Primary, x.CAReferences.Secondary} {
			if c := verified[name]; c != nil {
				out = append(out, c)
			}
		}
	}
	return append(out, x.Signing.parsed()...)
}

// parsed returns the certificates that can be read; they were checked when they came in.
func (c *Certificates) parsed() []*x509.Certificate {
	var out []*x509.Certificate
	if c == nil {
		return nil
	}
	for _, one := range []*Certificate{c.Primary, c.Secondary} {
		if one == nil {
			continue
		}
		if cert, err := parseCertificate(one.Certificate); err == nil {
			out = append(out, cert)
		}
	}
	return out
}

// stored reads a document from the database.
func stored(row provisioningstore.Enrollment) (Enrollment, error) {
	var e Enrollment
	if err := json.Unmarshal(row.Document, &e); err != nil {
		return e, fault.Wrap("provisioning.stored", fault.Internal, err, "")
	}
	e.ETag, e.Created, e.Updated = row.ETag, timeText(row.Created), timeText(row.Updated)
	return e, nil
}
