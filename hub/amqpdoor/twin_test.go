package amqpdoor_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/amqpdoor"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

const (
	reported = "/properties/reported"
	desired  = "/notifications/twin/properties/desired"
)

// ask sends a request about a twin, settled as SDKs do.
func (c *client) ask(s *amqptest.Sender, id any, operation, resource, body string) {
	c.t.Helper()
	m := amqp.Message{
		Properties: &amqp.Properties{CorrelationID: id}, MessageAnnotations: amqp.Map{{Key: amqp.Symbol("operation"), Value: operation}}, Data: [][]byte{[]byte(body)},
	}
	if resource != "" {
		m.MessageAnnotations = append(m.MessageAnnotations, amqp.Pair{Key: amqp.Symbol("resource"), Value: resource})
	}
	c.must(s.Start(c.ctx, encode(c.t, m), 0, nil))
}

// hears takes an answer, or a change, and returns what it says.
func (c *client) hears(r *amqptest.Receiver) (id any, status any, more amqp.Map, body string) {
	c.t.Helper()
	d, m := c.next(r)
	if !d.Settled {
		c.t.Error("it is not settled")
	}
	if m.Properties != nil {
		id = m.Properties.CorrelationID
	}
	for _, p := range m.MessageAnnotations {
		if p.Key == amqp.Symbol("status") {
			status = p.Value
		} else {
			more = append(more, p)
		}
	}
	if len(m.Data) > 0 {
		body = string(m.Data[0])
	}
	return id, status, more, body
}

func TestTwins(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	c, _ := w.device("d")
	s, r := c.pair("/devices/d/twin", "twin:1", 100)
	n, h := hub.Name{Device: "d"}, w.Hub(hubtest.Contoso)
	uuid := amqp.UUID{1, 2, 3}
	wants := func(wantID any, wantStatus int32, wantMore amqp.Map, wantBody string) {
		t.Helper()
		id, status, more, body := c.hears(r)
		if !reflect.DeepEqual(id, wantID) || status != wantStatus || !reflect.DeepEqual(more, wantMore) || !sameJSON(body, wantBody) {
			t.Errorf("%v %v %v %s\nwant %v %v %v %s", id, status, more, body, wantID, wantStatus, wantMore, wantBody)
		}
	}
	patched := func(version int64) amqp.Map {
		return amqp.Map{{Key: amqp.Symbol("version"), Value: version}, {Key: amqp.Symbol("resource"), Value: reported}}
	}
	c.ask(s, "a", "GET", "", " ")
	wants("a", 200, nil, `{"desired":{"$version":1},"reported":{"$version":1}}`)
	// What is asked is answered in its order, and in the types it was asked.
	c.ask(s, uuid, "PATCH", reported, `{"x":1}`)
	c.ask(s, uint64(7), "PATCH", reported, `{"y":{"z":2}}`)
	c.ask(s, []byte{1}, "GET", "", " ")
	wants(uuid, 204, patched(2), "")
	wants(uint64(7), 204, patched(3), "")
	wants([]byte{1}, 200, nil, `{"desired":{"$version":1},"reported":{"x":1,"y":{"z":2},"$version":3}}`)

	change := func(v int) {
		t.Helper()
		if _, err := h.PatchTwin(t.Context(), n, fmt.Appendf(nil, `{"properties":{"desired":{"v":%d,"gone":null}}}`, v), ""); err != nil {
			t.Fatal(err)
		}
	}
	change(1) // nobody listens
	c.ask(s, "put", "PUT", desired, " ")
	wants("put", 200, nil, "")
	change(2)
	notice := func(version int64) amqp.Map {
		return amqp.Map{{Key: amqp.Symbol("resource"), Value: desired}, {Key: amqp.Symbol("version"), Value: version}}
	}
	id, status, more, body := c.hears(r)
	if id != nil || status != nil || !reflect.DeepEqual(more, notice(3)) || !sameJSON(body, `{"v":2,"gone":null,"$version":3}`) {
		t.Errorf("the device is told %v %v %v %s", id, status, more, body)
	}
	c.ask(s, "delete", "DELETE", desired, " ")
	wants("delete", 200, nil, "")
	change(3)
	r.Grant(1, true) // there is nothing: it comes back
	c.must(r.Drained(c.ctx))
	r.Grant(100, false)
	c.ask(s, "last", "GET", "", " ")
	wants("last", 200, nil, `{"desired":{"v":3,"$version":4},"reported":{"x":1,"y":{"z":2},"$version":3}}`)
}

func sameJSON(a, b string) bool {
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return a == b
	}
	return reflect.DeepEqual(x, y)
}

