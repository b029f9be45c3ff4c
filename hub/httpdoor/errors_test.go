package httpdoor_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/httpdoor"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

var tracking = regexp.MustCompile(`^[0-9a-f]{32}-G:0-TimeStamp:\d\d/\d\d/\d{4} \d\d:\d\d:\d\d$`)

// checkEnvelope checks an answer which is an error: its header, its body, and that somebody who has the tracking id finds it.
func checkEnvelope(t *testing.T, status int, h http.Header, body string, want code.Code) {
	t.Helper()
	var out struct{ Message, ExceptionMessage string }
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		t.Errorf("%v: %q", err, body)
		return
	}
	if status != want.Status || h.Get("iothub-errorcode") != want.Name || h.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("%d %v %s, want %+v", status, h, body, want)
	}
	id, ok := strings.CutPrefix(out.ExceptionMessage, "Tracking ID:")
	if strings.HasPrefix(out.Message, "{") {
		var in struct {
			ErrorCode                         int
			TrackingID, Message, TimestampUTC string
			Info                              struct{ Timeout string }
		}
		if err := json.Unmarshal([]byte(out.Message), &in); err != nil || in.ErrorCode != want.Number || in.Message == "" || out.ExceptionMessage != "" {
			t.Errorf("%v: %s", err, body)
		}
		if _, err := time.Parse("15:04:05", in.Info.Timeout); err != nil {
			t.Error(err)
		}
		if _, err := time.Parse(time.RFC3339, in.TimestampUTC); err != nil {
			t.Error(err)
		}
		id, ok = in.TrackingID, true
	} else if !strings.HasPrefix(out.Message, "ErrorCode:"+want.Name+";") {
		t.Errorf("%s", body)
	}
	if !ok || !tracking.MatchString(id) {
		t.Errorf("tracking id %q in %s", id, body)
	}
}

// Every refusal there is has an envelope, a header and a tracking id, whatever kind of fault it was.
func TestEveryCodeHasItsEnvelope(t *testing.T) {
	clk := clock.NewFake(time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC))
	seen := map[string]bool{}
	check := func(err error, want code.Code) {
		t.Helper()
		r := httpdoor.Fail(err, clk)
		body := r.Body.String()
		checkEnvelope(t, r.Code, r.Header(), body, want)
		if seen[body] {
			t.Error("the same tracking id twice")
		}
		seen[body] = true
		if !strings.Contains(body, "11/22/2026 01:02:03") {
			t.Errorf("the time is not the clock's: %s", body)
		}
	}
	for _, c := range code.All() {
		check(code.With(fault.New("op", fault.Invalid, `words with "quotes"; and : marks`).Advise("do it"), c), c)
	}
	for _, k := range fault.Kinds() {
		err := fault.New("op", k, "words")
		check(err, code.Of(err))
	}
}

// Words of the inside stay inside.
func TestInternalFaultsSayNothing(t *testing.T) {
	r := httpdoor.Fail(fault.New("op", fault.Internal, "the secret row"), clock.System{})
	if strings.Contains(r.Body.String()+fmt.Sprint(r.Header()), "secret") {
		t.Error(r.Body.String())
	}
}

// Every route turns away whoever has no token, and whoever's policy has not the right, in the one form; and there is none that somebody forgot.
func TestEveryRouteIsGuarded(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	c := newCaller(t, w)
	w.Device(hubtest.Contoso, "d")
	stranger := w.ServiceToken(hubtest.Fabrikam, hub.PolicyOwner)
	device := w.ServiceToken(hubtest.Contoso, hub.PolicyDevice)
	service := w.ServiceToken(hubtest.Contoso, hub.PolicyService)
	read := w.ServiceToken(hubtest.Contoso, hub.PolicyRegistryRead)
	fill := strings.NewReplacer("{device}", "d", "{module}", "m", "{name}", "n", "{component}", "c")
	for _, r := range httpdoor.Routes() {
		if r.Other { // it has its own way of asking who somebody is
			continue
		}
		t.Run(r.Method+" "+r.Path, func(t *testing.T) {
			path := "/" + fill.Replace(r.Path)
			if !r.Own {
				path += version
			}
			try := func(what, token string, want code.Code) {
				t.Helper()
				status, h, body := c.call(r.Method, path, token, "{}")
				if h.Get("iothub-errorcode") != want.Name {
					t.Errorf("%s: %d %s", what, status, body)
				}
				checkEnvelope(t, status, h, body, want)
			}
			if r.Local {
				try("over HTTPS", w.ServiceToken(hubtest.Contoso, hub.PolicyOwner), code.NotFound)
				return
			}
			try("without a token", "", code.Unauthorized)
			try("with nonsense", "Bearer x", code.Unauthorized)
			try("with another hub's", stranger, code.Unauthorized)
			other := device // has no right of a service
			if r.Device {
				other = service
			}
			try("with a policy that may not", other, code.UnauthorizedAccess)
			if (r.Right|r.Or)&hub.RegistryWrite != 0 {
				try("with a policy that may only read", read, code.UnauthorizedAccess)
			}
			if !r.Own {
				path = "/" + fill.Replace(r.Path)
				try("without a version", service, code.InvalidProtocolVersion)
			}
		})
	}
}

// IoT Hub documents queries for services and for readers of the registry, and jobs for writers of it, who may send no method otherwise.
func TestEitherRightWillDo(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{Full: true})
	c := newCaller(t, w)
	for _, policy := range []string{hub.PolicyService, hub.PolicyRegistryRead} {
		if status, _, body := c.call("POST", "/devices/query"+version, w.ServiceToken(hubtest.Contoso, policy), `{"query":"SELECT * FROM devices"}`); status != 200 {
			t.Errorf("a query by %s: %d %s", policy, status, body)
		}
	}
	for policy, want := range map[string]int{hub.PolicyService: 200, hub.PolicyRegistryReadWrite: 200, hub.PolicyRegistryRead: 401} {
		if status, _, body := c.call("GET", "/jobs/v2/none"+version, w.ServiceToken(hubtest.Contoso, policy), ""); status != want {
			t.Errorf("jobs by %s: %d %s", policy, status, body)
		}
	}
}
