package builtin_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/builtin"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const namespace = "iothub-ns-contoso-1.servicebus.example.com"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestNames(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	h := w.Hub(hubtest.Contoso)
	name := builtin.EntityName(h)
	if !regexp.MustCompile(`^iothub-ehub-contoso-[0-9]{8}-[0-9a-f]{10}$`).MatchString(name) || name == strings.Replace(builtin.EntityName(w.Hub(hubtest.Fabrikam)), "fabrikam", "contoso", 1) {
		t.Errorf("%s", name)
	}
	if got := builtin.NamespaceHost(h); got != hubtest.Contoso {
		t.Errorf("%s", got)
	}
	w.Change(hubtest.Contoso, func(p *plan.Hub) { p.HostNames = append(p.HostNames, "other.example.com", namespace) })
	text, err := builtin.ConnectionString(h, hub.PolicyService, hub.Secondary)
	must(t, err)
	c, err := sas.ParseEventHubs(text)
	must(t, err)
	if c.HostName != namespace || c.Entity != name || c.Policy != hub.PolicyService {
		t.Errorf("%s, %s, %s", c.HostName, c.Entity, c.Policy)
	}
	if _, err := builtin.ConnectionString(h, "nobody", hub.Primary); fault.KindOf(err) != fault.NotFound {
		t.Errorf("%v", err)
	}
	if builtin.EntityName(h) != name {
		t.Error("the name changed with the plan")
	}
}