func TestRequestsAboutTwinsThatFail(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	c, _ := w.device("d")
	s, r := c.pair("/devices/d/twin", "twin:1", 100)
	for _, x := range []struct{ name, operation, resource, body, words string }{
		{"no JSON", "PATCH", reported, `{`, "JSON"},
		{"a bad key", "PATCH", reported, `{"a.b":1}`, "a.b"},
		{"too deep", "PATCH", reported, strings.Repeat(`{"a":`, 12) + "1" + strings.Repeat("}", 12), "deep"},
		{"too large", "PATCH", reported, `{"a":"` + strings.Repeat("x", 40_000) + `"}`, ""},
		{"an operation nobody knows", "POST", reported, "", "does not know"},
		{"none at all", "", "", "", "does not know"},
		{"a resource nobody has", "PATCH", "/tags", "{}", "does not know"},
		{"desired properties are not the device's", "PATCH", desired, "{}", "does not know"},
		{"a subscription to something else", "PUT", "/notifications/all", "", "does not know"},
	} {
		c.ask(s, x.name, x.operation, x.resource, x.body)
		id, status, _, body := c.hears(r)
		var says struct {
			ErrorCode           int
			Message, TrackingID string
		}
		if err := json.Unmarshal([]byte(body), &says); err != nil || id != x.name || status != int32(400) || says.ErrorCode/1000 != 400 || !strings.Contains(says.Message, x.words) || says.TrackingID == "" {
			t.Errorf("%s: %v %v %s", x.name, id, status, body)
		}
	}
	// What is no message, or cannot be answered, is rejected, and the link stays.
	if err := s.SendAccepted(c.ctx, []byte("garbage"), 0); condition(err) != "com.microsoft:argument-error" {
		t.Errorf("garbage: %v", err)
	}
	alone, err := c.Sender(c.ctx, "/devices/d/twin", func(a *amqp.Attach) { a.Name = "alone" })
	c.must(err)
	if err := alone.SendAccepted(c.ctx, text(t, " "), 0); condition(err) != "com.microsoft:precondition-failed" {
		t.Errorf("a request nobody can answer: %v", err)
	}
	c.ask(s, "ok", "GET", "", "")
	if id, status, _, _ := c.hears(r); id != "ok" || status != int32(200) {
		t.Errorf("%v %v", id, status)
	}
}

// TestThrottledTwins: SDKs retry what they are told without a body.
func TestFailuresToBeRetriedHaveNoBody(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	c, _ := w.device("d")
	s, r := c.pair("/devices/d/twin", "twin:1", 100)
	c.ask(s, "a", "GET", "", "")
	c.hears(r)
	w.must(w.Server.Store().Close())
	c.ask(s, "b", "GET", "", "")
	d, m := c.next(r)
	if status := m.MessageAnnotations.Get("status"); m.Data != nil || status == int32(200) || status == int32(400) || !d.Settled {
		t.Errorf("%v %q", status, m.Data)
	}
}

// TestPairsOfLinks: an answer goes to the pair its request came from, and changes go to all that asked for them.
func TestPairsOfLinks(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	c, _ := w.device("d")
	s1, r1 := c.pair("/devices/d/twin", "twin:1", 100)
	s2, r2 := c.pair("/devices/d/twin", "twin:2", 100)
	for _, x := range []struct {
		s  *amqptest.Sender
		r  *amqptest.Receiver
		id string
	}{{s1, r1, "one"}, {s2, r2, "two"}, {s1, r1, "three"}} {
		c.ask(x.s, x.id, "GET", "", "")
		if id, _, _, _ := c.hears(x.r); id != x.id {
			t.Errorf("%v is answered instead of %s", id, x.id)
		}
	}
	for _, x := range []struct {
		s *amqptest.Sender
		r *amqptest.Receiver
	}{{s1, r1}, {s2, r2}} {
		c.ask(x.s, "put", "PUT", desired, "")
		c.hears(x.r)
	}
	change := func(v int) {
		_, err := w.Hub(hubtest.Contoso).PatchTwin(t.Context(), hub.Name{Device: "d"}, fmt.Appendf(nil, `{"properties":{"desired":{"v":%d}}}`, v), "")
		w.must(err)
	}
	change(1)
	for _, r := range []*amqptest.Receiver{r1, r2} {
		if _, _, _, body := c.hears(r); !sameJSON(body, `{"v":1,"$version":2}`) {
			t.Error(body)
		}
	}
	c.must(r2.Detach(c.ctx))
	change(2)
	if _, _, _, body := c.hears(r1); !sameJSON(body, `{"v":2,"$version":3}`) {
		t.Error(body)
	}
	// A link of the same pair takes the place of the one before, which has to ask again.
	again, err := c.Receiver(c.ctx, "/devices/d/twin", 10, func(a *amqp.Attach) {
		a.Name, a.Properties, a.SndSettleMode = "again", amqp.Map{{Key: amqp.Symbol("com.microsoft:channel-correlation-id"), Value: "twin:1"}}, amqp.Some(amqp.SenderSettled)
	})
	c.must(err)
	if err := r1.WaitEnd(c.ctx); condition(err) != amqp.ConditionStolen {
		t.Errorf("the older one ends with %v", err)
	}
	c.ask(s1, "four", "GET", "", "")
	if id, _, _, _ := c.hears(again); id != "four" {
		t.Errorf("%v", id)
	}
}

// TestTwinsOfModules: a module has its own.
func TestTwinsOfModules(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	w.Device(hubtest.Contoso, "d")
	m := w.Module(hubtest.Contoso, "d", "m")
	c := w.dial()
	c.claims("devices/d/modules/m", w.ModuleToken(hubtest.Contoso, m))
	s, r := c.pair("/devices/d/modules/m/twin", "twin:1", 10)
	c.ask(s, "a", "PATCH", reported, `{"of":"module"}`)
	c.hears(r)
	device, err := w.Hub(hubtest.Contoso).Twin(t.Context(), hub.Name{Device: "d"})
	w.must(err)
	module, err := w.Hub(hubtest.Contoso).Twin(t.Context(), hub.Name{Device: "d", Module: "m"})
	w.must(err)
	if device.Reported.Version != 1 || module.Reported.Version != 2 {
		t.Errorf("versions %d and %d", device.Reported.Version, module.Reported.Version)
	}
}
