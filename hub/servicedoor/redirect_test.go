package servicedoor_test

import (
	"errors"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/builtin"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/servicedoor"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

const namespace = "iothub-ns-contoso-1.servicebus.example.com"

// Case 26, its first half.
func TestReadersOfEventsAreRedirected(t *testing.T) {
	w := start(t, servicedoor.Config{})
	entity := builtin.EntityName(w.hub)
	read := func(host, address string) *amqp.Error {
		t.Helper()
		s, _ := w.session(host)
		_, err := s.Receiver(w.context(), address, 1, nil)
		no, ok := errors.AsType[*amqp.Error](err)
		if !ok {
			t.Fatalf("%v", err)
		}
		return no
	}
	if no := read(hubtest.Contoso, "messages/events"); no.Condition != amqp.ConditionNotImplemented {
		t.Errorf("a hub with one name: %v", no)
	}
	if no := read(hubtest.Contoso, "amqps://"+hubtest.Contoso+"/messages/events/$management"); no.Condition != amqp.ConditionLinkRedirect ||
		no.Info.Get("hostname") != hubtest.Contoso || no.Info.Get("address") != "amqps://"+hubtest.Contoso+":5671/"+entity+"/$management" {
		t.Errorf("a hub with one name, asked where: %s %v", no.Condition, no.Info)
	}
	w.Change(hubtest.Contoso, func(p *plan.Hub) { p.HostNames = append(p.HostNames, namespace) })
	if no := read(namespace+":5671", "messages/events"); no.Condition != amqp.ConditionNotImplemented {
		t.Errorf("on the right host: %v", no)
	}
	for address, rest := range map[string]string{
		"amqps://" + hubtest.Contoso + "/messages/events/$management": "/$management",
		"/messages/events": "",
		"messages/events/ConsumerGroups/$Default/Partitions/0":            "/ConsumerGroups/$Default/Partitions/0",
		"amqps://" + hubtest.Contoso + ":5671/Messages/Events/Partitions": "/Partitions",
	} {
		no := read(hubtest.Contoso, address)
		if no.Condition != amqp.ConditionLinkRedirect || no.Info.Get("hostname") != namespace || no.Info.Get("network-host") != namespace || no.Info.Get("port") != uint16(5671) ||
			no.Info.Get("address") != "amqps://"+namespace+":5671/"+entity+rest {
			t.Errorf("%s: %s %v", address, no.Condition, no.Info)
		}
	}
	w.claims.put(w.prove(hub.PolicyRegistryRead))
	if no := read(hubtest.Contoso, "messages/events"); no.Condition != amqp.ConditionUnauthorizedAccess {
		t.Errorf("without the right: %v", no)
	}
}
