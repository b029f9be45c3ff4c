package resource_test

import (
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

func namespace(hubs ...resource.EventHub) *resource.Service {
	o, _ := resource.New(resource.KindService)
	s := o.(*resource.Service)
	s.Spec = resource.ServiceSpec{
		Type: resource.TypeEventHubs, HostName: "plant.servicebus.windows.net", Target: "10.1.0.4", ServedBy: "hub-1", EventHubs: hubs,
	}
	s.Metadata = resource.Meta{Tenant: "ot", Network: "cloud", Name: "plant"}
	return s
}

func TestEventHubsOfANamespace(t *testing.T) {
	full := resource.EventHub{
		Name: "telemetry", Partitions: 32, RetentionHours: 24, RetentionBytes: 1 << 30, ConsumerGroups: []string{"a", "b.c"},
		Policies: []resource.EventHubPolicy{{Name: "machines", Rights: []resource.EventHubRight{resource.EventHubSend}}},
	}
	if err := namespace(full, resource.EventHub{Name: "alarms"}).Validate(); err != nil {
		t.Fatal(err)
	}
	with := func(change func(*resource.EventHub)) *resource.Service {
		e := full
		change(&e)
		return namespace(e)
	}
	elsewhere := namespace(full)
	elsewhere.Spec.ServedBy = ""
	hub := namespace(full)
	hub.Spec.Type = resource.TypeIoTHub
	many := namespace(make([]resource.EventHub, resource.MaxEventHubs+1)...)
	for name, c := range map[string]struct {
		s    *resource.Service
		want string
	}{
		"no name":        {with(func(e *resource.EventHub) { e.Name = "" }), "no name of an event hub"},
		"a strange name": {with(func(e *resource.EventHub) { e.Name = "a/b" }), "no name of an event hub"},
		"partitions":     {with(func(e *resource.EventHub) { e.Partitions = 1025 }), "1025 partitions"},
		"hours":          {with(func(e *resource.EventHub) { e.RetentionHours = 2161 }), "2161 hours"},
		"bytes":          {with(func(e *resource.EventHub) { e.RetentionBytes = 5 }), "5 bytes"},
		"group":          {with(func(e *resource.EventHub) { e.ConsumerGroups = []string{"$x"} }), "consumer group"},
		"group twice":    {with(func(e *resource.EventHub) { e.ConsumerGroups = []string{"a", "A"} }), "consumer group"},
		"no rights":      {with(func(e *resource.EventHub) { e.Policies = []resource.EventHubPolicy{{Name: "x"}} }), "no rights"},
		"a made-up right": {with(func(e *resource.EventHub) {
			e.Policies = []resource.EventHubPolicy{{Name: "x", Rights: []resource.EventHubRight{"All"}}}
		}), `"All"`},
		"twice":              {namespace(full, resource.EventHub{Name: "Telemetry"}), "twice"},
		"served by nobody":   {elsewhere, "servedBy"},
		"of a hub":           {hub, "type"},
		"more than there is": {many, "at most 1000"},
	} {
		err := c.s.Validate()
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
