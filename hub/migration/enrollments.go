package migration

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/azureexport"
	"github.com/isthmus-io/isthmus/hub/parity"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/provisioning/provisioningclient"
)

func (r *run) bringEnrollments(ctx context.Context) error {
	all := 0
	for _, f := range r.files {
		all += f.enrolled + f.unkeyed
	}
	certificates := 0
	for _, a := range r.Plan.authorities {
		if a.Provisioning {
			certificates++
		}
	}
	if all+certificates == 0 {
		return nil
	}
	if r.Config.Provisioning == nil {
		return r.failed(Enrollments, "all", fault.New("migration.enrollments", fault.Invalid, "the files hold enrollments, and there is no provisioning service to bring them to"))
	}
	service, err := r.Config.Provisioning()
	if err != nil {
		return r.failed(Enrollments, "all", err)
	}
	r.service = service
	if err := r.bringCertificates(ctx); err != nil {
		return err
	}
	done := 0
	for _, keyed := range []bool{true, false} { // of an enrollment that comes twice, the one with keys first
		for _, f := range r.files {
			if keyed && f.enrolled == 0 || !keyed && f.unkeyed == 0 {
				continue
			}
			err := r.read(f, func(t azureexport.Thing) error {
				e, ok := t.(*azureexport.Enrollment)
				if !ok || (e.HasKeys || e.HasProof) != keyed {
					return nil
				}
				done++
				r.tell(Enrollments, done, all)
				return r.enroll(ctx, e)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) bringCertificates(ctx context.Context) error {
	there := map[string]provisioningclient.Authority{}
	asked := false
	for _, a := range r.Plan.authorities {
		if !a.Provisioning {
			continue
		}
		if !asked {
			asked = true
			list, err := r.service.Authorities(ctx)
			if err != nil {
				return err
			}
			for _, one := range list {
				there[one.Name] = one
			}
		}
		text, err := a.PEM()
		if err != nil {
			if err := r.failed(Enrollments, "authority "+a.Name, err); err != nil {
				return err
			}
			continue
		}
		now, has := there[a.Name]
		same := strings.EqualFold(now.Certificate.SHA256, thumbprint(text)) && (now.Verified || !a.Verified)
		if err := r.put(ctx, Enrollments, "authority "+a.Name, has, same, func(ctx context.Context) error {
			made, err := r.service.PutAuthority(ctx, a.Name, text, a.Verified, now.ETag)
			if err == nil {
				there[a.Name] = made
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

func thumbprint(text string) string {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return ""
	}
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:])
}

func (r *run) enroll(ctx context.Context, e *azureexport.Enrollment) error {
	name := "enrollment " + e.ID
	if e.Group {
		name = "group " + e.ID
	}
	if strings.EqualFold(e.Attestation, provisioning.AttestX509) && !e.HasProof {
		return r.failed(Enrollments, name, fault.New("migration.enroll", fault.Invalid, "its certificate is not in the export").
			Advise("create it with the certificate: isthmus dps enrollment create"))
	}
	text, err := parity.EnrollmentOf(e)
	var wanted provisioningclient.Enrollment
	if err == nil {
		err = json.Unmarshal(text, &wanted)
	}
	if err != nil {
		return r.failed(Enrollments, name, err)
	}
	return r.settle(ctx, Enrollments, name, func(ctx context.Context) (state, error) {
		now, err := r.service.Enrollment(ctx, wanted.Name(), e.Group)
		if fault.KindOf(err) == fault.NotFound {
			return state{change: func(ctx context.Context) error {
				_, err := r.service.PutEnrollment(ctx, wanted, "")
				return err
			}}, nil
		}
		if err != nil {
			return state{}, err
		}
		if e.HasKeys || e.HasProof {
			if now.Attestation, err = r.service.Mechanism(ctx, wanted.Name(), e.Group); err != nil {
				return state{}, err
			}
		}
		same, err := alike(now, wanted, e)
		return state{there: true, same: same, change: func(ctx context.Context) error {
			_, err := r.service.PutEnrollment(ctx, wanted, provisioningclient.Any)
			return err
		}}, err
	})
}

// alike tells whether an enrollment is as it is to be. Both are brought into the form in which a service keeps them.
func alike(now, wanted provisioningclient.Enrollment, e *azureexport.Enrollment) (bool, error) {
	plain := func(one provisioningclient.Enrollment) (provisioning.Enrollment, error) {
		one.State, one.ETag, one.Created, one.Updated = nil, "", "", ""
		if !e.HasKeys && !e.HasProof {
			one.Attestation = provisioningclient.Attestation{Type: one.Attestation.Type}
		}
		text, err := json.Marshal(one)
		if err != nil {
			return provisioning.Enrollment{}, err
		}
		out, err := provisioning.ParseEnrollment(text, e.Group)
		if x := out.Attestation.X509; x != nil { // what is shown of a certificate follows from it
			for _, c := range []*provisioning.Certificates{x.Client, x.Signing} {
				if c == nil {
					continue
				}
				for _, one := range []*provisioning.Certificate{c.Primary, c.Secondary} {
					if one != nil {
						one.Info = nil
					}
				}
			}
		}
		return out, err
	}
	a, err := plain(now)
	if err != nil {
		return false, err
	}
	b, err := plain(wanted)
	return sameJSON(a, b), err
}
