package httpdoor_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/control/httpdoor"
	"github.com/isthmus-io/isthmus/fault"
)

func TestWrongSecretsAreCountedBySource(t *testing.T) {
	clk := clock.NewFake(time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC))
	f := newFake()
	h := httpdoor.New(f, httpdoor.Config{}, quiet(), clk, nil)
	from := func(source, method, path, token, body string) (*httptest.ResponseRecorder, httpdoor.Problem) {
		req := httptest.NewRequest(method, path, strings.NewReader(body))
		req.RemoteAddr = source
		req.Header.Set("Authorization", "Bearer "+token)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		var p httpdoor.Problem
		if rec.Code >= 400 {
			if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil {
				t.Fatal(err)
			}
		}
		return rec, p
	}
	guess := func(source string) (*httptest.ResponseRecorder, httpdoor.Problem) {
		return from(source, "GET", "/v1/tenants", "wrong", "")
	}
	for i := range 30 {
		if rec, _ := guess(fmt.Sprintf("192.0.2.7:%d", 1000+i)); rec.Code != http.StatusUnauthorized {
			t.Fatalf("attempt %d: %d", i, rec.Code)
		}
	}
	rec, p := guess("192.0.2.7:2000")
	if rec.Code != http.StatusTooManyRequests || p.Status != rec.Code || p.Title != "Too many requests" || p.Kind != "exhausted" {
		t.Errorf("%d %+v", rec.Code, p)
	}
	if n, err := strconv.Atoi(rec.Header().Get("Retry-After")); err != nil || n != 2 {
		t.Errorf("Retry-After: %q", rec.Header().Get("Retry-After"))
	}
	if !strings.Contains(p.Detail, "192.0.2.7;") || !strings.Contains(p.Detail, "API token") || !strings.Contains(p.Next, "in 2 s, a right one works at once") {
		t.Errorf("%s / %s", p.Detail, p.Next)
	}
	if rec, _ := from("192.0.2.7:2001", "GET", "/v1/tenants", adminToken, ""); rec.Code != http.StatusOK {
		t.Errorf("the right token from there: %d", rec.Code)
	}
	if rec, _ := from("192.0.2.7:2002", "GET", "/v1/tenants", "", ""); rec.Code != http.StatusUnauthorized {
		t.Errorf("no token at all is no guess: %d", rec.Code)
	}
	if rec, _ := guess("192.0.2.8:1000"); rec.Code != http.StatusUnauthorized {
		t.Errorf("from elsewhere: %d", rec.Code)
	}

	// Join tokens count with them, and nothing else that is refused there does.
	enrol := func(err error) int {
		f.failing(err)
		defer f.failing(nil)
		rec, _ := from("192.0.2.7:2003", "POST", "/member/v1/enrol", "", `{"secret":"x","csr":"y"}`)
		return rec.Code
	}
	if code := enrol(fault.New("fake", fault.Unauthenticated, "the join token is not known here")); code != http.StatusTooManyRequests {
		t.Errorf("a wrong join token from there: %d", code)
	}
	if code := enrol(fault.New("fake", fault.Expired, "the join token expired")); code != http.StatusGone {
		t.Errorf("an expired join token: %d", code)
	}
	if code := enrol(nil); code != http.StatusCreated {
		t.Errorf("a right join token from there: %d", code)
	}

	clk.Advance(2 * time.Second)
	if rec, _ := guess("192.0.2.7:2004"); rec.Code != http.StatusUnauthorized {
		t.Errorf("after the wait: %d", rec.Code)
	}
	if rec, _ := guess("192.0.2.7:2004"); rec.Code != http.StatusTooManyRequests {
		t.Errorf("and once only: %d", rec.Code)
	}
	for i := range 31 { // all addresses of a /64 are one source
		rec, p = guess(fmt.Sprintf("[2001:db8:1:2::%x]:1000", i))
	}
	if rec.Code != http.StatusTooManyRequests || !strings.Contains(p.Detail, "2001:db8:1:2::/64") {
		t.Errorf("one /64: %d %s", rec.Code, p.Detail)
	}
}

func TestAuditSinceAYearFarAway(t *testing.T) {
	h, admin := real(t)
	for query, want := range map[string]int{"": 1, "?since=2020-01-01T00:00:00Z": 1, "?since=2999-01-01T00:00:00Z": 0, "?since=9999-12-31T23:59:59Z": 0} {
		resp, body := ask(t, h, "GET", "/v1/audit"+query, "", "Authorization", "Bearer "+admin)
		var list struct{ Items []any }
		if err := json.Unmarshal([]byte(body), &list); err != nil || resp.StatusCode != 200 || (len(list.Items) > 0) != (want > 0) {
			t.Errorf("%s: %d, %d records, %v", query, resp.StatusCode, len(list.Items), err)
		}
	}
	if resp, body := ask(t, h, "GET", "/v1/audit?since=2999-01-01", "", "Authorization", "Bearer "+admin); resp.StatusCode != 400 || !strings.Contains(body, "RFC") {
		t.Errorf("a date without time: %d %s", resp.StatusCode, body)
	}
}
