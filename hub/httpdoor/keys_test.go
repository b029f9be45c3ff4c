package httpdoor_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
)

func TestWhoRenewsKeys(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	w.Device(hubtest.Contoso, "d")
	ctx := t.Context()
	local := client(t, hubclient.Config{Socket: w.Admin, Hub: hubtest.Contoso})
	for _, c := range []struct {
		who             string
		c               *hubclient.Client
		policy, devices bool
	}{
		{"the local socket", local, true, true},
		{"the owner", remote(t, w, hub.PolicyOwner), true, true},
		{"registryReadWrite", remote(t, w, hub.PolicyRegistryReadWrite), false, true},
		{"registryRead", remote(t, w, hub.PolicyRegistryRead), false, false},
		{"service", remote(t, w, hub.PolicyService), false, false},
		{"device", remote(t, w, hub.PolicyDevice), false, false},
	} {
		list, lerr := c.c.Policies(ctx)
		_, perr := c.c.RenewPolicyKey(ctx, hub.PolicyDevice, hubclient.Secondary)
		_, derr := c.c.RenewDeviceKey(ctx, "d", hubclient.Secondary)
		for what, got := range map[string]struct {
			err error
			may bool
		}{"list policies": {lerr, c.policy}, "renew a policy's key": {perr, c.policy}, "renew a device's key": {derr, c.devices}} {
			if got.may != (got.err == nil) || got.err != nil && fault.KindOf(got.err) != fault.Denied {
				t.Errorf("%s: %s: %v", c.who, what, got.err)
			}
		}
		if c.policy && len(list) != 5 {
			t.Errorf("%s: %+v", c.who, list)
		}
	}
	for name, err := range map[string]error{
		"no policy": second(local.RenewPolicyKey(ctx, "nobody", hubclient.Primary)), "no device": second(local.RenewDeviceKey(ctx, "none", hubclient.Primary)),
	} {
		if fault.KindOf(err) != fault.NotFound || strings.Contains(err.Error(), "panic") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := second(local.RenewPolicyKey(ctx, hub.PolicyService, "both")); fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Next(err), "primary, secondary or swap") {
		t.Errorf("both: %v", err)
	}
}

func second(_ int, err error) error { return err }

// What a client got before is of no use afterwards, and no answer on the way shows a key.
func TestARenewedKeyOpensNothing(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	c := newCaller(t, w)
	old := w.ServiceToken(hubtest.Contoso, hub.PolicyOwner)
	status, _, body := c.call("POST", "/isthmus/v1/policies/iothubowner/keys", old, `{"renew": "primary"}`)
	if status != 200 || body != `{"hub":"ot/ot-cloud/contoso","policy":"iothubowner","renewed":"primary","cut":0}` {
		t.Errorf("%d %s", status, body)
	}
	if status, _, body := c.call("GET", "/isthmus/v1/policies", old, ""); status != 401 {
		t.Errorf("the old key still opens: %d %s", status, body)
	}
	now := w.ServiceToken(hubtest.Contoso, hub.PolicyOwner)
	status, _, body = c.call("GET", "/isthmus/v1/policies", now, "")
	if status != 200 || !strings.HasPrefix(body, `[{"name":"device","rights":["DeviceConnect"]},{"name":"iothubowner"`) || strings.Contains(strings.ToLower(body), "key") {
		t.Errorf("%d %s", status, body)
	}
	// A connection string is for the local socket only, whatever the key.
	if status, _, body := c.call("GET", "/isthmus/v1/policies/service", now, ""); status != 404 {
		t.Errorf("%d %s", status, body)
	}
	local := client(t, hubclient.Config{Socket: w.Admin, Hub: hubtest.Contoso})
	first, err1 := local.PolicyConnectionString(t.Context(), hub.PolicyService, "")
	primary, err2 := local.PolicyConnectionString(t.Context(), hub.PolicyService, hubclient.Primary)
	other, err3 := local.PolicyConnectionString(t.Context(), hub.PolicyService, hubclient.Secondary)
	if err1 != nil || err2 != nil || err3 != nil || first != primary || other == primary {
		t.Errorf("%v, %v, %v", err1, err2, err3)
	}
	events, err := local.EventHubsConnectionString(t.Context(), hub.PolicyService, hubclient.Secondary)
	if c, bad := sas.ParseEventHubs(events); err != nil || bad != nil || c.HostName != hubtest.Contoso || !strings.Contains(other, c.Key) || !strings.HasPrefix(c.Entity, "iothub-ehub-contoso-") {
		t.Errorf("%v, %v", err, bad)
	}
	if _, err := local.PolicyConnectionString(t.Context(), hub.PolicyService, hubclient.Swap); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
}

// A reader of events whose key goes is gone at once, also when nothing happens.
func TestAStreamEndsWithItsKey(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	send(t, w, "d", "before")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c := newCaller(t, w)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+hubtest.Contoso+"/isthmus/v1/events?follow=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", w.ServiceToken(hubtest.Contoso, hub.PolicyService))
	resp, err := c.c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	in := bufio.NewReader(resp.Body)
	line := func() string {
		s, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	line()
	// Another's key, and this one's other key, are no matter to it.
	for policy, which := range map[string]hub.Which{hub.PolicyOwner: hub.Primary, hub.PolicyService: hub.Secondary} {
		if _, err := w.Hub(hubtest.Contoso).RenewPolicyKey(t.Context(), policy, which, "the test"); err != nil {
			t.Fatal(err)
		}
	}
	send(t, w, "d", "between")
	line()
	if _, err := w.Hub(hubtest.Contoso).RenewPolicyKey(t.Context(), hub.PolicyService, hub.Primary, "the test"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(in); len(b) != 0 || err != nil {
		t.Errorf("it got %q, %v", b, err)
	}
}
