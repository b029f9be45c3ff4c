package amqpdoor

import (
	"strings"
	"testing"
)

func TestAddresses(t *testing.T) {
	for text, want := range map[string]address{
		"$cbs":                                   {kind: claims},
		"/$CBS":                                  {kind: claims},
		"amqps://ns:5671/$cbs":                   {kind: claims},
		"$management":                            {kind: management},
		"amqps://ns/$Management":                 {kind: management},
		"telemetry/$management":                  {kind: management, entity: "telemetry"},
		"messages/events/$management":            {kind: management, entity: "messages/events"},
		"telemetry":                              {kind: whole, entity: "telemetry", partition: -1},
		"/Telemetry/":                            {kind: whole, entity: "Telemetry", partition: -1},
		"sb://ns.example/telemetry":              {kind: whole, entity: "telemetry", partition: -1},
		"amqp://127.0.0.1:5672/t":                {kind: whole, entity: "t", partition: -1},
		"telemetry/Partitions/3":                 {kind: partition, entity: "telemetry", partition: 3, text: "3"},
		"telemetry/partitions/x":                 {kind: partition, entity: "telemetry", partition: beyond, text: "x"},
		"telemetry/Partitions/007":               {kind: partition, entity: "telemetry", partition: beyond, text: "007"},
		"telemetry/Partitions/-1":                {kind: partition, entity: "telemetry", partition: beyond, text: "-1"},
		"amqps://ns:5671/t/PARTITIONS/0":         {kind: partition, entity: "t", partition: 0, text: "0"},
		"t/ConsumerGroups/$Default/Partitions/1": {kind: consumer, entity: "t", group: "$Default", partition: 1, text: "1"},
		"/t/consumergroups/g/partitions/1":       {kind: consumer, entity: "t", group: "g", partition: 1, text: "1"},
		"messages/events":                        {kind: whole, entity: "messages/events", partition: -1},
		"/messages/Events/ConsumerGroups/$Default/Partitions/0": {kind: consumer, entity: "messages/Events", group: "$Default", partition: 0, text: "0"},
		"":                                {},
		"/":                               {},
		"amqps://ns":                      {},
		"a/b":                             {},
		"a//Partitions/0":                 {},
		"t/ConsumerGroups/g":              {},
		"t/Publishers/p":                  {},
		"/devices/d/messages/events":      {},
		"/messages/devicebound":           {},
		"/messages/serviceBound/feedback": {},
		strings.Repeat("x", maxAddress+1): {},
	} {
		if got := parse(text); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

func TestServes(t *testing.T) {
	for text, want := range map[string]bool{
		"$management": true, "messages/events": true, "/messages/events/ConsumerGroups/$Default/Partitions/0": true, "amqps://hub/messages/events/$management": true,
		"iothub-ehub-x/ConsumerGroups/g/Partitions/1": true, "iothub-ehub-x/Partitions/0": true,
		"$cbs": false, "/devices/d/messages/events": false, "/messages/devicebound": false, "/messages/serviceBound/feedback": false, "": false, "devices": false,
		"/devices/d/twin": false, "/devices/d/methods/devicebound": false, "/devices/d/modules/m/messages/events": false,
	} {
		if Serves(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}

func TestAudiences(t *testing.T) {
	for text, want := range map[string]string{
		"sb://Host.Example:5671/Hub": "hub", "amqps://host/hub/Partitions/0": "hub/partitions/0", "host/hub": "hub", "host": "", "sb://host": "", "sb://host/": "",
		"sb%3A%2F%2Fhost%2Fhub": "hub", "amqp://127.0.0.1:5672/hub/ConsumerGroups/$Default": "hub/consumergroups/$default", "%zz": "",
	} {
		if got := audienceOf(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzAddresses(f *testing.F) {
	for _, s := range []string{"$cbs", "amqps://h/t/ConsumerGroups/g/Partitions/1", "messages/events", "t/Partitions/0", "//", "sb://"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a := parse(text)
		Serves(text)
		audienceOf(text)
		if a.kind == partition || a.kind == consumer {
			again := parse(a.path())
			if again.kind != a.kind || again.partition != a.partition || !strings.EqualFold(again.path(), a.path()) {
				t.Errorf("%q: %+v, and its path %q: %+v", text, a, a.path(), again)
			}
		}
	})
}
