package control

import (
	"bytes"
	"context"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
)

func TestTheFirstTokenIsGivenOnce(t *testing.T) {
	r := newRig(t)
	secret, err := r.Bootstrap(ctx)
	if err != nil || !strings.HasPrefix(secret, "isthmus_") || strings.Count(secret, "_") != 2 || len(secret) < 60 {
		t.Fatalf("%q, %v", secret, err)
	}
	r.restart()
	if again, err := r.Bootstrap(ctx); again != "" || err != nil {
		t.Errorf("again: %q, %v", again, err)
	}
	p, err := r.Authenticate(ctx, secret)
	if err != nil || !reflect.DeepEqual(p, Principal{Name: "admin", Role: RoleAdmin}) {
		t.Errorf("%+v, %v", p, err)
	}
	// Even without its tokens a deployment gives no second first token: that would be a way in for who can delete.
	if err := r.RevokeToken(ctx, p, strings.Split(secret, "_")[1]); err != nil {
		t.Fatal(err)
	}
	if again, err := r.Bootstrap(ctx); again != "" || err != nil {
		t.Errorf("after revocation: %q, %v", again, err)
	}
	if err := r.st.Close(); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal"} {
		if b, err := os.ReadFile(r.dsn + suffix); err == nil && bytes.Contains(b, []byte(strings.Split(secret, "_")[2])) {
			t.Errorf("the token itself is in %s", r.dsn+suffix)
		}
	}
}

func TestWrongTokens(t *testing.T) {
	r := plant(t)
	secret, tok, err := r.CreateToken(ctx, admin, TokenRequest{Name: "ci", Tenant: "ot", Role: RoleOwner})
	if err != nil || tok.CreatedBy != "root of the deployment" {
		t.Fatal(tok, err)
	}
	if p, err := r.Authenticate(ctx, secret); err != nil || !reflect.DeepEqual(p, Principal{Name: "ci", Tenant: "ot", Role: RoleOwner}) {
		t.Errorf("%+v, %v", p, err)
	}
	flipped := secret[:len(secret)-1] + map[bool]string{true: "b", false: "a"}[strings.HasSuffix(secret, "a")]
	for _, wrong := range []string{"", "isthmus_", "isthmus__", secret[:20], flipped, secret + "a", "isthmus_zzzzzzzzzzzz_" + strings.Split(secret, "_")[2], strings.Repeat("isthmus_a_", 100)} {
		_, err := r.Authenticate(ctx, wrong)
		want(t, err, fault.Unauthenticated, "the token is not known here")
	}
	if err := r.RevokeToken(ctx, otOps, tok.ID); err != nil {
		t.Fatal(err)
	}
	_, err = r.Authenticate(ctx, secret)
	want(t, err, fault.Unauthenticated, "was revoked at")
	_, err = r.Authenticate(ctx, flipped)
	want(t, err, fault.Unauthenticated, "the token is not known here")
}

