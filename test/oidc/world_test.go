package oidc

import (
	"bufio"
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/control/httpdoor"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/signin"
	"github.com/isthmus-io/isthmus/signin/terminal"
	"github.com/isthmus-io/isthmus/store"
)

const patience = 20 * time.Second

// provider is a running provider.js.
type provider struct {
	t      *testing.T
	issuer string
	in     io.WriteCloser
	lines  <-chan []byte
	stop   func()
}

func startProvider(t *testing.T) *provider {
	t.Helper()
	if _, err := os.Stat("node_modules/oidc-provider"); err != nil {
		t.Fatal("the provider is not installed: run make deps")
	}
	program, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("node is not on PATH: install Node.js 20 or later, then run make deps")
	}
	ctx, kill := context.WithCancel(context.Background()) // ended by stop
	c := exec.CommandContext(ctx, program, "provider.js")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan []byte, 100)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- append([]byte(nil), s.Bytes()...)
		}
	}()
	p := &provider{t: t, in: in, lines: lines}
	p.stop = func() {
		_ = in.Close()
		for range lines { //nolint:revive // until it has ended
		}
		_ = c.Wait()
		kill()
	}
	t.Cleanup(func() { p.stop() })
	p.issuer = p.said("issuer")
	return p
}

// said waits for a line with a member, and returns it. The provider's own notes are passed over.
func (p *provider) said(member string) string {
	p.t.Helper()
	late := time.After(patience)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatal("the provider has ended")
			}
			var m map[string]string
			if json.Unmarshal(line, &m) == nil && m[member] != "" {
				return m[member]
			}
		case <-late:
			p.t.Fatalf("the provider does not say %s", member)
		}
	}
}

func (p *provider) rotate() {
	p.t.Helper()
	if _, err := io.WriteString(p.in, "rotate\n"); err != nil {
		p.t.Fatal(err)
	}
	p.said("done")
}

// ahead is a clock that goes by the machine's and can be put ahead; what would be a wait of seconds is one of a moment.
type ahead struct{ by atomic.Int64 }

func (c *ahead) Now() time.Time { return time.Now().Add(time.Duration(c.by.Load())) }

func (c *ahead) After(d time.Duration) (<-chan time.Time, func()) {
	if d < time.Minute {
		d = min(d, 20*time.Millisecond)
	}
	return clock.System{}.After(d)
}

func (c *ahead) put(d time.Duration) { c.by.Add(int64(d)) }

// world is a control plane behind its door, with a tenant whose people sign in at the provider.
type world struct {
	t     *testing.T
	p     *provider
	clk   *ahead
	ctl   *control.Control
	cfg   client.Config
	admin control.Principal
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, p: startProvider(t), clk: &ahead{}, admin: control.Principal{Name: "admin", Role: control.RoleAdmin}}
	authority, _, err := identity.NewAuthority("isthmus.test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	st, err := store.Open(t.Context(), store.Config{DSN: filepath.Join(t.TempDir(), "control.db")}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	if w.ctl, err = control.New(control.Config{SignInPrivate: true}, st, authority, log, w.clk, nil); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewTLSServer(httpdoor.New(w.ctl, httpdoor.Config{}, log, w.clk, nil))
	t.Cleanup(s.Close)
	w.cfg = client.Config{Addresses: []string{s.URL}, Roots: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})}
	w.apply(&resource.Tenant{Header: head(resource.KindTenant, resource.Meta{Name: "ot"})}, w.corp("corp", w.p.issuer))
	return w
}

func head(k resource.Kind, m resource.Meta) resource.Header {
	return resource.Header{APIVersion: resource.APIVersion, Kind: k, Metadata: m}
}

func (w *world) corp(name, issuer string) *resource.IdentityProvider {
	return &resource.IdentityProvider{Header: head(resource.KindIdentityProvider, resource.Meta{Tenant: "ot", Name: name}), Spec: resource.IdentityProviderSpec{
		Issuer: issuer, ClientID: "isthmus", Roles: []resource.ProviderRole{
			{Claim: "groups", Value: "technicians", Roles: []resource.TenantRole{resource.RoleOperator}},
			{Claim: "groups", Value: "leads", Roles: []resource.TenantRole{resource.RoleApprover}},
		},
	}}
}

func (w *world) apply(objects ...resource.Object) {
	w.t.Helper()
	if _, err := w.ctl.Apply(w.t.Context(), w.admin, objects, control.ApplyOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// client asks with a token, which may be empty.
func (w *world) client(token string) *client.Client {
	w.t.Helper()
	cfg := w.cfg
	cfg.Token = token
	c, err := client.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

// get signs somebody in at the provider and returns the identity token; without a nonce by a device code.
func (w *world) get(as, clientID, nonce string) string {
	w.t.Helper()
	b := newBrowser(w.t, as)
	ended := make(chan struct{}, 1)
	cfg := terminal.Config{
		Provider: signin.Provider{Name: "ot/corp", Issuer: w.p.issuer, ClientID: clientID}, Scopes: []string{"profile", "email"}, Nonce: nonce, Clock: w.clk,
		Show: func(s terminal.Step) {
			go func() {
				b.open(s.URL)
				ended <- struct{}{}
			}()
		},
	}
	flow := terminal.Code
	if nonce == "" {
		flow = terminal.Device
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	token, err := flow(ctx, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	<-ended
	return token
}

// refusals are the reasons that the audit log has for sign-ins that were refused, in order.
func (w *world) refusals() []string {
	w.t.Helper()
	list, err := w.ctl.Audit(w.t.Context(), w.admin, control.AuditFilter{Tenant: "ot", Kind: string(resource.KindIdentityProvider), Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, a := range list {
		if a.Operation == "sign-in-refused" {
			var said struct{ Why string }
			if err := json.Unmarshal(a.After, &said); err != nil {
				w.t.Fatal(err)
			}
			out = append(out, strings.TrimPrefix(said.Why, "the identity token is refused: "))
		}
	}
	return out
}
