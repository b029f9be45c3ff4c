package client_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/control/httpdoor"
	"github.com/isthmus-io/isthmus/control/jointoken"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/gateway/decide"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "tok-very-secret"

// deployment is an authority and servers with its certificates.
type deployment struct {
	t         *testing.T
	authority *identity.Authority
	pin       string
}

func newDeployment(t *testing.T) *deployment {
	a, _, err := identity.NewAuthority("isthmus.test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &deployment{t, a, jointoken.Pin(a.Certificate())}
}

// serve starts a server with the control plane's certificate.
func (d *deployment) serve(h http.HandlerFunc) string {
	cert, err := httpdoor.NewCertificate(d.authority, []string{"127.0.0.1"}, clock.System{})
	if err != nil {
		d.t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	pair, err := cert.Get(nil)
	if err != nil {
		d.t.Fatal(err)
	}
	s.TLS = cert.TLS()
	s.TLS.Certificates = []tls.Certificate{*pair} // or httptest brings its own
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	d.t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func (d *deployment) client(addresses ...string) *client.Client {
	c, err := client.New(client.Config{Addresses: addresses, Pin: d.pin, Token: secret, Clock: eager{}})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(c.Close)
	return c
}

// eager waits for nothing.
type eager struct{ clock.System }

func (eager) After(time.Duration) (<-chan time.Time, func()) { return clock.System{}.After(0) }

func reply(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	if status > 299 {
		w.Header().Set("Content-Type", "application/problem+json")
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func problem(w http.ResponseWriter, status int, kind fault.Kind) {
	reply(w, status, fmt.Sprintf(`{"kind":%q,"detail":"what happened","next":"100%% what to do","status":%d}`, kind, status))
}

// closedPort is an address where nothing listens.
func closedPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestEveryMethodSpeaksTheAPI(t *testing.T) {
	d := newDeployment(t)
	var mu sync.Mutex
	var got string
	answers := map[string]string{
		"GET /v1/version": `{"version":"v1","apiVersion":"isthmus/v1","trustDomain":"isthmus.test"}`,
		"GET /v1/whoami":  `{"name":"ann","tenant":"ot","role":"owner"}`,
		"POST /v1/apply":  `{"changes":[{"kind":"Tenant","path":"ot","action":"created","warnings":["w"]}]}`,
		"GET /v1/endpoints": `{"items":[{"kind":"PrivateEndpoint","apiVersion":"isthmus/v1","metadata":{"tenant":"ot","network":"plant-7","name":"hub"},
			"spec":{"service":"a/b/c"},"status":{"address":"10.7.0.4"}}]}`,
		"GET /v1/services/ot/ot-cloud/contoso":       `{"kind":"Service","metadata":{"name":"contoso"},"spec":{"type":"iothub"}}`,
		"GET /v1/connections":                        `{"items":[{"endpoint":"ot/plant-7/hub","mayDecide":true,"connection":{"state":"Pending"}}]}`,
		"POST /v1/contracts/ot/telemetry/decision":   `{"apiVersion":"isthmus/v1","kind":"Contract","metadata":{"tenant":"ot","name":"telemetry"},"status":{"state":"Agreed"}}`,
		"POST /v1/endpoints/ot/plant-7/hub/decision": `{"endpoint":"ot/plant-7/hub","connection":{"state":"Approved"}}`,
		"GET /v1/tokens":                             `{"items":[{"id":"t1","name":"ann"}]}`,
		"POST /v1/tokens":                            `{"secret":"s","token":{"id":"t2"}}`,
		"POST /v1/join-tokens":                       `{"id":"j1","secret":"isthmus-join.x"}`,
		"GET /v1/audit":                              `{"items":[{"sequence":7,"why":"because"}]}`,
		"GET /v1/audit/verify":                       `{"intact":true}`,
		"GET /v1/audit/checkpoints":                  `{"items":[{"sequence":5,"hash":"ab"}]}`,
		"POST /v1/audit/checkpoints":                 `{"sequence":6,"hash":"cd"}`,
		"DELETE /v1/tenants/ot":                      "",
		"DELETE /v1/tokens/t1":                       "",
		"GET /v1/join-tokens":                        `{"items":[{"id":"j1","for":"agent","state":"used"}]}`,
		"DELETE /v1/join-tokens/j1":                  "",
		"GET /v1/networks/ot/plant-7/why":            `{"name":"a.example","steps":[{"what":"answer","detail":"NXDOMAIN"}]}`,
		"GET /v1/gateways/ot/ot-cloud/front/why":     `{"gateway":"ot/ot-cloud/front","allowed":true,"steps":["in"]}`,
	}
	c := d.client(d.serve(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		got = strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Method, r.URL.RequestURI(), body))
		mu.Unlock()
		answer, ok := answers[r.Method+" "+r.URL.Path]
		switch {
		case r.Header.Get("Authorization") != "Bearer "+secret:
			problem(w, 401, fault.Unauthenticated)
		case !ok:
			problem(w, 404, fault.NotFound)
		case answer == "":
			w.WriteHeader(204)
		default:
			reply(w, 200, answer)
		}
	}))
	tenant, _ := resource.New(resource.KindTenant)
	tenant.Head().Metadata.Name = "ot"
	endpoint := resource.Key{Kind: resource.KindPrivateEndpoint, Tenant: "ot", Scope: "plant-7", Name: "hub"}
	since := time.Date(2026, 11, 22, 3, 0, 0, 5, time.UTC)
	for _, step := range []struct {
		want string
		call func(context.Context) (any, error)
		is   any
	}{
		{"GET /v1/version", func(ctx context.Context) (any, error) { return c.Version(ctx) }, client.Version{Version: "v1", APIVersion: "isthmus/v1", TrustDomain: "isthmus.test"}},
		{"GET /v1/whoami", func(ctx context.Context) (any, error) { return c.WhoAmI(ctx) }, client.Principal{Name: "ann", Tenant: "ot", Role: "owner"}},
		{
			`POST /v1/apply {"objects":[{"apiVersion":"isthmus/v1","kind":"Tenant","metadata":{"name":"ot"},"spec":{}}],"dryRun":true,"reason":"why"}`,
			func(ctx context.Context) (any, error) {
				return c.Apply(ctx, []resource.Object{tenant}, client.ApplyOptions{DryRun: true, Reason: "why"})
			},
			[]client.Change{{Kind: "Tenant", Path: "ot", Action: "created", Warnings: []string{"w"}}},
		},
		{"GET /v1/endpoints?scope=plant-7&tenant=ot", func(ctx context.Context) (any, error) {
			list, err := c.List(ctx, resource.KindPrivateEndpoint, client.Filter{Tenant: "ot", Scope: "plant-7"})
			if err != nil {
				return nil, err
			}
			return list[0].(*resource.PrivateEndpoint).Status.Address.String(), nil
		}, "10.7.0.4"},
		{"GET /v1/services/ot/ot-cloud/contoso", func(ctx context.Context) (any, error) {
			o, err := c.Get(ctx, resource.Key{Kind: resource.KindService, Tenant: "ot", Scope: "ot-cloud", Name: "contoso"})
			if err != nil {
				return nil, err
			}
			return o.(*resource.Service).Spec.Type, nil
		}, resource.TypeIoTHub},
		{"GET /v1/connections?state=Pending", func(ctx context.Context) (any, error) {
			return c.Connections(ctx, client.Filter{State: resource.Pending})
		}, []client.Connection{{Endpoint: "ot/plant-7/hub", MayDecide: true, Connection: resource.Connection{State: resource.Pending}}}},
		{`POST /v1/endpoints/ot/plant-7/hub/decision {"decision":"approve","reason":"why"}`, func(ctx context.Context) (any, error) {
			return c.Decide(ctx, endpoint, resource.Approve, "why")
		}, client.Connection{Endpoint: "ot/plant-7/hub", Connection: resource.Connection{State: resource.Approved}}},
		{`POST /v1/contracts/ot/telemetry/decision {"decision":"accept","version":2,"digest":"abc","reason":"why"}`, func(ctx context.Context) (any, error) {
			n, err := c.DecideContract(ctx, resource.Key{Kind: resource.KindContract, Tenant: "ot", Name: "telemetry"},
				client.ContractDecision{Decision: "accept", Version: 2, Digest: "abc", Reason: "why"})
			return n.Status.State, err
		}, resource.ContractAgreed},
		{"GET /v1/tokens", func(ctx context.Context) (any, error) { return c.Tokens(ctx) }, []client.Token{{ID: "t1", Name: "ann"}}},
		{`POST /v1/tokens {"name":"ann","tenant":"ot","role":"reader"}`, func(ctx context.Context) (any, error) {
			s, t, err := c.CreateToken(ctx, client.TokenRequest{Name: "ann", Tenant: "ot", Role: "reader"})
			return s + t.ID, err
		}, "st2"},
		{"DELETE /v1/tokens/t1", func(ctx context.Context) (any, error) { return nil, c.RevokeToken(ctx, "t1") }, nil},
		{`POST /v1/join-tokens {"for":"agent","tenant":"ot","network":"plant-7","ttl":"30m0s"}`, func(ctx context.Context) (any, error) {
			return c.CreateJoinToken(ctx, client.JoinTokenRequest{For: "agent", Tenant: "ot", Network: "plant-7", TTL: 30 * time.Minute})
		}, client.JoinToken{ID: "j1", Secret: "isthmus-join.x"}},
		{`POST /v1/join-tokens {"for":"gateway","tenant":"ot","network":"plant-7","uses":20,"ephemeralAfter":"1h0m0s"}`, func(ctx context.Context) (any, error) {
			return c.CreateJoinToken(ctx, client.JoinTokenRequest{For: "gateway", Tenant: "ot", Network: "plant-7", Uses: 20, EphemeralAfter: time.Hour})
		}, client.JoinToken{ID: "j1", Secret: "isthmus-join.x"}},
		{"GET /v1/networks/ot/plant-7/why?name=a.example&type=AAAA", func(ctx context.Context) (any, error) {
			return c.WhyName(ctx, resource.Key{Kind: resource.KindNetwork, Tenant: "ot", Name: "plant-7"}, "a.example", "AAAA")
		}, client.NameExplanation{Name: "a.example", Steps: []client.NameStep{{What: "answer", Detail: "NXDOMAIN"}}}},
		{"GET /v1/gateways/ot/ot-cloud/front/why?name=a.example&port=8883&source=203.0.113.9", func(ctx context.Context) (any, error) {
			return c.WhyGateway(ctx, resource.Key{Kind: resource.KindGateway, Tenant: "ot", Scope: "ot-cloud", Name: "front"},
				client.GatewayQuestion{Source: netip.MustParseAddr("203.0.113.9"), Name: "a.example", Port: 8883})
		}, client.GatewayExplanation{Gateway: "ot/ot-cloud/front", Allowed: true, Steps: []string{"in"}}},
		{"GET /v1/join-tokens?scope=plant-7&tenant=ot", func(ctx context.Context) (any, error) {
			return c.JoinTokens(ctx, client.Filter{Tenant: "ot", Scope: "plant-7"})
		}, []client.JoinTokenView{{ID: "j1", For: "agent", State: "used"}}},
		{"DELETE /v1/join-tokens/j1?reason=lost", func(ctx context.Context) (any, error) {
			return nil, c.RevokeJoinToken(ctx, "j1", "lost")
		}, nil},
		{"GET /v1/audit?after=6&kind=Tenant&last=true&limit=5&path=ot&since=2026-11-22T03%3A00%3A00.000000005Z&tenant=ot", func(ctx context.Context) (any, error) {
			return c.Audit(ctx, client.AuditFilter{Tenant: "ot", Kind: "Tenant", Path: "ot", Since: since, After: 6, Limit: 5, Last: true})
		}, []client.AuditRecord{{Sequence: 7, Why: "because"}}},
		{"GET /v1/audit/checkpoints?after=3&limit=2&tenant=ot", func(ctx context.Context) (any, error) {
			return c.AuditChain("ot").Checkpoints(ctx, 3, 2)
		}, []client.AuditCheckpoint{{Sequence: 5, Hash: "ab"}}},
		{`POST /v1/audit/checkpoints {"tenant":"ot"}`, func(ctx context.Context) (any, error) { return c.AuditCheckpoint(ctx, "ot") }, client.AuditCheckpoint{Sequence: 6, Hash: "cd"}},
		{"GET /v1/audit?after=6&limit=5&tenant=ot", func(ctx context.Context) (any, error) {
			return c.AuditChain("ot").Records(ctx, 6, 5)
		}, []client.AuditRecord{{Sequence: 7, Why: "because"}}},
		{"GET /v1/audit/verify", func(ctx context.Context) (any, error) { return nil, c.VerifyAudit(ctx) }, nil},
		{"DELETE /v1/tenants/ot?reason=it+is+over", func(ctx context.Context) (any, error) {
			return nil, c.Delete(ctx, resource.Key{Kind: resource.KindTenant, Name: "ot"}, "it is over")
		}, nil},
	} {
		is, err := step.call(t.Context())
		if err != nil {
			t.Errorf("%s: %v", step.want, err)
		}
		if got != step.want {
			t.Errorf("sent %s\nwant %s", got, step.want)
		}
		if !reflect.DeepEqual(is, step.is) {
			t.Errorf("%s gave %+v, want %+v", step.want, is, step.is)
		}
	}
	if _, err := c.Get(t.Context(), resource.Key{Kind: resource.KindTenant, Name: ".."}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a name that leads elsewhere: %v", err)
	}
}

// What the API says and what this package reads are written down twice, so that the client does not need the server's packages.
func TestTypesAreTheServers(t *testing.T) {
	for _, pair := range [][2]any{
		{client.Principal{}, control.Principal{}},
		{client.Change{}, control.Change{}},
		{client.Connection{}, control.ConnectionView{}},
		{client.TokenRequest{}, control.TokenRequest{}},
		{client.Token{}, control.Token{}},
		{client.JoinToken{}, control.JoinToken{}},
		{client.JoinTokenView{}, control.JoinTokenView{}},
		{client.NameExplanation{}, control.NameExplanation{}},
		{client.NameStep{}, control.NameStep{}},
		{client.GatewayExplanation{}, control.GatewayExplanation{}},
		{client.RuleAround{}, decide.RuleAround{}},
		{client.RouteTaken{}, decide.RouteTaken{}},
		{client.LimitInForce{}, decide.LimitInForce{}},
	} {
		mine, theirs := tags(pair[0]), tags(pair[1])
		if !reflect.DeepEqual(mine, theirs) {
			t.Errorf("%T has %v, the server %v", pair[0], mine, theirs)
		}
	}
}

func tags(v any) []string {
	var out []string
	for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
		if tag := f.Tag.Get("json"); tag != "-" && !f.Anonymous {
			out = append(out, tag)
		}
	}
	return out
}

func TestProblemsComeBackAsTheFaultsTheyWere(t *testing.T) {
	d := newDeployment(t)
	var kind atomic.Int32
	c := d.client(d.serve(func(w http.ResponseWriter, _ *http.Request) { problem(w, 400, fault.Kind(kind.Load())) }))
	for _, k := range fault.Kinds() {
		kind.Store(int32(k))
		err := c.Delete(t.Context(), resource.Key{Kind: resource.KindTenant, Name: "ot"}, "")
		if fault.KindOf(err) != k {
			t.Errorf("%v came back as %v", k, err)
		}
		if k != fault.Internal && (fault.Message(err) != "what happened" || fault.Next(err) != "100% what to do") {
			t.Errorf("%v: %q, %q", k, fault.Message(err), fault.Next(err))
		}
		if strings.Contains(fmt.Sprintf("%+v", err), secret) {
			t.Errorf("the token is in %v", err)
		}
	}
}

func TestRepliesOfSomethingElse(t *testing.T) {
	d := newDeployment(t)
	for name, h := range map[string]http.HandlerFunc{
		"a proxy's page": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "<h1>Bad Gateway</h1>", http.StatusBadGateway)
		},
		"a page": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.test/", http.StatusFound)
		},
		"a problem, no JSON": func(w http.ResponseWriter, _ *http.Request) { reply(w, 500, "{") },
	} {
		_, err := d.client(d.serve(h)).WhoAmI(t.Context())
		if fault.KindOf(err) != fault.Unavailable || fault.Next(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOnlyWhatIsSafeIsSentAgain(t *testing.T) {
	d := newDeployment(t)
	var calls atomic.Int32
	flaky := d.serve(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) < 3 {
			w.Header().Set("Retry-After", "1")
			problem(w, 503, fault.Unavailable)
			return
		}
		reply(w, 200, `{"name":"ann"}`)
	})
	if p, err := d.client(flaky).WhoAmI(t.Context()); err != nil || p.Name != "ann" || calls.Load() != 3 {
		t.Errorf("a read: %v after %d calls", err, calls.Load())
	}
	calls.Store(0)
	if _, err := d.client(flaky).Apply(t.Context(), nil, client.ApplyOptions{}); fault.KindOf(err) != fault.Unavailable || calls.Load() != 1 {
		t.Errorf("a write: %v after %d calls", err, calls.Load())
	}
	// Nothing was sent to an address that does not answer: the next one is asked, for writes too.
	calls.Store(10)
	if _, err := d.client(closedPort(t), flaky).Apply(t.Context(), nil, client.ApplyOptions{}); err != nil || calls.Load() != 11 {
		t.Errorf("the second address: %v after %d calls", err, calls.Load()-10)
	}
	calls.Store(-1 << 20)
	if _, err := d.client(flaky).WhoAmI(t.Context()); fault.KindOf(err) != fault.Unavailable || calls.Load() != -1<<20+3 {
		t.Errorf("it never gives up: %v after %d calls", err, calls.Load()+1<<20)
	}
}

