package membership

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// operator applies over HTTP, as people do.
type operator struct {
	w      *world
	http   http.Client
	bearer string
}

func (w *world) operator() *operator {
	w.t.Helper()
	secret, err := w.control.Bootstrap(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &operator{w: w, http: http.Client{Transport: tr}, bearer: secret}
}

func (o *operator) apply(objects ...resource.Object) {
	o.w.t.Helper()
	body, err := json.Marshal(map[string]any{"objects": objects})
	if err != nil {
		o.w.t.Fatal(err)
	}
	o.post(body)
}

func (o *operator) post(body []byte) {
	o.w.t.Helper()
	req, err := http.NewRequestWithContext(o.w.t.Context(), http.MethodPost, "https://"+o.w.address+"/v1/apply", bytes.NewReader(body))
	if err != nil {
		o.w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+o.bearer)
	req.Header.Set("Content-Type", "application/json")
	resp, err := o.http.Do(req)
	if err != nil {
		o.w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		o.w.t.Fatalf("%s %s", resp.Status, text)
	}
}

func allowlist(name string, from, n int) *resource.Allowlist {
	a := place[*resource.Allowlist](resource.KindAllowlist, name)
	for i := from; i < from+n; i++ {
		a.Spec.Rules = append(a.Spec.Rules, resource.AllowRule{
			Name: fmt.Sprintf("site-%06d", i), Sources: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(i >> 16), byte(i >> 8), byte(i)}), 32)},
			Ports: []uint16{8883}, Note: "ticket 4711",
		})
	}
	return a
}

func place[T resource.Object](kind resource.Kind, name string) T {
	o, _ := resource.New(kind)
	o.Head().Metadata = resource.Meta{Tenant: "ot", Network: "plant-7", Name: name}
	return o.(T)
}

func front() *resource.Gateway {
	g := place[*resource.Gateway](resource.KindGateway, "front")
	g.Spec.Listeners = []resource.GatewayListener{{Name: "mqtt", Port: 8883}}
	return g
}

func rulesOf(p plan.Plan) (n int) {
	for _, g := range p.Gateways {
		for _, a := range g.Allowlists {
			n += len(a.Rules)
		}
	}
	return n
}

// next waits for a plan without moving the clock.
func (r *running) next(good func(plan.Plan) bool) plan.Plan {
	r.w.t.Helper()
	limit := time.After(30 * time.Second)
	for {
		select {
		case p := <-r.Updates():
			if good(p) {
				return p
			}
		case <-limit:
			r.w.t.Fatal("no such plan came")
		}
	}
}

// A gateway with a hundred thousand rules: from people's request to the gateway's disk, and a change of one of them in a moment. The
// agents beside it are left alone.
func TestAHundredThousandRules(t *testing.T) {
	const n = 100_000
	w := newWorld(t)
	o := w.operator()
	o.apply(front())
	beside := w.run(w.joined(control.JoinAgent))
	beside.next(func(p plan.Plan) bool { return p.Self.Role == resource.RoleAgent })
	list := allowlist("all", 0, n)
	o.apply(list)
	cfg := w.joined(control.JoinGateway)
	gw := w.run(cfg)
	if got := gw.next(func(p plan.Plan) bool { return true }); rulesOf(got) != n {
		t.Fatalf("the gateway got %d rules", rulesOf(got))
	}
	list.Spec.Rules[n/2].Note = "another ticket"
	body, err := json.Marshal(map[string]any{"objects": []any{list}})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	o.post(body)
	answered := time.Since(began)
	got := gw.next(func(p plan.Plan) bool { return p.Gateways[0].Allowlists[0].Rules[n/2].Note == "another ticket" })
	t.Logf("one rule of %d in one allowlist (%d KiB): answered after %s, in the gateway after %s", n, len(body)>>10, answered, time.Since(began))
	if took := time.Since(began); took > 10*time.Second { // seconds on a busy machine; without parts it is minutes
		t.Errorf("it took %s", took)
	}
	info, err := os.Stat(filepath.Join(cfg.Dir, planFile))
	if err != nil || info.Size() > 8<<20 || info.Mode().Perm() != 0o600 {
		t.Errorf("on disk: %v, %v", info, err)
	}
	if err := gw.stop(); err != nil {
		t.Fatal(err)
	}
	w.stop() // the server is away, and the rules are there all the same
	again := w.run(cfg)
	if p := again.next(func(plan.Plan) bool { return true }); p.Revision != got.Revision || rulesOf(p) != n {
		t.Errorf("from the disk came %s with %d rules, want %s", p.Revision, rulesOf(p), got.Revision)
	}
	select {
	case p := <-beside.Updates():
		t.Errorf("the agent beside it got a plan for it: %s", p.Revision)
	default:
	}
}

// Many lists, one for each customer, and two gateways.
func TestAHundredAllowlists(t *testing.T) {
	const lists, each = 100, 200
	w := newWorld(t)
	o := w.operator()
	objects := []resource.Object{front()}
	for i := range lists {
		objects = append(objects, allowlist(fmt.Sprintf("customer-%03d", i), i*each, each))
	}
	for part := range slices.Chunk(objects, 50) {
		o.apply(part...)
	}
	var gws []*running
	for range 2 {
		gw := w.run(w.joined(control.JoinGateway))
		gw.next(func(p plan.Plan) bool { return rulesOf(p) == lists*each })
		gws = append(gws, gw)
	}
	one := objects[lists/2].(*resource.Allowlist)
	one.Spec.Rules = slices.Delete(one.Spec.Rules, 7, 8)
	began := time.Now()
	o.apply(one)
	for _, gw := range gws {
		gw.next(func(p plan.Plan) bool { return rulesOf(p) == lists*each-1 })
	}
	t.Logf("one rule of %d in %d allowlists: in both gateways after %s", lists*each, lists, time.Since(began))
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}
