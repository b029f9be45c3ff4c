package agreement

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
)

// purpose separates signatures of contracts from everything else an authority signs.
const purpose = "contract"

// Sign signs a version of a contract for a tenant that agrees to it. by is who agreed, in words.
func Sign(a *identity.Authority, contract resource.Key, version int64, digest, tenant, by string, at time.Time) (resource.ContractSignature, error) {
	s := resource.ContractSignature{Tenant: tenant, By: by, At: at.UTC().Round(0), Authority: identity.Fingerprint(a.Certificate())}
	signature, err := a.SignStatement(purpose, s.SignedBytes(contract.Path(), version, digest))
	s.Signature = base64.StdEncoding.EncodeToString(signature)
	return s, err
}

// Terms is what was agreed, once it was found to be signed by both sides.
type Terms struct {
	Contract    resource.Key
	Spec        resource.ContractSpec
	TrustDomain string // of the authority that signed
}

// Verify checks that an authority of the PEM text has signed what was agreed for both tenants. Invalid when the text is not the one with this
// digest, or the PEM text holds no authority's certificate; Unauthenticated when a signature is missing, is one too many, or does not fit.
func Verify(rootsPEM []byte, a *resource.AgreedContract) (Terms, error) {
	op := "agreement.Verify"
	key, spec, err := a.Read()
	if err != nil {
		return Terms{}, err
	}
	out := Terms{Contract: key, Spec: spec}
	missing := []string{key.Tenant}
	if spec.With != key.Tenant {
		missing = append(missing, spec.With)
	}
	for i := range a.Signatures {
		s := &a.Signatures[i]
		at := slices.Index(missing, s.Tenant)
		if at < 0 {
			return Terms{}, fault.Newf(op, fault.Unauthenticated, "%.60q has signed, and is none of the tenants between whom it is, or has signed twice", s.Tenant).
				Advise("it is not as the deployment gave it out")
		}
		missing = slices.Delete(missing, at, at+1)
		if out.TrustDomain, err = verify(rootsPEM, key, a, s); err != nil {
			return Terms{}, err
		}
	}
	if len(missing) > 0 {
		return Terms{}, fault.Newf(op, fault.Unauthenticated, "the tenant %s has not signed it", missing[0]).Advise("it does not hold: both sides have to agree")
	}
	return out, nil
}

func verify(rootsPEM []byte, contract resource.Key, a *resource.AgreedContract, s *resource.ContractSignature) (string, error) {
	signature, err := base64.StdEncoding.Strict().DecodeString(s.Signature)
	if err != nil {
		signature = nil // which no authority gives
	}
	domain, err := identity.VerifyStatement(rootsPEM, s.Authority, purpose, s.SignedBytes(contract.Path(), a.Version, a.Digest), signature)
	if err != nil {
		return "", fault.Newf("agreement.Verify", fault.KindOf(err), "for the tenant %s: %s", s.Tenant, fault.Message(err)).Because(err).Advise("%s", fault.Next(err))
	}
	return domain, nil
}

// Parse reads an agreement out of JSON: a contract as the API gives it, or what is in its status.agreed. NotFound for a contract that was not
// agreed; Invalid for anything else.
func Parse(raw []byte) (*resource.AgreedContract, error) {
	op := "agreement.Parse"
	var doc struct {
		resource.AgreedContract
		Status struct {
			Agreed *resource.AgreedContract `json:"agreed"`
		} `json:"status"`
		Spec json.RawMessage `json:"spec"`
	}
	err := json.Unmarshal(raw, &doc)
	switch {
	case err != nil:
		return nil, fault.New(op, fault.Invalid, "this is no contract in JSON").Because(err).Advise("give what isthmus contract show -o json prints")
	case doc.Status.Agreed != nil:
		return doc.Status.Agreed, nil
	case doc.Text != "":
		return &doc.AgreedContract, nil
	case len(doc.Spec) > 0:
		return nil, fault.New(op, fault.NotFound, "no version of this contract is agreed").Advise("it holds once the tenant it is with has accepted it: isthmus contract accept")
	}
	return nil, fault.New(op, fault.Invalid, "there is no contract in this").Advise("give what isthmus contract show -o json prints")
}