func TestReading(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	h := w.Hub(hubtest.Contoso)
	dir := builtin.New(h)
	ctx := t.Context()
	must(t, h.PutEndpoint(ctx, hub.Endpoint{Name: "Alarms", Kind: hub.StreamEndpoint}, "test"))
	must(t, h.PutEndpoint(ctx, hub.Endpoint{Name: "files", Kind: hub.StorageEndpoint, Bucket: "cold"}, "test"))
	events, err := dir.Entity(ctx, strings.ToUpper(builtin.EntityName(h)))
	must(t, err)
	if events.Name() != builtin.EntityName(h) || events.Partitions() == 0 || !events.Devices() || events.MaxMessage() != 1<<20 || time.Since(events.Created()) > time.Minute {
		t.Errorf("%s, %d partitions, %v, %s", events.Name(), events.Partitions(), events.Devices(), events.Created())
	}
	s, err := h.Stream("")
	must(t, err)
	for i := range 3 {
		must(t, s.Append(ctx, "d", eventlog.Event{Body: fmt.Append(nil, i), System: map[string]string{hub.MessageID: "m"}}))
	}
	p := 0
	for info, err := events.Info(p); info.Next == 0; info, err = events.Info(p) {
		must(t, err)
		p++
	}
	for _, name := range []string{"messages/events", "Events", "/messages/events/"} {
		same, err := dir.Entity(ctx, name)
		must(t, err)
		if again := same.Created(); same.Name() != events.Name() || !again.Equal(events.Created()) {
			t.Errorf("%s is %s, made at %s", name, same.Name(), again)
		}
		must(t, same.Wait(ctx, p, 2))
		got := ""
		must(t, same.Scan(ctx, p, 1, 0, func(v *eventlog.View) bool { got += string(v.Body); return true }))
		if got != "12" {
			t.Errorf("%s: %s", name, got)
		}
	}
	info, err := events.Info(p)
	must(t, err)
	if at, err := events.SeekOffset(p, info.LastOffset); err != nil || at != 2 {
		t.Errorf("%d, %v", at, err)
	}
	if at, err := events.SeekTime(p, time.Now().Add(time.Hour)); err != nil || at != 3 {
		t.Errorf("%d, %v", at, err)
	}
	events.Append(eventlog.Batch{Events: []eventlog.Event{{}}}, func(_ eventlog.Position, err error) {
		if fault.KindOf(err) != fault.Denied {
			t.Errorf("sending: %v", err)
		}
	})
	if _, err := events.RegisterProducer(ctx, p, eventlog.Producer{}); fault.KindOf(err) != fault.Denied {
		t.Errorf("a producer: %v", err)
	}
	_, err = h.CreateConsumerGroup(ctx, "", "Line1")
	must(t, err)
	for name, want := range map[string]string{"": "", "$default": "$Default", "line1": "Line1", "Line1": "Line1", "line2": ""} {
		if got, err := events.Group(ctx, name); got != want || (err == nil) != (want != "") || err != nil && fault.KindOf(err) != fault.NotFound {
			t.Errorf("group %q: %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "files", "none", "events/deadletter", "Alarms/deadletter"} {
		if _, err := dir.Entity(ctx, name); fault.KindOf(err) != fault.NotFound || !strings.HasPrefix(fault.Message(err), "The messaging entity '") {
			t.Errorf("%q: %v", name, err)
		}
	}
	alarms, err := dir.Entity(ctx, "alarms")
	must(t, err)
	if alarms.Name() != "Alarms" {
		t.Errorf("%s", alarms.Name())
	}
	must(t, h.DeleteEndpoint(ctx, "Alarms", "test"))
	<-alarms.Gone()
	select {
	case <-events.Gone():
		t.Error("the built-in endpoint ended with another")
	default:
	}
	must(t, w.Server.SetHubs(nil))
	<-events.Gone()
	late, err := dir.Entity(ctx, "events")
	must(t, err)
	<-late.Gone()
}

func TestClaims(t *testing.T) {
	clk := clock.NewFake(time.Now())
	w := hubtest.Start(t, hubtest.Options{Clock: clk})
	w.Change(hubtest.Contoso, func(p *plan.Hub) { p.HostNames = append(p.HostNames, namespace) })
	h := w.Hub(hubtest.Contoso)
	dir := builtin.New(h)
	ctx := context.Background()
	must(t, h.PutEndpoint(ctx, hub.Endpoint{Name: "Alarms", Kind: hub.StreamEndpoint}, "test"))
	own := builtin.EntityName(h)
	key := func(policy string) string {
		text, err := builtin.ConnectionString(h, policy, hub.Primary)
		must(t, err)
		c, err := sas.ParseEventHubs(text)
		must(t, err)
		return c.Key
	}
	type signing func(resource, key, policy string, expires time.Time) (string, error)
	sign := func(by signing, resource, policy string, life time.Duration) string {
		text, err := by(resource, key(policy), policy, clk.Now().Add(life))
		must(t, err)
		return text
	}
	for name, c := range map[string]struct {
		token  string
		covers []string
		not    []string
	}{
		"an SDK of Event Hubs":  {sign(sas.SignText, "sb://"+namespace+"/"+own+"/ConsumerGroups", hub.PolicyService, time.Hour), []string{own + "/ConsumerGroups/x"}, []string{own, "Alarms"}},
		"the whole namespace":   {sign(sas.SignText, "amqps://"+namespace+":5671/", hub.PolicyService, time.Hour), []string{own, "Alarms/partitions/0", ""}, nil},
		"the whole hub":         {sign(sas.Sign, hubtest.Contoso, hub.PolicyService, time.Hour), []string{own, "Alarms", ""}, nil},
		"by redirect":           {sign(sas.Sign, hubtest.Contoso+"/messages/events", hub.PolicyService, time.Hour), []string{own, own + "/consumergroups/$default/partitions/1"}, []string{"Alarms", ""}},
		"an endpoint":           {sign(sas.SignText, "sb://"+namespace+"/alarms", hub.PolicyOwner, time.Hour), []string{"Alarms", "alarms/x"}, []string{own, ""}},
		"a policy without":      {sign(sas.SignText, "sb://"+namespace, hub.PolicyDevice, time.Hour), nil, []string{own, "Alarms", ""}},
		"in small letters only": {sign(sas.SignText, strings.ToLower("sb://"+namespace+"/MESSAGES/events"), hub.PolicyService, time.Hour), []string{own}, []string{""}},
	} {
		claim, err := dir.Prove(ctx, eventhub.TokenSAS, c.token)
		if err != nil || !claim.Valid() || !claim.Expires.Equal(clk.Now().Add(time.Hour).Truncate(time.Second)) {
			t.Errorf("%s: %+v, %v", name, claim, err)
			continue
		}
		for _, path := range c.covers {
			if !claim.Covers(path, eventhub.Listen) || claim.Covers(path, eventhub.Send) || claim.Covers(path, eventhub.Manage) {
				t.Errorf("%s: %+v for %q", name, claim, path)
			}
		}
		for _, path := range c.not {
			if claim.Covers(path, eventhub.Listen) {
				t.Errorf("%s: it covers %q", name, path)
			}
		}
	}
	for name, c := range map[string]struct {
		kind, token string
		fault       fault.Kind
		words       string
	}{
		"another key":    {eventhub.TokenSAS, sign(func(r, k, p string, e time.Time) (string, error) { return sas.SignText(r, "x"+k, p, e) }, "sb://"+namespace, hub.PolicyService, time.Hour), fault.Unauthenticated, "InvalidSignature: The token has an invalid signature."},
		"no token":       {eventhub.TokenSAS, "nothing", fault.Unauthenticated, "InvalidSignature: "},
		"of a provider":  {eventhub.TokenJWT, "a.b.c", fault.Unauthenticated, "InvalidToken: "},
		"another host":   {eventhub.TokenSAS, sign(sas.SignText, "sb://other.example.com", hub.PolicyService, time.Hour), fault.Unauthenticated, "InvalidAudience: "},
		"one that ended": {eventhub.TokenSAS, sign(sas.SignText, "sb://"+namespace, hub.PolicyService, -time.Second), fault.Expired, "ExpiredToken: The token is expired. Expiration time: "},
		"no such entity": {eventhub.TokenSAS, sign(sas.SignText, "sb://"+namespace+"/none/x", hub.PolicyService, time.Hour), fault.NotFound, "The messaging entity 'none' could not be found."},
	} {
		if _, err := dir.Prove(ctx, c.kind, c.token); fault.KindOf(err) != c.fault || !strings.HasPrefix(fault.Message(err), c.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
	claim, err := dir.ProveKey(ctx, hub.PolicyService, key(hub.PolicyService))
	if err != nil || !claim.Covers("", eventhub.Listen) || !claim.Expires.IsZero() {
		t.Errorf("%+v, %v", claim, err)
	}
	if _, err := dir.ProveKey(ctx, hub.PolicyService, key(hub.PolicyDevice)); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("%v", err)
	}
	_, err = h.RenewPolicyKey(ctx, hub.PolicyService, hub.Primary, "test")
	must(t, err)
	if claim.Valid() {
		t.Error("the key was renewed, and the claim is good")
	}
	if names := dir.HostNames(); len(names) != 2 || names[1] != namespace {
		t.Errorf("%v", names)
	}
}
