package provisioning

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/provisioningstore"
)

// maxAuthorities bounds the certificates of a service.
const maxAuthorities = 100

var certificateName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Authority is a certificate that groups may refer to once it is verified.
type Authority struct {
	Name        string           `json:"name"`
	ETag        string           `json:"etag"`
	Verified    bool             `json:"isVerified"`
	Code        string           `json:"verificationCode,omitempty"`
	Certificate *CertificateInfo `json:"certificate"`
	Created     string           `json:"created"`
	Updated     string           `json:"updated"`
}

func authorityOf(c provisioningstore.Certificate) (Authority, error) {
	cert, err := x509.ParseCertificate(c.DER)
	if err != nil {
		return Authority{}, fault.Wrap("provisioning.Authority", fault.Internal, err, "")
	}
	return Authority{c.Name, c.ETag, c.Verified, c.Code, infoOf(cert), timeText(c.Created), timeText(c.Updated)}, nil
}

// Authorities lists the service's certificates by name.
func (s *Service) Authorities(ctx context.Context) ([]Authority, error) {
	rows, err := s.store().Certificates(ctx, s.id)
	if err != nil {
		return nil, err
	}
	out := make([]Authority, len(rows))
	for i, row := range rows {
		if out[i], err = authorityOf(row); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// PutAuthority adds a certificate, or replaces the one of this name, which then is to be verified again. vouched says that whoever calls
// answers for it, so that it needs no proof.
func (s *Service) PutAuthority(ctx context.Context, name, certificate string, vouched bool, ifMatch string) (Authority, error) {
	op := "provisioning.PutAuthority"
	if !certificateName.MatchString(name) {
		return Authority{}, fault.Newf(op, fault.Invalid, "the name %.80q of a certificate cannot be used", name).Advise("use 1 to 64 letters, digits and - . _")
	}
	cert, err := parseCertificate(certificate)
	if err != nil {
		return Authority{}, err
	}
	if !isAuthority(cert) {
		return Authority{}, fault.New(op, fault.Invalid, "the certificate is not of an authority (basic constraints, CA)")
	}
	if err := fitKey(cert); err != nil {
		return Authority{}, err
	}
	return s.changeAuthority(ctx, name, ifMatch, true, func(c *provisioningstore.Certificate) error {
		if string(c.DER) == string(cert.Raw) {
			vouched = vouched || c.Verified
		} else {
			c.Code = ""
		}
		c.DER, c.Verified = cert.Raw, vouched
		return nil
	})
}

// VerificationCode makes the code that a certificate, signed by the authority, must have as its common name to prove that its key is
// the operator's.
func (s *Service) VerificationCode(ctx context.Context, name, ifMatch string) (Authority, error) {
	return s.changeAuthority(ctx, name, ifMatch, false, func(c *provisioningstore.Certificate) error {
		c.Code = hex.EncodeToString(random(24))
		return nil
	})
}

// VerifyAuthority takes the proof: a certificate signed by the authority, with the code as its common name.
func (s *Service) VerifyAuthority(ctx context.Context, name, proof, ifMatch string) (Authority, error) {
	op := "provisioning.VerifyAuthority"
	leaf, err := parseCertificate(proof)
	if err != nil {
		return Authority{}, err
	}
	return s.changeAuthority(ctx, name, ifMatch, false, func(c *provisioningstore.Certificate) error {
		ca, err := x509.ParseCertificate(c.DER)
		if err != nil {
			return fault.Wrap(op, fault.Internal, err, "")
		}
		switch {
		case c.Code == "":
			return fault.Newf(op, fault.Conflict, "no verification code was asked for %q", name).Advise("ask for one, and sign a certificate with it")
		case leaf.Subject.CommonName != c.Code:
			return fault.New(op, fault.Invalid, "the common name of the certificate is not the verification code")
		case leaf.CheckSignatureFrom(ca) != nil:
			return fault.New(op, fault.Invalid, "the certificate is not signed by the authority")
		case !valid(leaf, s.server.clock.Now()):
			return fault.Newf(op, fault.Invalid, "the certificate is valid from %s to %s", nowText(leaf.NotBefore), nowText(leaf.NotAfter))
		}
		c.Verified, c.Code = true, ""
		return nil
	})
}

func (s *Service) changeAuthority(ctx context.Context, name, ifMatch string, create bool, change func(*provisioningstore.Certificate) error) (Authority, error) {
	op := "provisioning.Authority"
	var c provisioningstore.Certificate
	err := s.store().Write(ctx, func(tx *provisioningstore.Tx) (err error) {
		now := s.server.clock.Now()
		c, err = tx.Certificate(s.id, name)
		switch {
		case err != nil && (fault.KindOf(err) != fault.NotFound || !create || ifMatch != ""):
			return err
		case err != nil:
			if n, err := tx.CountCertificates(s.id); err != nil || n >= maxAuthorities {
				if err == nil {
					err = fault.Newf(op, fault.Exhausted, "the service has %d certificates, which is its limit", n)
				}
				return err
			}
			c = provisioningstore.Certificate{Service: s.id, Name: name, Created: now}
		case ifMatch != "" && ifMatch != AnyETag && ifMatch != c.ETag:
			return changed(op, name)
		case create && ifMatch == "":
			return fault.Newf(op, fault.Conflict, "the certificate %q exists already", name).Advise("send If-Match with its etag, or * for any, to change it")
		}
		if err := change(&c); err != nil {
			return err
		}
		c.ETag, c.Updated = newETag(), now
		if err := tx.PutCertificate(c); err != nil {
			return err
		}
		return tx.Touch(s.id)
	})
	if err != nil {
		return Authority{}, err
	}
	return authorityOf(c)
}

// DeleteAuthority removes a certificate. Conflict when a group refers to it.
func (s *Service) DeleteAuthority(ctx context.Context, name, ifMatch string) error {
	op := "provisioning.DeleteAuthority"
	return s.store().Write(ctx, func(tx *provisioningstore.Tx) error {
		c, err := tx.Certificate(s.id, name)
		if err != nil {
			return err
		}
		if ifMatch != "" && ifMatch != AnyETag && ifMatch != c.ETag {
			return changed(op, name)
		}
		var used string
		if err := tx.EachGroup(s.id, func(row provisioningstore.Enrollment) error {
			var e Enrollment
			if err := json.Unmarshal(row.Document, &e); err != nil {
				return fault.Wrap(op, fault.Internal, err, "")
			}
			if x := e.Attestation.X509; x != nil && x.CAReferences != nil && (x.CAReferences.Primary == name || x.CAReferences.Secondary == name) {
				used = row.ID
			}
			return nil
		}); err != nil {
			return err
		}
		if used != "" {
			return fault.Newf(op, fault.Conflict, "the enrollment group %q refers to the certificate", used).Advise("change or delete the group first")
		}
		if err := tx.DeleteCertificate(s.id, name); err != nil {
			return err
		}
		return tx.Touch(s.id)
	})
}

// nowText writes a time for people.
func nowText(t time.Time) string { return t.UTC().Format(time.RFC3339) }
