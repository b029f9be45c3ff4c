package provisioning

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/provisioningstore"
)

func kindOf(group bool) provisioningstore.Kind {
	if group {
		return provisioningstore.Group
	}
	return provisioningstore.Individual
}

// Enrollment reads an enrollment, or a group, without its keys; that of one device with its registration. NotFound when there is none.
func (s *Service) Enrollment(ctx context.Context, id string, group bool) (Enrollment, error) {
	row, err := s.store().Enrollment(ctx, s.id, kindOf(group), lower(id))
	if err != nil {
		return Enrollment{}, err
	}
	return s.shown(ctx, row)
}

// shown returns what may be read of an enrollment.
func (s *Service) shown(ctx context.Context, row provisioningstore.Enrollment) (Enrollment, error) {
	e, err := stored(row)
	if err != nil || row.Kind == provisioningstore.Group {
		return e.redacted(), err
	}
	reg, err := s.store().Registration(ctx, s.id, row.ID)
	if err != nil {
		if fault.KindOf(err) == fault.NotFound {
			err = nil
		}
		return e.redacted(), err
	}
	rec, err := recordOf(reg)
	if err != nil {
		return Enrollment{}, err
	}
	e.State = rec.state()
	return e.redacted(), nil
}

// Mechanism reads the attestation of an enrollment or a group, with its keys. It is for those only who may change it.
func (s *Service) Mechanism(ctx context.Context, id string, group bool) (Attestation, error) {
	row, err := s.store().Enrollment(ctx, s.id, kindOf(group), lower(id))
	if err != nil {
		return Attestation{}, err
	}
	e, err := stored(row)
	return e.Attestation, err
}

// PutEnrollment makes an enrollment or a group when ifMatch is empty, and replaces it when ifMatch is its etag or "*". What the document
// leaves out of its keys and certificates stays as it was. It returns what Enrollment would. Faults: Invalid, Conflict (409201) when it
// exists, Precondition (412201) when the etag is another one, NotFound.
func (s *Service) PutEnrollment(ctx context.Context, id string, text []byte, group bool, ifMatch string) (Enrollment, error) {
	e, err := ParseEnrollment(text, group)
	if err != nil {
		return e, err
	}
	if id != "" && lower(id) != e.id(group) {
		return e, fault.Newf("provisioning.PutEnrollment", fault.Invalid, "the document is of %.140q and the path says %.140q", e.id(group), id)
	}
	var row provisioningstore.Enrollment
	err = s.store().Write(ctx, func(tx *provisioningstore.Tx) (err error) {
		row, err = s.put(tx, e, group, ifMatch)
		return err
	})
	if err != nil {
		return e, err
	}
	return s.shown(ctx, row)
}

func (s *Service) put(tx *provisioningstore.Tx, e Enrollment, group bool, ifMatch string) (row provisioningstore.Enrollment, err error) {
	op := "provisioning.PutEnrollment"
	now, id := s.server.clock.Now(), e.id(group)
	old, err := tx.Enrollment(s.id, kindOf(group), id)
	exists := err == nil
	switch {
	case err != nil && fault.KindOf(err) != fault.NotFound:
		return row, err
	case exists && ifMatch == "":
		return row, fault.Newf(op, fault.Conflict, "%q exists already", id).Advise("send If-Match with its etag, or * for any, to change it")
	case !exists && ifMatch != "":
		return row, err
	case exists && ifMatch != AnyETag && ifMatch != old.ETag:
		return row, changed(op, id)
	}
	row = provisioningstore.Enrollment{Service: s.id, Kind: kindOf(group), ID: id, ETag: newETag(), Created: now, Updated: now}
	var before Enrollment
	if exists {
		row.Created = old.Created
		if before, err = stored(old); err != nil {
			return row, err
		}
	} else if group {
		n, err := tx.CountEnrollments(s.id, provisioningstore.Group)
		if err == nil && n >= s.server.cfg.MaxGroups {
			err = fault.Newf(op, fault.Exhausted, "the service has %d enrollment groups, which is its limit", n).Advise("delete those that are not needed")
		}
		if err != nil {
			return row, err
		}
	}
	if err := e.keepSecrets(before.Attestation); err != nil {
		return row, err
	}
	if err := s.checkReferences(tx, e); err != nil {
		return row, err
	}
	e.ETag = ""
	if row.Document, err = json.Marshal(e); err != nil {
		return row, fault.Wrap(op, fault.Internal, err, "")
	}
	if err := tx.PutEnrollment(row); err != nil {
		return row, err
	}
	if group {
		err = tx.Touch(s.id)
	}
	return row, err
}

