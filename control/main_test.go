package control

import (
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	ctx = context.Background()
	t0  = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

	admin  = Principal{Name: "root", Role: RoleAdmin}
	otOps  = Principal{Name: "olga", Tenant: "ot", Role: RoleOwner}
	itOps  = Principal{Name: "ivan", Tenant: "it", Role: RoleOwner}
	xxOps  = Principal{Name: "xena", Tenant: "xx", Role: RoleOwner}
	otRead = Principal{Name: "rita", Tenant: "ot", Role: RoleReader}
)

// rig is a control plane on a real database with a clock that stands still.
type rig struct {
	*Control
	t     testing.TB
	dsn   string
	st    *store.Store
	clk   *clock.Fake
	authz *identity.Authority
}

func newRig(t testing.TB) *rig {
	t.Helper()
	a, _, err := identity.NewAuthority("isthmus.test", t0)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, dsn: filepath.Join(t.TempDir(), "isthmus.db"), clk: clock.NewFake(t0), authz: a}
	r.start()
	t.Cleanup(func() { r.st.Close() })
	return r
}

func (r *rig) start() {
	r.t.Helper()
	var err error
	if r.st, err = store.Open(ctx, store.Config{DSN: r.dsn}, slog.New(slog.DiscardHandler)); err != nil {
		r.t.Fatal(err)
	}
	r.Control, err = New(Config{Addresses: []string{"relay.test:443"}}, r.st, r.authz, slog.New(slog.DiscardHandler), r.clk, nil)
	if err != nil {
		r.t.Fatal(err)
	}
}

// restart is a new process on the same database.
func (r *rig) restart() {
	r.t.Helper()
	if err := r.st.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.start()
}

// apply must work; nouns written together are made one after the other in time, so that "oldest" means something.
func (r *rig) apply(p Principal, objects ...resource.Object) []Change {
	r.t.Helper()
	r.clk.Advance(time.Second)
	out, err := r.Apply(ctx, p, objects, ApplyOptions{Reason: "test"})
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

func (r *rig) get(p Principal, kind resource.Kind, path string) resource.Object {
	r.t.Helper()
	o, err := r.Get(ctx, p, key(r.t, kind, path))
	if err != nil {
		r.t.Fatal(err)
	}
	return o
}

func (r *rig) endpoint(path string) *resource.PrivateEndpoint {
	r.t.Helper()
	return r.get(admin, resource.KindPrivateEndpoint, path).(*resource.PrivateEndpoint)
}

// join lets a process join and returns who it is then.
func (r *rig) join(as Joiner, path string) identity.ID {
	r.t.Helper()
	r.clk.Advance(time.Second)
	req := JoinTokenRequest{For: as}
	name := path
	if as != JoinRelay {
		parts := strings.Split(path, "/")
		req.Tenant, req.Network, name = parts[0], parts[1], parts[2]
	}
	tok, err := r.CreateJoinToken(ctx, admin, req)
	if err != nil {
		r.t.Fatal(err)
	}
	er := EnrolRequest{Secret: tok.Secret, Name: name, CSR: newCSR(r.t), Version: "1", Now: r.clk.Now()}
	if as == JoinRelay {
		er.Address = name + ".test:443"
	}
	reply, err := r.Enrol(ctx, er)
	if err != nil {
		r.t.Fatal(err)
	}
	return reply.ID
}

func newCSR(t testing.TB) string {
	t.Helper()
	k, _, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := identity.NewRequest(k, "")
	if err != nil {
		t.Fatal(err)
	}
	return string(csr)
}

func key(t testing.TB, kind resource.Kind, path string) resource.Key {
	t.Helper()
	k, err := resource.ParseKey(kind, path)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// noun makes a noun with its identity from a path.
func noun[T resource.Object](kind resource.Kind, path string) T {
	o, ok := resource.New(kind)
	k, err := resource.ParseKey(kind, path)
	if !ok || err != nil {
		panic("a test names a noun wrongly: " + path)
	}
	m := &o.Head().Metadata
	m.Tenant, m.Name = k.Tenant, k.Name
	switch s, _ := resource.ScopeOf(kind); s {
	case resource.ScopeNetwork:
		m.Network = k.Scope
	case resource.ScopeZone:
		m.Zone = k.Scope
	case resource.ScopeDeployment, resource.ScopeTenant:
	}
	return o.(T)
}

func tenant(name string) *resource.Tenant { return noun[*resource.Tenant](resource.KindTenant, name) }

func network(path string, ranges ...string) *resource.Network {
	n := noun[*resource.Network](resource.KindNetwork, path)
	for _, r := range ranges {
		n.Spec.AddressRanges = append(n.Spec.AddressRanges, netip.MustParsePrefix(r))
	}
	return n
}

func hubService(path, host string, with ...func(*resource.ServiceSpec)) *resource.Service {
	s := noun[*resource.Service](resource.KindService, path)
	s.Spec = resource.ServiceSpec{Type: resource.TypeIoTHub, HostName: host, Target: "192.0.2.1"}
	for _, f := range with {
		f(&s.Spec)
	}
	return s
}

func visibleTo(tenants ...string) func(*resource.ServiceSpec) {
	return func(s *resource.ServiceSpec) { s.Visibility = tenants }
}

func autoApprove(tenants ...string) func(*resource.ServiceSpec) {
	return func(s *resource.ServiceSpec) { s.AutoApprove = tenants }
}

func servedBy(hub string) func(*resource.ServiceSpec) {
	return func(s *resource.ServiceSpec) { s.ServedBy = hub }
}

func endpointTo(path, service string) *resource.PrivateEndpoint {
	e := noun[*resource.PrivateEndpoint](resource.KindPrivateEndpoint, path)
	e.Spec.Service = service
	return e
}

func addrPorts(list ...string) (out []netip.AddrPort) {
	for _, s := range list {
		out = append(out, netip.MustParseAddrPort(s))
	}
	return out
}

// nameless stands beside another endpoint for the same service.
func nameless(path, service string) *resource.PrivateEndpoint {
	e := endpointTo(path, service)
	e.Spec.WithoutNames = true
	return e
}

// plant makes the usual scene: ot with plant-7 and ot-cloud, which holds a hub it may see and one for itself; it and xx with a
// network each.
func plant(t testing.TB) *rig {
	t.Helper()
	r := newRig(t)
	r.apply(admin, tenant("ot"), tenant("it"), tenant("xx"))
	r.apply(admin, network("ot/plant-7", "10.7.0.0/24"), network("ot/ot-cloud"), network("it/it-cloud", "10.7.0.0/24"), network("xx/lab", "10.9.0.0/24"))
	r.apply(otOps,
		hubService("ot/ot-cloud/contoso", "contoso.azure-devices.net", visibleTo("it"), autoApprove("ot")),
		hubService("ot/ot-cloud/private", "private.azure-devices.net"))
	return r
}

// want checks kind and a part of the words of a fault; advice must not be missing.
func want(t testing.TB, err error, kind fault.Kind, words string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind || !strings.Contains(fault.Message(err), words) {
		t.Errorf("got %v\nwant %s: %s", err, kind, words)
		return
	}
	if fault.Next(err) == "" && kind != fault.Conflict {
		t.Errorf("no advice with %v", err)
	}
}
