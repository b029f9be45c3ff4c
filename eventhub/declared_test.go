package eventhub_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/eventhub"
	et "github.com/isthmus-io/isthmus/eventhub/eventhubtest"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// telemetry is an event hub as a resource declares it.
func telemetry() resource.EventHub {
	return resource.EventHub{
		Name: "Telemetry", Partitions: 2, RetentionHours: 48, ConsumerGroups: []string{"Alerts", "$Default"},
		Policies: []resource.EventHubPolicy{{Name: "machines", Rights: []resource.EventHubRight{resource.EventHubSend}}, {Name: "keeper", Rights: []resource.EventHubRight{resource.EventHubManage}}},
	}
}

func TestWhatTheResourceDeclares(t *testing.T) {
	w, ctx := start(t), t.Context()
	w.Declare(telemetry(), resource.EventHub{Name: "plain"})
	h, err := w.Namespace.EventHub("telemetry")
	if err != nil || h.Name != "Telemetry" || h.Partitions != 2 || h.Retention != 48*time.Hour || !h.Declared || h.Groups != 2 || h.Policies != 2 {
		t.Fatalf("%+v, %v", h, err)
	}
	if h, err := w.Namespace.EventHub("plain"); err != nil || h.Partitions != 4 || h.Retention != 24*time.Hour {
		t.Errorf("%+v, %v", h, err)
	}
	if list, err := w.Namespace.Policies("telemetry"); err != nil || len(list) != 2 || list[0].Name != "keeper" || list[0].Rights != eventhub.EveryRight || list[1].Rights != eventhub.Send || !list[1].Declared {
		t.Errorf("%+v, %v", list, err)
	}
	key := w.Key("telemetry", "machines")

	// By command nothing of it changes, but it can be disabled, and have more.
	two := 72 * time.Hour
	_, err = w.Namespace.ChangeEventHub(ctx, "telemetry", eventhub.Change{Retention: &two})
	refused(t, err, fault.Conflict, "changing what is declared")
	refused(t, w.Namespace.DeleteEventHub(ctx, "telemetry"), fault.Conflict, "deleting what is declared")
	refused(t, w.Namespace.DeleteGroup(ctx, "telemetry", "alerts"), fault.Conflict, "deleting a group that is declared")
	refused(t, w.Namespace.DeletePolicy(ctx, "telemetry", "machines"), fault.Conflict, "deleting a policy that is declared")
	_, err = w.Namespace.CreateGroup(ctx, "telemetry", "more")
	must(t, err)
	off := true
	_, err = w.Namespace.ChangeEventHub(ctx, "telemetry", eventhub.Change{Disabled: &off})
	must(t, err)

	// The same again changes nothing: neither keys, nor what was done by command.
	told := w.Namespace.Renewed()
	w.Declare(telemetry(), resource.EventHub{Name: "plain"})
	if ended(told) {
		t.Error("the same declaration changed something")
	}
	if h, _ := w.Namespace.EventHub("telemetry"); !h.Disabled || h.Groups != 3 || w.Key("telemetry", "machines") != key {
		t.Errorf("%+v", h)
	}

	// Another one changes what it says, and lets go of what it does not say.
	next := telemetry()
	next.RetentionHours, next.ConsumerGroups, next.Policies = 24, nil, next.Policies[:1]
	next.Policies[0].Rights = []resource.EventHubRight{resource.EventHubSend, resource.EventHubListen}
	w.Declare(next)
	h, _ = w.Namespace.EventHub("telemetry")
	list, _ := w.Namespace.Policies("telemetry")
	groups, _ := w.Namespace.Groups("telemetry")
	if h.Retention != 24*time.Hour || !h.Declared || list[0].Declared || !list[1].Declared || list[1].Rights != eventhub.Send|eventhub.Listen || groups[1].Declared || w.Key("telemetry", "machines") != key {
		t.Errorf("%+v, %+v, %+v", h, list, groups)
	}
	plain, _ := w.Namespace.EventHub("plain")
	if plain.Declared {
		t.Error("it is declared still")
	}
	must(t, w.Namespace.DeleteEventHub(ctx, "plain"))
	must(t, w.Namespace.DeletePolicy(ctx, "telemetry", "keeper"))
	must(t, w.Namespace.DeleteGroup(ctx, "telemetry", "alerts"))
	w.Declare()
	must(t, w.Namespace.DeleteEventHub(ctx, "telemetry"))
}

// What was made by command becomes the resource's when it declares it, with its events.
func TestADeclarationTakesOver(t *testing.T) {
	w := start(t)
	e := w.Create("telemetry", 2)
	w.Append(e, 0, "kept")
	w.Declare(telemetry())
	h, err := w.Namespace.EventHub("telemetry")
	if err != nil || !h.Declared || h.Name != "Telemetry" || ended(e.Gone()) {
		t.Errorf("%+v, %v", h, err)
	}
	if info, err := e.Info(0); err != nil || info.Next != 1 {
		t.Errorf("%+v, %v", info, err)
	}
}

