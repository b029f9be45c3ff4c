package provision_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/provisioning/httpdoor"
	pt "github.com/isthmus-io/isthmus/provisioning/provisioningtest"
	"github.com/isthmus-io/isthmus/simulate/provision"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers devices over TLS and returns a client of that, whose id scope may be another one.
func serve(t *testing.T, scope string, h http.Handler) *provision.Client {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	c := provision.New(provision.Config{Scope: scope, Host: "example.com", Address: srv.Listener.Addr().String(), Roots: roots, Timeout: 20 * time.Second}, clock.System{})
	t.Cleanup(c.Close)
	return c
}

func door(w *pt.World) http.Handler {
	return httpdoor.New(httpdoor.Config{Service: func(*http.Request) (*provisioning.Service, error) { return w.Service, nil }}, w.Server, hubtest.Silent(), w.Clock)
}

func TestDevicesRegister(t *testing.T) {
	w := pt.Start(t, pt.Options{})
	ca := pt.Sign(t, nil, "factory", pt.CA)
	w.PutGroup(`{"enrollmentGroupId":"line","attestation":{"type":"symmetricKey"}}`)
	w.PutGroup(`{"enrollmentGroupId":"x","iotHubHostName":"` + pt.HubB + `","attestation":{"type":"x509","x509":{"signingCertificates":{"primary":{"certificate":` + fmt.Sprintf("%q", ca.PEM()) + `}}}}}`)
	m, err := w.Service.Mechanism(t.Context(), "line", true)
	if err != nil {
		t.Fatal(err)
	}
	key, err := provisioning.DeriveKey(m.SymmetricKey.Primary, "press-7")
	if err != nil {
		t.Fatal(err)
	}
	c := serve(t, w.Service.Scope(), door(w))
	at, err := c.Register(t.Context(), provision.Proof{ID: "press-7", Key: key})
	if err != nil || at.Device != "press-7" || at.Hub != pt.HubA && at.Hub != pt.HubB {
		t.Errorf("by a key: %+v, %v", at, err)
	}
	if again, err := c.Register(t.Context(), provision.Proof{ID: "press-7", Key: key}); err != nil || again != at {
		t.Errorf("again: %+v, %v", again, err)
	}
	leaf := pt.Sign(t, ca, "press-8").TLS()
	if at, err = c.Register(t.Context(), provision.Proof{ID: "press-8", Certificate: &leaf}); err != nil || at != (provision.Place{Hub: pt.HubB, Device: "press-8"}) {
		t.Errorf("by a certificate: %+v, %v", at, err)
	}

	for name, p := range map[string]provision.Proof{
		"another key": {ID: "press-9", Key: key}, "another certificate": {ID: "press-9", Certificate: &leaf}, "the group's key": {ID: "press-7", Key: m.SymmetricKey.Primary},
	} {
		if _, err := c.Register(t.Context(), p); fault.KindOf(err) != fault.Unauthenticated || err == nil || fault.Next(err) == "" || strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", name, err)
		}
	}
	elsewhere := serve(t, "0ne00000000", door(w))
	if _, err := elsewhere.Register(t.Context(), provision.Proof{ID: "press-7", Key: key}); err == nil || fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("another id scope: %v", err)
	}
}

func TestWhatTheServiceMayAnswer(t *testing.T) {
	const key = "c2VjcmV0c2VjcmV0c2VjcmV0"
	answers := func(list ...string) http.Handler {
		n := 0
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			text := list[min(n, len(list)-1)]
			n++
			status, body, _ := strings.Cut(text, " ")
			w.Header().Set("Retry-After", "0")
			var code int
			_, _ = fmt.Sscan(status, &code)
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		})
	}
	const assigned = `200 {"operationId":"o","status":"assigned","registrationState":{"assignedHub":"h.example","deviceId":"d"}}`
	for name, c := range map[string]struct {
		h    http.Handler
		kind fault.Kind
		says string // empty: it works
	}{
		"at once":           {answers(assigned), 0, ""},
		"after a while":     {answers(`202 {"operationId":"o","status":"assigning"}`, `202 {"operationId":"o","status":"assigning"}`, assigned), 0, ""},
		"busy":              {answers(`429 {}`, `503 {}`, `202 {"operationId":"o","status":"assigning"}`, `429 {}`, assigned), 0, ""},
		"no hub":            {answers(`200 {"operationId":"o","status":"failed","registrationState":{"errorCode":400208,"errorMessage":"no hub is linked"}}`), fault.Unavailable, "400208 no hub is linked"},
		"no such operation": {answers(`202 {"operationId":"o","status":"assigning"}`, `404 {"message":"gone"}`), fault.Unavailable, "gone"},
		"a redirect":        {answers(`302 `), fault.Unavailable, "302"},
		"a page":            {answers(`200 <html>`), fault.Unavailable, "none of a provisioning service"},
	} {
		at, err := serve(t, "0ne1", c.h).Register(t.Context(), provision.Proof{ID: "d", Key: key})
		switch {
		case c.says == "" && (err != nil || at != provision.Place{Hub: "h.example", Device: "d"}):
			t.Errorf("%s: %+v, %v", name, at, err)
		case c.says != "" && (err == nil || fault.KindOf(err) != c.kind || !strings.Contains(fault.Message(err), c.says)):
			t.Errorf("%s: %v", name, err)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	endless := serve(t, "0ne1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			cancel()
		}
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte(`{"operationId":"o","status":"assigning"}`))
	}))
	if _, err := endless.Register(ctx, provision.Proof{ID: "d", Key: key}); fault.KindOf(err) != fault.Timeout {
		t.Errorf("given up: %v", err)
	}
	nobody := provision.New(provision.Config{Scope: "0ne1", Address: "127.0.0.1:1"}, clock.System{})
	if _, err := nobody.Register(t.Context(), provision.Proof{ID: "d", Key: key}); err == nil || !strings.Contains(fault.Message(err), provision.GlobalHost+" at 127.0.0.1:1 cannot be reached") {
		t.Errorf("nobody there: %v", err)
	}
}