func TestAServerThatCannotBeReached(t *testing.T) {
	d := newDeployment(t)
	_, err := d.client(closedPort(t)).WhoAmI(t.Context())
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Message(err), "nothing listens at 127.0.0.1:") || fault.Next(err) == "" {
		t.Errorf("a closed port: %v", err)
	}
	_, err = d.client("no-such-host.invalid").WhoAmI(t.Context())
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Message(err), "no-such-host.invalid") {
		t.Errorf("no name: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	slow := d.serve(func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
	if _, err = d.client(slow).WhoAmI(ctx); !strings.Contains(fault.Message(err), "interrupted") || !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestTheServerIsVerifiedBeforeItSeesTheToken(t *testing.T) {
	d, other := newDeployment(t), newDeployment(t)
	var seen atomic.Int32
	addr := d.serve(func(w http.ResponseWriter, _ *http.Request) { seen.Add(1); reply(w, 200, `{"name":"ann"}`) })
	port := addr[strings.LastIndex(addr, ":"):]
	wrongName := "localhost" + port // not in the certificate; the control plane's identity is
	for name, c := range map[string]struct {
		cfg  client.Config
		want string // in the error; empty for none
	}{
		"pin":                {client.Config{Addresses: []string{addr}, Pin: d.pin}, ""},
		"pin as openssl":     {client.Config{Addresses: []string{addr}, Pin: "sha256:" + strings.ToUpper(d.pin)}, ""},
		"roots":              {client.Config{Addresses: []string{addr}, Roots: d.authority.CertificatePEM()}, ""},
		"through a relay":    {client.Config{Addresses: []string{wrongName}, Pin: d.pin}, ""},
		"pin of another":     {client.Config{Addresses: []string{addr}, Pin: other.pin}, "not the pinned server"},
		"roots of another":   {client.Config{Addresses: []string{addr}, Roots: other.authority.CertificatePEM()}, "cannot be verified"},
		"the machine's":      {client.Config{Addresses: []string{addr}}, "cannot be verified"},
		"pin beats roots":    {client.Config{Addresses: []string{addr}, Pin: other.pin, Roots: d.authority.CertificatePEM()}, "not the pinned server"},
		"no certificate":     {client.Config{Addresses: []string{addr}, Roots: []byte("x")}, "no certificate in PEM"},
		"pin cut short":      {client.Config{Addresses: []string{addr}, Pin: "abcd"}, "64 hexadecimal digits"},
		"token of two words": {client.Config{Addresses: []string{addr}, Pin: d.pin, Token: "a b"}, "white space"},
		"no address":         {client.Config{}, "no address"},
		"plain http":         {client.Config{Addresses: []string{"http://" + addr}}, "only https"},
		"a path":             {client.Config{Addresses: []string{"https://" + addr + "/v1"}}, "only a host"},
	} {
		before := seen.Load()
		cl, err := client.New(c.cfg)
		if err == nil {
			_, err = cl.WhoAmI(t.Context())
			if known := string(cl.Authority()); (known == string(d.authority.CertificatePEM())) != (err == nil) || known != "" && err != nil {
				t.Errorf("%s: the authority is %q", name, known)
			}
			cl.Close()
		}
		switch {
		case c.want == "" && (err != nil || seen.Load() != before+1):
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(fault.Message(err), c.want) || fault.Next(err) == ""):
			t.Errorf("%s: %v, want %q with advice", name, err, c.want)
		case c.want != "" && seen.Load() != before:
			t.Errorf("%s: the request was sent", name)
		}
	}
}

func TestAMemberIsNotTheControlPlane(t *testing.T) {
	d := newDeployment(t)
	key, keyPEM, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := identity.NewRequest(key, "")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := d.authority.IssueIdentity(csr, identity.AgentID("isthmus.test", "ot", "plant-7", "gw-1"), time.Now(), time.Hour, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(append(leaf, d.authority.CertificatePEM()...), keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, `{}`) }))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	c, err := client.New(client.Config{Addresses: []string{s.Listener.Addr().String()}, Roots: d.authority.CertificatePEM(), Token: secret})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err = c.WhoAmI(t.Context()); err == nil || fault.KindOf(err) == fault.Internal {
		t.Errorf("an agent passes for the control plane: %v", err)
	}
}

func TestPlurals(t *testing.T) {
	for _, k := range resource.Kinds() {
		want := strings.ToLower(string(k)) + "s"
		switch k {
		case resource.KindPrivateEndpoint:
			want = "endpoints"
		case resource.KindAccessPolicy:
			want = "accesspolicies"
		}
		if got := client.Plural(k); got != want {
			t.Errorf("%s: %s", k, got)
		}
	}
	d := newDeployment(t)
	if fp, err := client.Fingerprint(d.authority.CertificatePEM()); err != nil || fp != d.pin {
		t.Errorf("fingerprint %s, %v", fp, err)
	}
	if _, err := client.Fingerprint([]byte("x")); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
	if _, err := json.Marshal(client.Token{}); err != nil {
		t.Error(err)
	}
}