func TestWhoMakesWhichTokens(t *testing.T) {
	r := plant(t)
	reader := Principal{Name: "r", Role: RoleReader}
	for _, tc := range []struct {
		who  Principal
		req  TokenRequest
		kind fault.Kind // Internal for none
	}{
		{admin, TokenRequest{Name: "a", Role: RoleAdmin}, fault.Internal},
		{admin, TokenRequest{Name: "a", Role: RoleReader}, fault.Internal},
		{admin, TokenRequest{Name: "a", Role: RoleAdmin, Tenant: "ot"}, fault.Invalid},
		{admin, TokenRequest{Name: "a", Role: RoleOwner}, fault.Invalid},
		{admin, TokenRequest{Name: "a", Role: RoleOwner, Tenant: "zz"}, fault.NotFound},
		{admin, TokenRequest{Name: "", Role: RoleAdmin}, fault.Invalid},
		{admin, TokenRequest{Name: "a", Role: "owner"}, fault.Invalid},
		{otOps, TokenRequest{Name: "a", Role: RoleOwner, Tenant: "ot"}, fault.Internal},
		{otOps, TokenRequest{Name: "a", Role: RoleOwner, Tenant: "it"}, fault.NotFound},
		{otOps, TokenRequest{Name: "a", Role: RoleAdmin}, fault.Denied},
		{otOps, TokenRequest{Name: "a", Role: RoleReader}, fault.Denied},
		{otRead, TokenRequest{Name: "a", Role: RoleReader, Tenant: "ot"}, fault.Denied},
		{reader, TokenRequest{Name: "a", Role: RoleReader}, fault.Denied},
	} {
		secret, _, err := r.CreateToken(ctx, tc.who, tc.req)
		if fault.KindOf(err) != tc.kind || (err == nil) != (secret != "") || (err == nil) != (tc.kind == fault.Internal) {
			t.Errorf("%s makes %+v: %q, %v", tc.who.Who(), tc.req, secret, err)
		}
	}
	for _, tc := range []struct {
		who Principal
		n   int
	}{{admin, 3}, {otOps, 1}, {otRead, 1}, {itOps, 0}} {
		if list, err := r.ListTokens(ctx, tc.who); len(list) != tc.n || err != nil {
			t.Errorf("%s sees %+v, %v", tc.who.Who(), list, err)
		}
	}
	all, err := r.ListTokens(ctx, admin)
	if err != nil {
		t.Fatal(err)
	}
	for _, tok := range all {
		if tok.Tenant == "ot" {
			continue
		}
		want(t, r.RevokeToken(ctx, otOps, tok.ID), fault.NotFound, "there is no token")
	}
	want(t, r.RevokeToken(ctx, otRead, all[0].ID), fault.Denied, "reader")
}

// What is only noted in memory is on the disk when Run has ended, and while it runs every Config.Keep.
func TestRunWritesDownWhatItHeard(t *testing.T) {
	r := plant(t)
	secret, tok, err := r.CreateToken(ctx, admin, TokenRequest{Name: "ci", Role: RoleAdmin})
	if err != nil {
		t.Fatal(err)
	}
	gw, relay := r.join(JoinAgent, "ot/plant-7/gw"), r.join(JoinRelay, "relay-1")
	running, cancel := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- r.Run(running) }()
	r.clk.Advance(90 * time.Second)
	if _, err := r.Authenticate(ctx, secret); err != nil {
		t.Fatal(err)
	}
	report := AgentReport{Version: "1.2", PlanRevision: "abc", Problems: []string{"cannot listen on 10.7.0.4:443: " + strings.Repeat("é", 600)}}
	for _, id := range []identity.ID{gw, relay} {
		if err := r.Report(ctx, id, report); err != nil {
			t.Fatal(err)
		}
	}
	heard := r.clk.Now()
	before := r.world.revision
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if r.world.revision != before {
		t.Error("a report made a new revision, which wakes other servers for nothing")
	}
	r.restart()
	a := r.get(otOps, resource.KindAgent, "ot/plant-7/gw").(*resource.Agent).Status
	if a.Connected || !a.LastSeen.Equal(heard) || a.Version != "1.2" || a.PlanRevision != "abc" || len(a.Problems) != 1 || len(a.Problems[0]) > maxProblemLength {
		t.Errorf("agent: %+v", a)
	}
	if s := r.get(otOps, resource.KindRelay, "relay-1").(*resource.Relay).Status; !s.LastSeen.Equal(heard) {
		t.Errorf("relay: %+v", s)
	}
	list, err := r.ListTokens(ctx, admin)
	if err != nil || len(list) != 1 || list[0].ID != tok.ID || !list[0].LastUsed.Equal(heard.Truncate(time.Minute)) {
		t.Errorf("token: %+v, %v", list, err)
	}
	want(t, r.Report(ctx, gw, AgentReport{Direct: "no port"}), fault.Invalid, "is not host:port")
}
