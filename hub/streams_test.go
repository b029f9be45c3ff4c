package hub_test

import (
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/streamkey"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/plan"
)

func TestWhoAsksForAStream(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	h := w.Hub(hubtest.Contoso)
	keys := map[string][]byte{}
	for _, p := range w.Plans {
		keys[p.HostNames[0]] = p.LinkKey
	}
	token := func(resource, key, name string, until time.Duration) string {
		t.Helper()
		text, err := sas.Sign(resource, key, name, time.Now().Add(until))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	ours, theirs := streamkey.Key(keys[hubtest.Contoso], "g1"), streamkey.Key(keys[hubtest.Fabrikam], "g1")
	for name, c := range map[string]struct {
		token string
		by    string
		kind  fault.Kind // when by is empty
	}{
		"a grant":               {token(hubtest.Contoso, ours, "grant-g1", time.Hour), "grant-g1", 0},
		"a policy":              {w.ServiceToken(hubtest.Contoso, hub.PolicyService), hub.PolicyService, 0},
		"a policy without":      {w.ServiceToken(hubtest.Contoso, hub.PolicyDevice), "", fault.Denied},
		"another grant's key":   {token(hubtest.Contoso, ours, "grant-g2", time.Hour), "", fault.Unauthenticated},
		"another hub's key":     {token(hubtest.Contoso, theirs, "grant-g1", time.Hour), "", fault.Unauthenticated},
		"another resource":      {token(hubtest.Fabrikam, ours, "grant-g1", time.Hour), "", fault.Denied},
		"a device as resource":  {token(hubtest.Contoso+"/devices/d", ours, "grant-g1", time.Hour), "", fault.Denied},
		"too late":              {token(hubtest.Contoso, ours, "grant-g1", -time.Minute), "", fault.Expired},
		"a policy's by a grant": {token(hubtest.Contoso, ours, hub.PolicyService, time.Hour), "", fault.Unauthenticated},
		"no grant":              {token(hubtest.Contoso, ours, "grant-", time.Hour), "", fault.Unauthenticated},
		"nothing":               {"", "", fault.Unauthenticated},
	} {
		by, _, err := h.AuthorizeStream(c.token)
		if by != c.by && err == nil || c.by == "" && fault.KindOf(err) != c.kind || c.by != "" && err != nil {
			t.Errorf("%s: %q, %v", name, by, err)
		}
	}
	good := token(hubtest.Contoso, ours, "grant-g1", time.Hour)
	if _, _, err := h.Authorize(good, hub.ServiceConnect); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("a grant's key elsewhere: %v", err)
	}
	w.Change(hubtest.Contoso, func(p *plan.Hub) { p.LinkKey = nil })
	if _, _, err := h.AuthorizeStream(token(hubtest.Contoso, streamkey.Key(nil, "g1"), "grant-g1", time.Hour)); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("a key of no key: %v", err)
	}
}

func TestStreamsByKey(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	h := w.Hub(hubtest.Contoso)
	if !h.StreamsByKey() {
		t.Error("a hub of the tests asks for grants")
	}
	w.Change(hubtest.Contoso, func(p *plan.Hub) { p.DeviceStreams = "" })
	if h.StreamsByKey() {
		t.Error("nothing said means grants")
	}
}
