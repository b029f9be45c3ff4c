package signin_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/simulate/settings"
	"github.com/isthmus-io/isthmus/simulate/signin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "Z3JvdXAta2V5LWdyb3VwLWtleS1ncm91cC1rZXk="

var now = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

// The example of the DPS documentation for devices of a group enrolment with symmetric keys.
func TestDerivedKeysAreThoseOfDPS(t *testing.T) {
	got, err := signin.Derive("8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==", "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6")
	if err != nil || got != "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=" {
		t.Errorf("%s, %v", got, err)
	}
	for _, bad := range []string{"", "!"} {
		if _, err := signin.Derive(bad, "d"); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// registry knows devices whose keys are as long as their ids.
type registry struct {
	asked   atomic.Int32
	missing string
}

func (r *registry) Device(_ context.Context, id string) (hubclient.Device, error) {
	r.asked.Add(1)
	switch id {
	case r.missing:
		return hubclient.Device{}, fault.New("", fault.NotFound, "no device")
	case "x509":
		return hubclient.Device{ID: id, Authentication: &hubclient.Auth{Type: "selfSigned"}}, nil
	}
	derived, err := signin.Derive(key, "registry "+id)
	return hubclient.Device{ID: id, Authentication: &hubclient.Auth{Keys: &hubclient.Keys{Primary: derived}}}, err
}

func TestTokens(t *testing.T) {
	derive := func(text string) string {
		k, err := signin.Derive(key, text)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	base := settings.Settings{Hub: "hub.example.net", Devices: []string{"a", "b"}, TokenLife: time.Hour, KeepAlive: 4 * time.Minute}
	for how, c := range map[settings.SignIn]struct{ key, policy string }{
		settings.Policy: {key, "device"}, settings.OwnKey: {key, ""}, settings.Group: {derive("b"), ""}, settings.DeviceKeys: {derive("registry b"), ""},
	} {
		s := base
		s.SignIn, s.GroupKey, s.Connection = how, key, sas.ConnectionString{Key: key, Policy: "device"}
		m, err := signin.New(&s, &registry{}, clock.NewFake(now))
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		h, ends, err := m.Hello("b")
		if err != nil || !ends.Equal(now.Add(time.Hour)) || h.Device != "b" || h.KeepAlive != 240 || h.Certificate != nil {
			t.Errorf("%s: %+v, %v, %v", how, h, ends, err)
		}
		token, err := sas.Parse(h.Token)
		if err != nil || token.Policy != c.policy || !token.SignedBy(c.key) || token.Resource != url.QueryEscape("hub.example.net/devices/b") || !token.Expires.Equal(ends) {
			t.Errorf("%s: %+v, %v", how, token, err)
		}
	}
}

func TestPrepareFindsWhatIsMissing(t *testing.T) {
	s := &settings.Settings{Hub: "h", SignIn: settings.DeviceKeys, TokenLife: time.Hour}
	for i := range 100 {
		s.Devices = append(s.Devices, fmt.Sprint("d", i))
	}
	r := &registry{missing: "d57"}
	m, err := signin.New(s, r, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Prepare(t.Context()); fault.KindOf(err) != fault.NotFound || !strings.Contains(fault.Message(err), "no device d57") {
		t.Errorf("%v", err)
	}
	r.missing = ""
	if err := m.Prepare(t.Context()); err != nil {
		t.Error(err)
	}
	if _, _, err := m.Hello("stranger"); err == nil {
		t.Error("a key from nowhere")
	}
	s.Devices = []string{"x509"}
	if m, err = signin.New(s, r, clock.System{}); err != nil {
		t.Fatal(err)
	}
	if err := m.Prepare(t.Context()); fault.KindOf(err) != fault.Invalid {
		t.Errorf("%v", err)
	}
	if _, err := signin.New(s, nil, clock.System{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("%v", err)
	}
}

// write makes a certificate with its key in one file and returns the file.
func write(t *testing.T, dir, name string) string {
	t.Helper()
	authority, _, err := identity.NewAuthority("test", now)
	if err != nil {
		t.Fatal(err)
	}
	private, keyPEM, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := identity.NewRequest(private, "", name)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := authority.IssueServer(csr, now, time.Hour, name)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, name+".pem")
	if err := os.WriteFile(file, append(pem, keyPEM...), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	one := write(t, dir, "a")
	write(t, dir, "b")
	s := &settings.Settings{SignIn: settings.Certificate, Devices: []string{"a", "b"}, CertificateFile: filepath.Join(dir, "{device}.pem"), CertificateKeyFile: filepath.Join(dir, "{device}.pem"), KeepAlive: time.Minute}
	name := func(device string) string {
		m, err := signin.New(s, nil, clock.System{})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Prepare(t.Context()); err != nil {
			return fault.Message(err)
		}
		h, ends, err := m.Hello(device)
		if err != nil || !ends.IsZero() || h.Token != "" || h.KeepAlive != 60 {
			t.Fatalf("%+v, %v, %v", h, ends, err)
		}
		c, err := x509.ParseCertificate(h.Certificate.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return c.DNSNames[0]
	}
	if a, b := name("a"), name("b"); a != "a" || b != "b" {
		t.Errorf("%s, %s", a, b)
	}
	s.Devices = append(s.Devices, "c")
	if got := name("a"); !strings.Contains(got, "CertificateFile: "+filepath.Join(dir, "c.pem")) {
		t.Errorf("%s", got)
	}
	s.CertificateFile, s.CertificateKeyFile = one, one
	if got := name("c"); got != "a" {
		t.Errorf("%s", got)
	}
}
