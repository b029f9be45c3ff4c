package httpdoor_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/control/httpdoor"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

func TestRoutesOfPeople(t *testing.T) {
	for _, c := range []struct {
		method, path, body string
		status             int
		asked, reply       string
	}{
		{"GET", "/v1/people?tenant=ot", "", 200, "list ot", `"name":"ann"`},
		{"POST", "/v1/people", `{"tenant":"ot","name":"ann","roles":["operator"],"reason":"on call"}`, 201, "create u1", `"uid":"u1"`},
		{"GET", "/v1/people/u1", "", 200, "get u1", `"roles":["operator"]`},
		{"POST", "/v1/people/u1/roles", `{"roles":["approver"],"reason":"lead"}`, 200, "roles u1 lead", `"name":"ann"`},
		{"POST", "/v1/people/u1/disable", `{"reason":"left"}`, 200, "disable u1 left", `"name":"ann"`},
		{"POST", "/v1/people/u1/enable", `{}`, 200, "enable u1 ", `"name":"ann"`},
		{"POST", "/v1/people/u1/link", `{"provider":"corp","subject":"s-1"}`, 200, "link u1 corp s-1 ", `"name":"ann"`},
		{"DELETE", "/v1/people/u1?reason=left", "", 204, "remove u1 left", ""},
		{"GET", "/v1/people/u1/tokens", "", 200, "tokens u1", `{"items":[]}`},
		{"POST", "/v1/people/u1/tokens", `{"name":"laptop","ttl":"720h"}`, 201, "token u1 laptop", `"secret":"new-secret"`},
		{"GET", "/v1/sign-in/providers/ot/corp", "", 200, "provider ot/corp", `"issuer":"https://id.example.net"`},
		{"POST", "/v1/sign-in/challenges", `{"tenant":"ot","provider":"corp"}`, 201, "challenge ot/corp", `"nonce":"n"`},
		{"POST", "/v1/sign-in", `{"tenant":"ot","provider":"corp","idToken":"a.b.c","challenge":"c"}`, 201, "sign-in ot/corp", `"secret":"session"`},
		{"DELETE", "/v1/sign-in", "", 204, "sign-out " + adminToken, ""},
	} {
		f := newFake()
		resp, body := ask(t, door(f), c.method, c.path, c.body)
		if resp.StatusCode != c.status || !strings.Contains(body, c.reply) || !slices.Equal(f.people.asked, []string{c.asked}) {
			t.Errorf("%s %s: %d %s, asked %q", c.method, c.path, resp.StatusCode, body, f.people.asked)
		}
		f = newFake()
		f.failing(fault.New("test", fault.Conflict, "not now"))
		if resp, body := ask(t, door(f), c.method, c.path, c.body); resp.StatusCode != 409 || problem(t, resp, body).Detail != "not now" {
			t.Errorf("%s %s that fails: %d %s", c.method, c.path, resp.StatusCode, body)
		}
		// Only whoever begins to sign in needs no token.
		f = newFake()
		resp, body = ask(t, door(f), c.method, c.path, c.body, "Authorization", "")
		if begins := strings.HasPrefix(c.path, "/v1/sign-in") && c.method != "DELETE"; begins != (resp.StatusCode == c.status) || !begins && resp.StatusCode != 401 {
			t.Errorf("%s %s without a token: %d %s", c.method, c.path, resp.StatusCode, body)
		}
	}
}

func TestBodiesOfPeople(t *testing.T) {
	f := newFake()
	h := door(f)
	if _, body := ask(t, h, "POST", "/v1/people/u1/tokens", `{"ttl":"720h"}`); f.people.life != 720*time.Hour {
		t.Errorf("%v %s", f.people.life, body)
	}
	ask(t, h, "POST", "/v1/people/u1/roles", `{"roles":["operator","approver"]}`)
	if !slices.Equal(f.people.roles, []resource.TenantRole{resource.RoleOperator, resource.RoleApprover}) {
		t.Error(f.people.roles)
	}
	ask(t, h, "POST", "/v1/sign-in", `{"tenant":"ot","provider":"corp","idToken":"a.b.c","challenge":"d"}`)
	if f.people.shown.IDToken != "a.b.c" || f.people.shown.Challenge != "d" {
		t.Errorf("%+v", f.people.shown)
	}
	for path, body := range map[string]string{
		"/v1/people/u1/tokens": `{"ttl":"soon"}`, "/v1/people": `{"tenant":"ot","names":"ann"}`, "/v1/sign-in": `{"idtokn":"x"}`, "/v1/people/u1/roles": `{"role":["owner"]}`,
	} {
		if resp, got := ask(t, h, "POST", path, body); resp.StatusCode != 400 || problem(t, resp, got).Next == "" {
			t.Errorf("%s %s: %d %s", path, body, resp.StatusCode, got)
		}
	}
}

// from asks as somebody at an address who has no token.
func from(h http.Handler, address, method, path, body string) (int, httpdoor.Problem) {
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.RemoteAddr = address
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	var p httpdoor.Problem
	_ = json.Unmarshal(rec.Body.Bytes(), &p) // a reply that is no problem leaves it empty
	return rec.Code, p
}

// Strangers may try names of tenants and providers, and tokens, only so fast; others are not held up by it.
func TestStrangersWhoSignInAreCountedBySource(t *testing.T) {
	f := newFake()
	clk := clock.NewFake(time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC))
	h := httpdoor.New(f, httpdoor.Config{}, quiet(), clk, nil)
	const shown = `{"tenant":"ot","provider":"corp","idToken":"a.b.c"}`
	for range 30 { // what a whole office does
		for _, c := range [][3]string{{"GET", "/v1/sign-in/providers/ot/corp", ""}, {"POST", "/v1/sign-in/challenges", `{"tenant":"ot","provider":"corp"}`}, {"POST", "/v1/sign-in", shown}} {
			if status, p := from(h, "192.0.2.7:1", c[0], c[1], c[2]); status >= 400 {
				t.Fatalf("%v: %d %+v", c, status, p)
			}
		}
	}
	for _, path := range []string{"/v1/sign-in/providers/ot/corp", "/v1/sign-in/providers/zz/none"} {
		status, p := from(h, "192.0.2.7:2", "GET", path, "")
		if status != 429 || !strings.Contains(p.Detail, "too many sign-ins were begun from 192.0.2.7") {
			t.Errorf("%s: %d %+v", path, status, p)
		}
	}
	if status, _ := from(h, "192.0.2.8:1", "GET", "/v1/sign-in/providers/ot/corp", ""); status != 200 {
		t.Errorf("another source: %d", status)
	}
	clk.Advance(strangerEvery)
	if status, _ := from(h, "192.0.2.7:3", "GET", "/v1/sign-in/providers/ot/corp", ""); status != 200 {
		t.Errorf("a moment later: %d", status)
	}
}

const strangerEvery = time.Second

func TestWrongIdentityTokensAreCountedAsWrongSecrets(t *testing.T) {
	f := newFake()
	f.failing(fault.New("test", fault.Unauthenticated, "the identity token is refused: it is not signed").Advise("sign in again"))
	h := door(f)
	got := map[int]int{}
	var last httpdoor.Problem
	for range 40 {
		status, p := from(h, "192.0.2.7:1", "POST", "/v1/sign-in", `{"tenant":"ot","provider":"corp","idToken":"a.b.c"}`)
		got[status]++
		last = p
	}
	if got[401] < 30 || got[429] < 5 || !strings.Contains(last.Detail, "the identity token of this one is wrong too") {
		t.Errorf("%v %+v", got, last)
	}
}
