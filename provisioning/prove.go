package provisioning

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"net/url"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/provisioning/tpm"
	"github.com/isthmus-io/isthmus/store/provisioningstore"
)

// Proof is what a device shows of itself.
type Proof struct {
	RegistrationID string
	Token          string              // SAS, empty for a device that proves itself by certificate
	Certificates   []*x509.Certificate // of TLS, leaf first
}

// registrationPolicy is what devices write as skn (DPS: SAS tokens of devices).
const registrationPolicy = "registration"

// proved is a device that proved that it is enrolled.
type proved struct {
	id         string      // registration id
	spelling   string      // of the id, with which a key of a group is derived
	enrollment *Enrollment // its own, or its group's
	leaf       *x509.Certificate
	authority  *x509.Certificate
}

func (p *proved) group() string { return p.enrollment.GroupID }

// prove finds the enrollment of a device and checks its proof against it. Faults: Unauthenticated, in one wording, for whatever was not
// proved; Expired and Denied only for who holds the right key.
func (s *Service) prove(ctx context.Context, p Proof) (*proved, error) {
	out, err := s.tryProve(ctx, p)
	switch kind := fault.KindOf(err); {
	case err == nil:
		return out, nil
	case kind == fault.Unauthenticated || kind == fault.Invalid || kind == fault.NotFound:
		err = fault.New("provisioning.prove", fault.Unauthenticated, "the device is not enrolled here, or did not prove who it is").
			Advise("compare id scope, registration id and key or certificate with the enrollment").Because(err)
		fallthrough
	case kind == fault.Denied || kind == fault.Expired:
		s.server.metrics.refused.WithLabelValues(s.Name(), kind.String()).Inc()
	}
	return nil, err
}

func (s *Service) tryProve(ctx context.Context, p Proof) (*proved, error) {
	op := "provisioning.prove"
	id, err := RegistrationID(p.RegistrationID)
	if err != nil {
		return nil, err
	}
	out := &proved{id: id, spelling: id}
	var token sas.Token
	if p.Token != "" {
		if token, err = sas.Parse(p.Token); err != nil {
			return nil, err
		}
	}
	row, err := s.store().Enrollment(ctx, s.id, provisioningstore.Individual, id)
	switch {
	case err == nil:
		var e Enrollment
		if e, err = stored(row); err == nil {
			out.enrollment = &e
			err = s.proveOne(out, p, token)
		}
	case fault.KindOf(err) == fault.NotFound:
		err = s.proveGroup(ctx, out, p, token)
	}
	if err != nil {
		return nil, err
	}
	if p.Token != "" {
		if err := s.scoped(token, p.RegistrationID); err != nil {
			return nil, err
		}
		if err := s.fresh(token); err != nil {
			return nil, err
		}
	}
	if out.enrollment.Status == Disabled {
		return nil, fault.Newf(op, fault.Denied, "the enrollment of %q is disabled", id).Advise("enable it: provisioningStatus")
	}
	return out, nil
}

// proveOne checks a device against its own enrollment.
func (s *Service) proveOne(out *proved, p Proof, token sas.Token) error {
	op := "provisioning.prove"
	a := out.enrollment.Attestation
	switch a.Type {
	case AttestSymmetricKey:
		if !token.SignedBy(a.SymmetricKey.Primary, a.SymmetricKey.Secondary) {
			return fault.New(op, fault.Unauthenticated, "the token is not signed with a key of the enrollment")
		}
	case AttestTPM:
		now := s.server.clock.Now()
		if !token.SignedBy(s.tpmKey(out.id, a.TPM.EndorsementKey, now), s.tpmKey(out.id, a.TPM.EndorsementKey, now.Add(-tpmKeyLife))) {
			return fault.New(op, fault.Unauthenticated, "the token is not signed with the key the TPM was given, or that is too old")
		}
	case AttestX509:
		if p.Token != "" || len(p.Certificates) == 0 {
			return fault.New(op, fault.Unauthenticated, "the enrollment asks for a certificate, and the device showed none")
		}
		leaf := p.Certificates[0]
		for _, c := range a.X509.Client.parsed() {
			if leaf.Equal(c) {
				return s.admit(out, leaf, nil)
			}
		}
		return fault.Newf(op, fault.Unauthenticated, "the certificate %s is not one of the enrollment", thumbprint(leaf))
	default:
		return fault.Newf(op, fault.Unauthenticated, "the enrollment attests by %q", a.Type)
	}
	return nil
}

// proveGroup finds the group that a device belongs to.
func (s *Service) proveGroup(ctx context.Context, out *proved, p Proof, token sas.Token) error {
	op := "provisioning.prove"
	g, err := s.groups(ctx)
	if err != nil {
		return err
	}
	if p.Token == "" {
		authority, err := Chain(p.Certificates, g.authorities, s.server.clock.Now())
		if err != nil {
			return err
		}
		out.enrollment = g.of[sha256.Sum256(authority.Raw)]
		return s.admit(out, p.Certificates[0], authority)
	}
	// A device may derive its key from its id as it writes it, or as the service keeps it.
	spellings := []string{out.id}
	if p.RegistrationID != out.id {
		spellings = append(spellings, p.RegistrationID)
	}
	for _, e := range g.symmetric {
		for _, spelling := range spellings {
			keys, err := e.deviceKeys(spelling)
			if err == nil && token.SignedBy(keys.Primary, keys.Secondary) {
				out.enrollment, out.spelling = e, spelling
				return nil
			}
		}
	}
	return fault.New(op, fault.Unauthenticated, "there is no enrollment of this id, and the token is not signed with a key derived from a group's")
}

