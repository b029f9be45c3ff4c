package node

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/builtin"
	"github.com/isthmus-io/isthmus/hub/route"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/store/hubstore"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// spoken is a session of somebody who put a token.
func spoken(t *testing.T, ctx context.Context, c *amqptest.Client, audience, token string) *amqptest.Session {
	t.Helper()
	session, err := c.Session(ctx)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := session.Requester(ctx, "$cbs")
	if err != nil {
		t.Fatal(err)
	}
	if code, words, err := claims.PutToken(ctx, "servicebus.windows.net:sastoken", audience, token); err != nil || code/100 != 2 {
		t.Fatal(code, words, err)
	}
	return session
}

// TestStreamsAreReadAsEventHubs: whatever a hub's routes bring to an endpoint of kind stream is read there as from an event hub, messages of
// devices and modules and the hub's own events, each with what Azure's have, and enrichments; so is the built-in endpoint.
func TestStreamsAreReadAsEventHubs(t *testing.T) {
	s, dial := localServices(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h := s.Hub
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	connect := func() *amqptest.Client {
		c, err := amqptest.Connect(ctx, dial(), amqptest.Options{SASL: amqptest.Anonymous("test"), Hostname: "hub.localhost"})
		must(err)
		t.Cleanup(c.Abort)
		return c
	}
	must(h.PutEndpoint(ctx, hub.Endpoint{Name: "Hot", Kind: hub.StreamEndpoint}, "test"))
	for _, r := range []route.Route{
		{Name: "all", Source: hub.DeviceMessages, Endpoints: []string{"Hot", route.BuiltIn}, Enabled: true},
		{Name: "twins", Source: hub.TwinChangeEvents, Endpoints: []string{"Hot"}, Enabled: true},
		{Name: "life", Source: hub.DeviceLifecycleEvents, Endpoints: []string{"Hot"}, Enabled: true},
	} {
		must(h.PutRoute(ctx, r, "test"))
	}
	must(h.PutEnrichment(ctx, route.Enrichment{Key: "hall", Value: "$twin.tags.hall", Endpoints: []string{"Hot"}}, "test"))

	text, err := builtin.ConnectionString(h, hub.PolicyService, hub.Primary)
	must(err)
	reads, err := sas.ParseEventHubs(text)
	must(err)
	listen, err := sas.SignText("sb://hub.localhost/", reads.Key, reads.Policy, time.Now().Add(time.Hour))
	must(err)
	reader := spoken(t, ctx, connect(), "sb://hub.localhost/", listen)
	type event struct {
		from string
		m    *amqp.Message
	}
	came := make(chan event, 64)
	for _, entity := range []string{"Hot", reads.Entity} {
		for p := range 4 {
			r, err := reader.Receiver(ctx, fmt.Sprintf("%s/ConsumerGroups/$default/Partitions/%d", entity, p), 50, nil)
			must(err)
			go func() {
				for {
					d, err := r.Next(ctx)
					if err != nil {
						return
					}
					if m, err := d.Decode(); err == nil {
						came <- event{entity, m}
					}
				}
			}()
		}
	}

	d, err := h.CreateDevice(ctx, hubstore.Device{ID: "press-1"})
	must(err)
	m, err := h.CreateDevice(ctx, hubstore.Device{ID: "press-1", Module: "eye"})
	must(err)
	if _, err := h.PatchTwin(ctx, d.Name(), []byte(`{"tags":{"hall":"3"}}`), ""); err != nil {
		t.Fatal(err)
	}
	body := amqp.Message{
		Properties: &amqp.Properties{MessageID: "m-1", CorrelationID: "c-1", ContentType: "application/json", ContentEncoding: "utf-8"},
		Data:       [][]byte{[]byte(`{"p":7}`)}, ApplicationProperties: amqp.Map{{Key: "line", Value: "7"}, {Key: hub.OutputName, Value: "out"}},
		MessageAnnotations: amqp.Map{{Key: amqp.Symbol(hub.Subject), Value: "arm"}, {Key: amqp.Symbol("iothub-connection-device-id"), Value: "forged"}},
	}
	message, err := body.Append(nil)
	must(err)
	for _, x := range []struct{ path, key string }{{"/devices/press-1", d.PrimaryKey}, {"/devices/press-1/modules/eye", m.PrimaryKey}} {
		token, err := sas.Sign("hub.localhost"+x.path, x.key, "", time.Now().Add(time.Hour))
		must(err)
		out, err := spoken(t, ctx, connect(), "hub.localhost"+x.path, token).Sender(ctx, x.path+"/messages/events", func(a *amqp.Attach) {
			a.Properties = append(a.Properties, amqp.Pair{Key: amqp.Symbol("com.microsoft:model-id"), Value: "dtmi:plant:press;1"})
		})
		must(err)
		must(out.SendAccepted(ctx, message, 0))
	}

	want := map[string]map[string]string{ // by endpoint, source and identity
		"Hot deviceLifecycleEvents press-1":     {"opType": "createDeviceIdentity", "iothub-message-schema": "deviceLifecycleNotification", "hubName": "hub"},
		"Hot moduleLifecycleEvents press-1/eye": {"opType": "createModuleIdentity", "moduleId": "eye", "iothub-message-schema": "moduleLifecycleNotification"},
		"Hot twinChangeEvents press-1":          {"opType": "updateTwin", "iothub-message-schema": "twinChangeNotification", "deviceId": "press-1", "hall": "3"},
		"Hot Telemetry press-1":                 {"line": "7", "hall": "3"},
		"Hot Telemetry press-1/eye":             {"line": "7"},
		reads.Entity + " Telemetry press-1":     {"line": "7", "hall": ""},
		reads.Entity + " Telemetry press-1/eye": {"line": "7", "hall": ""},
	}
	for len(want) > 0 {
		var e event
		select {
		case e = <-came:
		case <-ctx.Done():
			t.Fatalf("these did not come: %v", want)
		}
		at := func(name string) any { return e.m.MessageAnnotations.Get(name) }
		who := fmt.Sprint(at("iothub-connection-device-id"))
		if module, ok := at("iothub-connection-module-id").(string); ok {
			who += "/" + module
		}
		name := fmt.Sprintf("%s %v %s", e.from, at("iothub-message-source"), who)
		properties, ok := want[name]
		if !ok { // twins change when a model becomes known
			if !strings.Contains(name, " twinChangeEvents ") {
				t.Errorf("there is %s: %s", name, e.m.Data)
			}
			continue
		}
		if strings.Contains(name, " twinChangeEvents ") && e.m.ApplicationProperties.Get("hall") != "3" {
			continue
		}
		delete(want, name)
		for key, value := range properties {
			got, _ := e.m.ApplicationProperties.Get(key).(string)
			if got != value {
				t.Errorf("%s: %s is %q, want %q", name, key, got, value)
			}
		}
		if _, ok := at("iothub-enqueuedtime").(amqp.Timestamp); !ok {
			t.Errorf("%s: iothub-enqueuedtime is %v", name, at("iothub-enqueuedtime"))
		}
		if p := e.m.Properties; p == nil || p.ContentType != "application/json" || p.ContentEncoding != "utf-8" {
			t.Errorf("%s: %+v", name, p)
		}
		if !strings.Contains(name, " Telemetry ") {
			continue
		}
		if e.m.Properties.MessageID != "m-1" || e.m.Properties.CorrelationID != "c-1" || string(e.m.Data[0]) != `{"p":7}` {
			t.Errorf("%s: %+v, %s", name, e.m.Properties, e.m.Data)
		}
		for annotation, value := range map[string]string{hub.Subject: "arm", hub.OutputName: "out", "dt-dataschema": "dtmi:plant:press;1"} {
			if at(annotation) != value {
				t.Errorf("%s: %s is %v, want %s", name, annotation, at(annotation), value)
			}
		}
		if id, _ := at("iothub-connection-auth-generation-id").(string); id == "" {
			t.Errorf("%s: no generation", name)
		}
		if method, _ := at("iothub-connection-auth-method").(string); !strings.Contains(method, `"type":"sas"`) {
			t.Errorf("%s: the method is %s", name, method)
		}
	}
	if out, err := reader.Sender(ctx, "Hot", nil); err == nil {
		if err := out.WaitEnd(ctx); err != nil {
			t.Fatal(err)
		}
		if out.Err() == nil {
			t.Error("somebody sends to a stream")
		}
	}
}
