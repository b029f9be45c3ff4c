package provisioning_test

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/provisioning"
	pt "github.com/isthmus-io/isthmus/provisioning/provisioningtest"
	"github.com/isthmus-io/isthmus/provisioning/tpm/tpmtest"
)

// C57, without a wire.
func TestADeviceWithATPM(t *testing.T) {
	clk := clock.NewFake(time.Now())
	w := pt.Start(t, pt.Options{Clock: clk})
	chip, err := tpmtest.New()
	if err != nil {
		t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString
	keys := provisioning.TPMKeys{EndorsementKey: text(chip.EndorsementKey()), StorageRootKey: text(chip.StorageRootKey())}
	w.Put(`{"registrationId":"chip","attestation":{"type":"tpm","tpm":{"endorsementKey":"` + keys.EndorsementKey + `"}}}`)
	blob, err := w.Service.Challenge(t.Context(), "Chip", keys)
	if err != nil {
		t.Fatal(err)
	}
	key, about, err := chip.Activate(blob)
	if err != nil || about != w.Service.Scope()+"/registrations/chip" {
		t.Fatalf("%q, %v", about, err)
	}
	p := keyed(w, "chip", text(key))
	if _, err := w.Service.Register(t.Context(), p, provisioning.Registration{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("without a storage root key: %v", err)
	}
	for range 2 {
		o := w.Register(p, provisioning.Registration{StorageRootKey: keys.StorageRootKey})
		if o.Status != provisioning.Assigned || o.State.TPM == nil {
			t.Fatalf("%+v %+v", o, o.State)
		}
		wrapped, err := base64.StdEncoding.DecodeString(o.State.TPM.AuthenticationKey)
		if err != nil {
			t.Fatal(err)
		}
		hubKey, about, err := chip.Activate(wrapped)
		d, _ := w.Hubs.Get(o.State.AssignedHub).Device("chip")
		if err != nil || text(hubKey) != d.Primary || about != o.State.AssignedHub+"/chip" {
			t.Errorf("%q, %q, %v", text(hubKey), about, err)
		}
	}
	if s, err := w.Service.State(t.Context(), "chip"); err != nil || s.TPM != nil {
		t.Errorf("an operator sees %+v, %v", s, err)
	}
	other, err := tpmtest.New()
	if err != nil {
		t.Fatal(err)
	}
	for name, try := range map[string]func() error{
		"another TPM": func() error {
			_, err := w.Service.Challenge(t.Context(), "chip", provisioning.TPMKeys{EndorsementKey: text(other.EndorsementKey()), StorageRootKey: keys.StorageRootKey})
			return err
		},
		"no such enrollment": func() error { _, err := w.Service.Challenge(t.Context(), "nobody", keys); return err },
		"no storage root key": func() error {
			_, err := w.Service.Challenge(t.Context(), "chip", provisioning.TPMKeys{EndorsementKey: keys.EndorsementKey})
			return err
		},
		"no key":      func() error { return w.Service.Prove(t.Context(), provisioning.Proof{RegistrationID: "chip"}) },
		"another key": func() error { return w.Service.Prove(t.Context(), keyed(w, "chip", otherKey)) },
	} {
		if err := try(); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
	clk.Advance(time.Hour)
	if err := w.Service.Prove(t.Context(), keyed(w, "chip", text(key))); err != nil {
		t.Errorf("an hour later: %v", err)
	}
	clk.Advance(time.Hour)
	if err := w.Service.Prove(t.Context(), keyed(w, "chip", text(key))); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("two hours later: %v", err)
	}
}
