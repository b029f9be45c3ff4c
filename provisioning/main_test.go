package provisioning_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/provisioning/provisioningtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t testing.TB) *provisioningtest.World {
	t.Helper()
	return provisioningtest.Start(t, provisioningtest.Options{})
}

// keyed is a proof by symmetric key.
func keyed(w *provisioningtest.World, id, key string) provisioning.Proof {
	return provisioning.Proof{RegistrationID: id, Token: w.Token(id, key)}
}

// own is a proof by the key of the device's own enrollment.
func own(w *provisioningtest.World, id string) provisioning.Proof { return keyed(w, id, w.Key(id)) }

const (
	groupKey = "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw=="
	otherKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	line     = `{"enrollmentGroupId":"line","attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":"` + groupKey + `","secondaryKey":"` + otherKey + `"}}}`
)

// The vector of Microsoft's documentation, checked with openssl.
func TestDerivedKey(t *testing.T) {
	got, err := provisioning.DeriveKey(groupKey, "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6")
	if want := "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc="; err != nil || got != want {
		t.Errorf("%s, %v", got, err)
	}
	for _, bad := range []string{"", "not base64!"} {
		if _, err := provisioning.DeriveKey(bad, "d"); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestRegistrationIDs(t *testing.T) {
	long := make([]byte, provisioning.MaxID)
	for i := range long {
		long[i] = 'x'
	}
	for id, want := range map[string]string{
		"Sensor-1": "sensor-1", "a.b_c:d-": "a.b_c:d-", string(long): string(long),
		"": "", "a.": "", "a b": "", "a/b": "", "ä": "", "a\n": "", string(long) + "x": "",
		"\u212a": "", // KELVIN SIGN, whose small letter is k
	} {
		if got, err := provisioning.RegistrationID(id); got != want || (err == nil) != (want != "") || err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %q, %v", id, got, err)
		}
	}
}

func TestTheScopeStays(t *testing.T) {
	dir := t.TempDir()
	w := provisioningtest.Start(t, provisioningtest.Options{Dir: dir})
	scope := w.Service.Scope()
	if len(scope) != 11 || scope[:3] != "0ne" {
		t.Errorf("scope %q", scope)
	}
	owner, err := w.Service.ConnectionString(provisioning.PolicyOwner)
	if err != nil {
		t.Fatal(err)
	}
	w.Stop()
	w = provisioningtest.Start(t, provisioningtest.Options{Dir: dir})
	again, err := w.Service.ConnectionString(provisioning.PolicyOwner)
	if w.Service.Scope() != scope || again != owner || err != nil {
		t.Errorf("after a restart %s, %s", w.Service.Scope(), again)
	}
	for _, name := range []string{scope, "uid-dps", "ot/ot-cloud/dps", provisioningtest.Host} {
		if svc, ok := w.Server.ByName(name); !ok || svc != w.Service {
			t.Errorf("not found by %q", name)
		}
	}
	if err := w.Server.SetServices(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.Server.ByScope(scope); ok {
		t.Error("a service that is not served any more is found")
	}
}

func TestPoliciesAndTheirRights(t *testing.T) {
	w := start(t)
	for policy, rights := range map[string]provisioning.Right{
		provisioning.PolicyOwner:     provisioning.EveryRight,
		provisioning.PolicyReadWrite: provisioning.EnrollmentRead | provisioning.EnrollmentWrite | provisioning.RegistrationStatusRead | provisioning.RegistrationStatusWrite,
		provisioning.PolicyRead:      provisioning.EnrollmentRead | provisioning.RegistrationStatusRead,
	} {
		token := w.ServiceToken(policy)
		for bit := provisioning.Right(1); bit <= provisioning.DeviceConnect; bit <<= 1 {
			_, err := w.Service.Authorize(token, bit)
			if rights&bit != 0 && err != nil || rights&bit == 0 && fault.KindOf(err) != fault.Denied {
				t.Errorf("%s, %s: %v", policy, bit, err)
			}
		}
	}
	text, _ := w.Service.ConnectionString(provisioning.PolicyOwner)
	key := text[len(text)-44:]
	for name, c := range map[string]struct {
		token string
		want  fault.Kind
	}{
		"another key":    {w.Sign(provisioningtest.Host, otherKey, provisioning.PolicyOwner, time.Hour), fault.Unauthenticated},
		"another policy": {w.Sign(provisioningtest.Host, key, "nobody", time.Hour), fault.Unauthenticated},
		"no policy":      {w.Sign(provisioningtest.Host, key, "", time.Hour), fault.Unauthenticated},
		"another host":   {w.Sign("fabrikam.azure-devices-provisioning.net", key, provisioning.PolicyOwner, time.Hour), fault.Denied},
		"ended":          {w.Sign(provisioningtest.Host, key, provisioning.PolicyOwner, -time.Second), fault.Expired},
		"no token":       {"", fault.Unauthenticated},
	} {
		if _, err := w.Service.Authorize(c.token, provisioning.EnrollmentRead); fault.KindOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	before := w.ServiceToken(provisioning.PolicyOwner)
	if err := w.Service.RenewPolicyKey(t.Context(), provisioning.PolicyOwner, false); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Service.Authorize(before, provisioning.EnrollmentRead); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("a token of a renewed key: %v", err)
	}
	if _, err := w.Service.Authorize(w.ServiceToken(provisioning.PolicyOwner), provisioning.EnrollmentRead); err != nil {
		t.Error(err)
	}
}
