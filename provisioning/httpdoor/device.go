package httpdoor

import (
	"encoding/json"
	"net/http"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/provisioning"
)

// maxRegister bounds a registration's body: a payload, and a TPM's keys.
const maxRegister = provisioning.MaxPayload + 8<<10

func (x *exchange) proof() provisioning.Proof {
	return provisioning.Proof{
		RegistrationID: x.args[1], Token: x.Header.Get("Authorization"), Certificates: x.door.cfg.Certificates(x.Request),
	}
}

func register(x *exchange) error {
	var body struct {
		RegistrationID string                `json:"registrationId"`
		Payload        json.RawMessage       `json:"payload"`
		TPM            *provisioning.TPMKeys `json:"tpm"`
	}
	if err := x.decode(maxRegister, &body); err != nil {
		return err
	}
	if body.RegistrationID != "" && body.RegistrationID != x.args[1] {
		return fault.Newf("httpdoor.register", fault.Invalid, "registrationId is %.140q and the path says %.140q", body.RegistrationID, x.args[1])
	}
	p := x.proof()
	r := provisioning.Registration{Payload: body.Payload}
	if body.TPM != nil {
		r.StorageRootKey = body.TPM.StorageRootKey
		if p.Token == "" {
			blob, err := x.service.Challenge(x.Context(), x.args[1], *body.TPM)
			if err != nil {
				return err
			}
			return &challenge{fault.New("httpdoor.register", fault.Unauthenticated, "the device is to sign with the key its TPM was given"), blob}
		}
	}
	o, err := x.service.Register(x.Context(), p, r)
	if err != nil {
		return err
	}
	x.w.Header().Set("Location", "https://"+x.Host+"/"+x.service.Scope()+"/registrations/"+x.args[1]+"/operations/"+o.ID)
	x.answer(o)
	return nil
}

func operation(x *exchange) error {
	o, err := x.service.Operation(x.Context(), x.proof(), x.args[2])
	if err != nil {
		return err
	}
	x.answer(o)
	return nil
}

// answer writes an operation: 202 until it is done.
func (x *exchange) answer(o provisioning.Operation) {
	if o.Done() {
		x.write(http.StatusOK, o)
		return
	}
	x.retryAfter()
	x.write(http.StatusAccepted, o)
}

func deviceState(x *exchange) error {
	s, err := x.service.DeviceState(x.Context(), x.proof())
	if err != nil {
		return err
	}
	x.write(http.StatusOK, s)
	return nil
}
