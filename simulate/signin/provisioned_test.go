package signin_test

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/simulate/settings"
	"github.com/isthmus-io/isthmus/simulate/signin"
)

func TestDevicesGoWhereTheyAreAssigned(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := strings.Split(r.URL.Path, "/")[3]
		if id == "stranger" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = fmt.Fprintf(w, `{"operationId":"o","status":"assigned","registrationState":{"assignedHub":"%s.example.net","deviceId":"dev-%s"}}`, id, id)
	}))
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	base := settings.Settings{
		SignIn: settings.Group, GroupKey: key, IDScope: "0ne1", ProvisioningHost: "example.com", ProvisioningAddress: srv.Listener.Addr().String(), Roots: roots,
		Devices: []string{"a", "b"}, TokenLife: time.Hour, KeepAlive: 4 * time.Minute,
	}
	m, err := signin.New(&base, nil, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.Hello("a"); err == nil {
		t.Error("before it was registered")
	}
	if err := m.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	hello, ends, err := m.Hello("b")
	if err != nil || hello.Host != "b.example.net" || hello.Device != "dev-b" || hello.KeepAlive != 240 || ends.IsZero() {
		t.Fatalf("%+v, %v, %v", hello, ends, err)
	}
	derived, err := signin.Derive(key, "b") // of the registration, not of the device
	if err != nil {
		t.Fatal(err)
	}
	token, err := sas.Parse(hello.Token)
	if err != nil || !token.SignedBy(derived) || !token.Covers([]string{"b.example.net"}, "devices/dev-b") {
		t.Errorf("%+v, %v", token, err)
	}

	one := base
	one.Verify, one.Connection = true, sas.ConnectionString{HostName: "a.example.net"}
	if m, err = signin.New(&one, nil, clock.System{}); err == nil {
		err = m.Prepare(t.Context())
	}
	if fault.KindOf(err) != fault.Invalid || err == nil || !strings.Contains(err.Error(), "device b belongs to b.example.net") {
		t.Errorf("two hubs, and one to verify with: %v", err)
	}
	others := base
	others.Devices = []string{"a", "stranger"}
	if m, err = signin.New(&others, nil, clock.System{}); err == nil {
		err = m.Prepare(t.Context())
	}
	if fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("a stranger among them: %v", err)
	}
}
