package httpdoor

import (
	"net/http"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/provisioning"
)

const (
	maxOwnBody         = 4 << 10
	maxCertificateBody = 20 << 10
)

func describe(x *exchange) error {
	hubs, err := x.service.LinkedHubs(x.Context())
	if err != nil {
		return err
	}
	policies := map[string][]string{}
	for _, p := range x.service.Policies() {
		policies[p.Name] = p.Rights.Names()
	}
	x.write(http.StatusOK, map[string]any{
		"name": x.service.Name(), "idScope": x.service.Scope(), "hostNames": x.service.HostNames(), "linkedHubs": hubs, "policies": policies,
	})
	return nil
}

func linkHub(x *exchange) error {
	var body struct {
		ConnectionString string `json:"connectionString"`
		Weight           *int   `json:"allocationWeight"`
	}
	if err := x.decode(maxOwnBody, &body); err != nil {
		return err
	}
	weight := 1
	if body.Weight != nil {
		weight = *body.Weight
	}
	var err error
	if body.ConnectionString == "" {
		err = x.service.WeighHub(x.Context(), x.args[0], weight)
	} else {
		err = x.service.LinkHub(x.Context(), x.args[0], body.ConnectionString, weight)
	}
	if err != nil {
		return err
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

func unlinkHub(x *exchange) error {
	if err := x.service.UnlinkHub(x.Context(), x.args[0]); err != nil {
		return err
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

func listAuthorities(x *exchange) error {
	list, err := x.service.Authorities(x.Context())
	if err != nil {
		return err
	}
	x.write(http.StatusOK, list)
	return nil
}

// certificateJSON is what is sent of a certificate.
type certificateJSON struct {
	Certificate string `json:"certificate"`
	Verified    bool   `json:"isVerified"`
}

func putAuthority(x *exchange) error {
	var body certificateJSON
	if err := x.decode(maxCertificateBody, &body); err != nil {
		return err
	}
	return x.authority(x.service.PutAuthority(x.Context(), x.args[0], body.Certificate, body.Verified, x.ifMatch()))
}

func verificationCode(x *exchange) error {
	return x.authority(x.service.VerificationCode(x.Context(), x.args[0], x.ifMatch()))
}

func verifyAuthority(x *exchange) error {
	var body certificateJSON
	if err := x.decode(maxCertificateBody, &body); err != nil {
		return err
	}
	return x.authority(x.service.VerifyAuthority(x.Context(), x.args[0], body.Certificate, x.ifMatch()))
}

func (x *exchange) authority(a provisioning.Authority, err error) error {
	if err != nil {
		return err
	}
	x.tagged(a.ETag, a)
	return nil
}

func deleteAuthority(x *exchange) error {
	if err := x.service.DeleteAuthority(x.Context(), x.args[0], x.ifMatch()); err != nil {
		return err
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

func renewPolicyKey(x *exchange) error {
	var body struct {
		Renew string `json:"renew"`
	}
	if err := x.decode(maxOwnBody, &body); err != nil {
		return err
	}
	if body.Renew != "primary" && body.Renew != "secondary" {
		return fault.Newf("httpdoor.renewPolicyKey", fault.Invalid, "%.20q is no key that can be renewed", body.Renew).Advise("write primary or secondary")
	}
	if err := x.service.RenewPolicyKey(x.Context(), x.args[0], body.Renew == "secondary"); err != nil {
		return err
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

func getPolicy(x *exchange) error {
	text, err := x.service.ConnectionString(x.args[0])
	if err != nil {
		return err
	}
	x.write(http.StatusOK, map[string]string{"connectionString": text})
	return nil
}