// What cannot be is told, and everything else is done.
func TestADeclarationThatCannotBe(t *testing.T) {
	w, ctx := start(t), t.Context()
	w.Create("telemetry", 4)
	err := w.Server.SetNamespaces(ctx, []eventhub.Spec{et.Spec(telemetry(), resource.EventHub{Name: "no/name"}, resource.EventHub{Name: "good"}), {Name: "without id"}})
	for _, words := range []string{"has 4 partitions, which cannot become 2", "no/name", "without id"} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v does not say %q", err, words)
		}
	}
	if !errors.Is(err, fault.OfKind(fault.Conflict)) {
		t.Error(err)
	}
	if list := w.Namespace.EventHubs(); len(list) != 2 || list[0].Name != "good" || list[1].Partitions != 4 || !list[1].Declared || list[1].Retention != 48*time.Hour {
		t.Errorf("%+v", list)
	}
}

func TestAThousandEventHubs(t *testing.T) {
	w, ctx := start(t), t.Context()
	list := make([]resource.EventHub, eventhub.MaxEventHubs)
	for i := range list {
		list[i] = resource.EventHub{Name: fmt.Sprint("hub-", i), Partitions: 1}
	}
	w.Declare(list...)
	if n := len(w.Namespace.EventHubs()); n != eventhub.MaxEventHubs {
		t.Fatalf("%d", n)
	}
	_, err := w.Namespace.CreateEventHub(ctx, "more", eventhub.Settings{})
	refused(t, err, fault.Exhausted, "one more")
	list[0].Name = "another"
	err = w.Server.SetNamespaces(ctx, []eventhub.Spec{et.Spec(list...)})
	refused(t, err, fault.Exhausted, "another one while the first is not deleted")
}

func TestPolicies(t *testing.T) {
	w, ctx := start(t), t.Context()
	w.Create("telemetry", 1)
	p, err := w.Namespace.CreatePolicy(ctx, "Telemetry", "Machines", eventhub.Send)
	if err != nil || p.EventHub != "telemetry" || p.Name != "Machines" || p.Declared {
		t.Fatalf("%+v, %v", p, err)
	}
	_, err = w.Namespace.CreatePolicy(ctx, "telemetry", "machines", eventhub.Send)
	refused(t, err, fault.Conflict, "a policy that is there")
	_, err = w.Namespace.CreatePolicy(ctx, "telemetry", "a b", eventhub.Send)
	refused(t, err, fault.Invalid, "a name that cannot be")
	for _, r := range []eventhub.Right{0, 8} {
		_, err = w.Namespace.CreatePolicy(ctx, "telemetry", "x", r)
		refused(t, err, fault.Invalid, "no rights")
	}
	_, err = w.Namespace.CreatePolicy(ctx, "nothing", "x", eventhub.Send)
	refused(t, err, fault.NotFound, "an event hub that is not there")
	for i := range eventhub.MaxPolicies - 1 {
		_, err = w.Namespace.CreatePolicy(ctx, "", fmt.Sprint("p", i), eventhub.Manage)
		must(t, err)
	}
	_, err = w.Namespace.CreatePolicy(ctx, "", "more", eventhub.Send)
	refused(t, err, fault.Exhausted, "one more")
	if list, err := w.Namespace.Policies(""); err != nil || len(list) != eventhub.MaxPolicies || list[0].Rights != eventhub.EveryRight {
		t.Errorf("%+v, %v", list, err)
	}
	refused(t, w.Namespace.DeletePolicy(ctx, "", eventhub.PolicyRoot), fault.Conflict, "the first policy")
	refused(t, w.Namespace.DeletePolicy(ctx, "", "machines"), fault.NotFound, "an event hub's policy as the namespace's")
	refused(t, w.Namespace.RenewPolicyKey(ctx, "", "p0", "third", ""), fault.Invalid, "a third key")

	c, err := w.Namespace.ConnectionString("telemetry", "machines", eventhub.Primary)
	if want := "Endpoint=sb://" + et.Host + "/;SharedAccessKeyName=Machines;SharedAccessKey=" + w.Key("telemetry", "machines") + ";EntityPath=telemetry"; err != nil || c.String() != want {
		t.Errorf("%s, %v", c, err)
	}
	c, err = w.Namespace.ConnectionString("telemetry", "p0", eventhub.Secondary)
	if _, second, _ := w.Namespace.Keys("", "p0"); err != nil || c.Key != second || c.Entity != "telemetry" || c.Policy != "p0" {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err = w.Namespace.ConnectionString("", "p0", eventhub.Primary); err != nil || c.Entity != "" {
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range [][2]string{{"telemetry", "nobody"}, {"nothing", "p0"}, {"", "machines"}} {
		_, err = w.Namespace.ConnectionString(bad[0], bad[1], eventhub.Primary)
		refused(t, err, fault.NotFound, fmt.Sprint(bad))
	}
	_, err = w.Namespace.ConnectionString("", "p0", eventhub.Swap)
	refused(t, err, fault.Invalid, "no key")
}