// deviceKeys returns the keys of a device by its own enrollment or its group's.
func (e *Enrollment) deviceKeys(spelling string) (Keys, error) {
	k := e.Attestation.SymmetricKey
	if e.GroupID == "" {
		return Keys{k.Primary, k.Secondary}, nil
	}
	primary, err := DeriveKey(k.Primary, spelling)
	if err != nil {
		return Keys{}, err
	}
	secondary, err := DeriveKey(k.Secondary, spelling)
	return Keys{primary, secondary}, err
}

// admit checks what a certificate says of itself, when it is known to be the device's.
func (s *Service) admit(out *proved, leaf, authority *x509.Certificate) error {
	op := "provisioning.prove"
	out.leaf, out.authority = leaf, authority
	if !commonName(leaf, out.id) {
		return fault.Newf(op, fault.Unauthenticated, "the common name of the certificate is %.140q, not the registration id", leaf.Subject.CommonName)
	}
	if !valid(leaf, s.server.clock.Now()) {
		return fault.Newf(op, fault.Expired, "the certificate is valid from %s to %s", timeText(leaf.NotBefore), timeText(leaf.NotAfter)).
			Advise("give the device a new certificate, or set its clock if that is wrong")
	}
	return nil
}

// scoped checks that a device's token is for registering this device here: sr is {id scope}/registrations/{registration id}.
func (s *Service) scoped(t sas.Token, registrationID string) error {
	op := "provisioning.prove"
	sr, err := url.PathUnescape(t.Resource)
	if err != nil {
		return fault.New(op, fault.Unauthenticated, "sr is not percent-encoded")
	}
	parts := strings.Split(strings.Trim(sr, "/"), "/")
	if len(parts) != 3 || !strings.EqualFold(parts[0], s.scope) || !strings.EqualFold(parts[1], "registrations") || !strings.EqualFold(parts[2], registrationID) {
		return fault.Newf(op, fault.Unauthenticated, "the token is for %.200q", sr)
	}
	if t.Policy != registrationPolicy {
		return fault.Newf(op, fault.Unauthenticated, "the token says skn=%.40q, not registration", t.Policy)
	}
	return nil
}

// tpmKeyLife is how long a key that a TPM was given serves at least; twice that at most.
const tpmKeyLife = time.Hour

// tpmKey returns the key, base64, by which a device with this endorsement key registers at that time. It is derived from the service's
// secret, so nothing is kept of a device that only asks.
func (s *Service) tpmKey(id, endorsementKey string, at time.Time) string {
	m := hmac.New(sha256.New, s.secret)
	m.Write([]byte("tpm registration\x00" + id + "\x00" + endorsementKey + "\x00"))
	m.Write(binary.BigEndian.AppendUint64(nil, uint64(at.Unix()/int64(tpmKeyLife/time.Second))))
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// Challenge returns an activation blob for a device that registers with its TPM and holds no token yet: only the TPM with the
// endorsement key of the enrollment gets the key out of it which the token is to be signed with (DPS: TPM attestation, nonce).
// Unauthenticated as for every other device that proves nothing.
func (s *Service) Challenge(ctx context.Context, registrationID string, keys TPMKeys) ([]byte, error) {
	blob, err := s.challenge(ctx, registrationID, keys)
	if kind := fault.KindOf(err); err != nil && (kind == fault.Invalid || kind == fault.NotFound || kind == fault.Unauthenticated) {
		s.server.metrics.refused.WithLabelValues(s.Name(), kind.String()).Inc()
		err = fault.New("provisioning.Challenge", fault.Unauthenticated, "the device is not enrolled here, or did not prove who it is").
			Advise("compare id scope, registration id and endorsement key with the enrollment").Because(err)
	}
	return blob, err
}

func (s *Service) challenge(ctx context.Context, registrationID string, keys TPMKeys) ([]byte, error) {
	op := "provisioning.Challenge"
	id, err := RegistrationID(registrationID)
	if err != nil {
		return nil, err
	}
	row, err := s.store().Enrollment(ctx, s.id, provisioningstore.Individual, id)
	if err != nil {
		return nil, err
	}
	e, err := stored(row)
	if err != nil {
		return nil, err
	}
	enrolled := e.Attestation.TPM
	if e.Attestation.Type != AttestTPM || enrolled.EndorsementKey != keys.EndorsementKey {
		return nil, fault.New(op, fault.Unauthenticated, "the enrollment has another endorsement key, or is not by TPM")
	}
	if enrolled.StorageRootKey != "" && enrolled.StorageRootKey != keys.StorageRootKey {
		return nil, fault.New(op, fault.Unauthenticated, "the enrollment has another storage root key")
	}
	key := s.tpmKey(id, enrolled.EndorsementKey, s.server.clock.Now())
	return wrapFor(*enrolled, keys.StorageRootKey, key, s.scope+"/registrations/"+id)
}

// wrapFor makes an activation blob of a base64 key.
func wrapFor(enrolled TPMKeys, storageRootKey, key, about string) ([]byte, error) {
	ek, err := parseTPMKey(enrolled.EndorsementKey)
	if err != nil {
		return nil, err
	}
	srk, err := parseTPMKey(storageRootKey)
	if err != nil {
		return nil, err
	}
	plain, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return nil, fault.Wrap("provisioning.wrapFor", fault.Internal, err, "")
	}
	return tpm.Wrap(ek, srk, plain, about)
}