// AnyETag matches whatever exists.
const AnyETag = "*"

func changed(op, id string) error {
	return fault.Newf(op, fault.Precondition, "%q was changed meanwhile: its etag is another one", id).Advise("read it again, then repeat the change")
}

// keepSecrets fills in what reading an enrollment does not show, so that what was read can be changed and written back, and makes keys
// that are missing.
func (e *Enrollment) keepSecrets(before Attestation) error {
	a := &e.Attestation
	switch a.Type {
	case AttestSymmetricKey:
		if a.SymmetricKey == nil || *a.SymmetricKey == (SymmetricKeys{}) {
			a.SymmetricKey = before.SymmetricKey
		}
		if a.SymmetricKey == nil {
			a.SymmetricKey = &SymmetricKeys{newKey(64), newKey(64)}
		}
	case AttestX509:
		had := []*Certificate{}
		for _, c := range before.certificates() {
			had = append(had, c.Primary, c.Secondary)
		}
		for _, c := range a.certificates() {
			for _, one := range []*Certificate{c.Primary, c.Secondary} {
				if one == nil || one.Certificate != "" {
					continue
				}
				i := slices.IndexFunc(had, func(h *Certificate) bool {
					return h != nil && h.Info != nil && one.Info != nil && h.Info.SHA256 == one.Info.SHA256
				})
				if i < 0 {
					return fault.New("provisioning.PutEnrollment", fault.Invalid, "a certificate is missing, and its info is of none that was there")
				}
				*one = *had[i]
			}
		}
	}
	return nil
}

// certificates returns those of an X.509 attestation.
func (a *Attestation) certificates() []*Certificates {
	var out []*Certificates
	if a.X509 != nil {
		for _, c := range []*Certificates{a.X509.Client, a.X509.Signing} {
			if c != nil {
				out = append(out, c)
			}
		}
	}
	return out
}

// checkReferences looks whether the authorities a group refers to are there and verified.
func (s *Service) checkReferences(tx *provisioningstore.Tx, e Enrollment) error {
	op := "provisioning.PutEnrollment"
	if e.Attestation.X509 == nil || e.Attestation.X509.CAReferences == nil {
		return nil
	}
	for _, name := range []string{e.Attestation.X509.CAReferences.Primary, e.Attestation.X509.CAReferences.Secondary} {
		if name == "" {
			continue
		}
		c, err := tx.Certificate(s.id, name)
		switch {
		case fault.KindOf(err) == fault.NotFound && err != nil:
			return fault.Newf(op, fault.Invalid, "caReferences names %.140q, and the service has no such certificate", name).Advise("upload it first")
		case err != nil:
			return err
		case !c.Verified:
			return fault.Newf(op, fault.Invalid, "the certificate %.140q is not verified", name).Advise("prove that its key is yours, see docs/provisioning.md")
		}
	}
	return nil
}

// DeleteEnrollment removes an enrollment, with its registration, or a group. Its devices stay at their hubs. ifMatch may be empty.
func (s *Service) DeleteEnrollment(ctx context.Context, id string, group bool, ifMatch string) error {
	return s.store().Write(ctx, func(tx *provisioningstore.Tx) error { return s.drop(tx, lower(id), group, ifMatch) })
}

func (s *Service) drop(tx *provisioningstore.Tx, id string, group bool, ifMatch string) error {
	old, err := tx.Enrollment(s.id, kindOf(group), id)
	if err != nil {
		return err
	}
	if ifMatch != "" && ifMatch != AnyETag && ifMatch != old.ETag {
		return changed("provisioning.DeleteEnrollment", id)
	}
	if err := tx.DeleteEnrollment(s.id, kindOf(group), id); err != nil {
		return err
	}
	if group {
		return tx.Touch(s.id)
	}
	if err := tx.DeleteRegistration(s.id, id); err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	return nil
}
