package hub_test

import (
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/sas"
)

func TestWhatABackEndProves(t *testing.T) {
	w := newWorld(t)
	h := w.hub()
	key := func(policy string) string {
		t.Helper()
		text, err := h.PolicyConnectionString(policy)
		if err != nil {
			t.Fatal(err)
		}
		c, err := sas.ParseConnectionString(text)
		if err != nil {
			t.Fatal(err)
		}
		return c.Key
	}
	service := key(hub.PolicyService)
	sign := func(make func(resource, key, policy string, expires time.Time) (string, error), resource string, life time.Duration) string {
		t.Helper()
		text, err := make(resource, service, hub.PolicyService, w.clock.Now().Add(life))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	var kept hub.ServiceClaim
	for name, c := range map[string]struct{ token, path string }{
		"as IoT Hub's SDKs":            {sign(sas.Sign, host, time.Hour), ""},
		"as those of Event Hubs":       {sign(sas.SignText, "sb://"+host+":5671/Messages/Events", time.Hour), "messages/events"},
		"as the sample that redirects": {sign(sas.Sign, host+"/messages/events", time.Hour), "messages/events"},
	} {
		got, err := h.ProveService(c.token)
		if err != nil || got.Policy != hub.PolicyService || got.Path != c.path || !got.Valid() {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if err := got.May(hub.ServiceConnect, "/messages/events/consumergroups/x"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := got.May(hub.RegistryRead, "messages/events"); fault.KindOf(err) != fault.Denied {
			t.Errorf("%s may read the registry: %v", name, err)
		}
		if err := got.May(hub.ServiceConnect, "messages/eventsandmore"); (fault.KindOf(err) == fault.Denied) != (c.path != "") {
			t.Errorf("%s elsewhere: %v", name, err)
		}
		kept = got
	}
	byKey, err := h.ProvePolicyKey(hub.PolicyService, service)
	if err != nil || !byKey.Expires.IsZero() || byKey.May(hub.ServiceConnect, "x") != nil {
		t.Errorf("%+v, %v", byKey, err)
	}
	for name, c := range map[string]struct {
		token string
		kind  fault.Kind
	}{
		"another key":    {sign(func(r, _, p string, e time.Time) (string, error) { return sas.Sign(r, key(hub.PolicyDevice), p, e) }, host, time.Hour), fault.Unauthenticated},
		"no such policy": {sign(func(r, k, _ string, e time.Time) (string, error) { return sas.Sign(r, k, "nobody", e) }, host, time.Hour), fault.Unauthenticated},
		"no policy":      {sign(func(r, k, _ string, e time.Time) (string, error) { return sas.Sign(r, k, "", e) }, host, time.Hour), fault.Unauthenticated},
		"another host":   {sign(sas.Sign, "fabrikam.example", time.Hour), fault.Denied},
		"one that ended": {sign(sas.Sign, host, -time.Second), fault.Expired},
		"no token":       {"x", fault.Unauthenticated},
	} {
		if _, err := h.ProveService(c.token); fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, wrong := range []string{"", "x", key(hub.PolicyDevice)} {
		if _, err := h.ProvePolicyKey(hub.PolicyService, wrong); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("a wrong key: %v", err)
		}
	}
	if _, err := h.ProvePolicyKey("nobody", ""); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("no policy and no key: %v", err)
	}
	w.clock.Advance(time.Hour)
	if err := kept.May(hub.ServiceConnect, "messages/events"); fault.KindOf(err) != fault.Expired {
		t.Errorf("an hour later: %v", err)
	}
	if _, err := h.RenewPolicyKey(t.Context(), hub.PolicyService, hub.Secondary, "test"); err != nil {
		t.Fatal(err)
	}
	if !byKey.Valid() {
		t.Error("the other key was renewed, and this one is gone")
	}
	if _, err := h.RenewPolicyKey(t.Context(), hub.PolicyService, hub.Primary, "test"); err != nil {
		t.Fatal(err)
	}
	if err := byKey.May(hub.ServiceConnect, "x"); byKey.Valid() || fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("the key was renewed: %v", err)
	}
}
