package amqpdoor_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/amqpdoor"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store/hubstore"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
	"github.com/isthmus-io/isthmus/wire/amqp/cbs"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// TestManyDevicesOnOneConnection: each with its own token or all with one, each with its own session.
func TestManyDevicesOnOneConnection(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	h := w.Hub(hubtest.Contoso)
	const devices, messages = 50, 20
	list := make([]hub.Device, devices)
	for i := range list {
		list[i] = w.Device(hubtest.Contoso, fmt.Sprint("d", i))
	}
	total := 0
	for _, own := range []bool{true, false} {
		c := w.dial()
		if !own {
			c.claims("devices", w.policyToken("devices"))
		}
		senders := make([]*amqptest.Sender, devices)
		receivers := make([]*amqptest.Receiver, devices)
		for i, d := range list {
			if own {
				c.claims("devices/"+d.ID, w.Token(hubtest.Contoso, d))
			}
			senders[i] = c.sends("/devices/" + d.ID + "/messages/events")
			receivers[i] = c.receives("/devices/"+d.ID+"/messages/devicebound", 10)
		}
		if n := h.Connected(); n != devices {
			t.Fatalf("%d are connected", n)
		}
		var all sync.WaitGroup
		for i, s := range senders {
			all.Go(func() {
				for range messages {
					if err := s.SendAccepted(c.ctx, text(t, list[i].ID), 0); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for i, d := range list {
			w.command(hub.Name{Device: d.ID}, hub.Command{Body: []byte(d.ID)})
			x, m := c.next(receivers[i])
			if string(m.Data[0]) != d.ID {
				t.Errorf("%s got the message of %s", d.ID, m.Data)
			}
			x.Settle(amqp.Accepted{})
		}
		all.Wait()
		total += devices * messages
		count := map[string]int{}
		for _, e := range w.Events(hubtest.Contoso, total) {
			if e.System["iothub-connection-device-id"] != string(e.Body) {
				t.Errorf("%s came as %v", e.Body, e.System)
			}
			count[string(e.Body)]++
		}
		if len(count) != devices || count["d7"] != total/devices {
			t.Errorf("%v", count)
		}
		// One device leaves, the others stay.
		c.must(senders[0].Detach(c.ctx))
		c.must(receivers[0].Detach(c.ctx))
		eventually(t, "one has left", func() bool { return h.Connected() == devices-1 })
		c.must(c.Client.Close(c.ctx))
		eventually(t, "all have left", func() bool { return h.Connected() == 0 })
	}
}

// policyToken is a token of the devices' policy for a part of the hub.
func (w *world) policyToken(path string) string {
	w.t.Helper()
	text, err := w.Hub(hubtest.Contoso).PolicyConnectionString(hub.PolicyDevice)
	w.must(err)
	return w.signed(text, path)
}

// TestOneIdentityIsCut: what happens to one identity of a connection does not happen to the others.
func TestOneIdentityIsCut(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	h := w.Hub(hubtest.Contoso)
	for _, x := range []struct {
		name      string
		happens   func(ctx context.Context, d hub.Device) error
		condition amqp.Symbol
		words     string
	}{
		{"taken-over", func(context.Context, hub.Device) error {
			c := w.dial()
			c.claims("devices", w.policyToken("devices"))
			c.sends("/devices/taken-over/messages/events")
			return nil
		}, amqp.ConditionStolen, "LinkCreationConflict"},
		{"disabled", func(ctx context.Context, d hub.Device) error {
			d.Status = hubstore.Disabled
			_, err := h.UpdateDevice(ctx, d.Device, hub.AnyETag)
			return err
		}, amqp.ConditionUnauthorizedAccess, "disabled"},
		{"deleted", func(ctx context.Context, d hub.Device) error { return h.DeleteDevice(ctx, d.ID, hub.AnyETag) }, amqp.ConditionNotFound, "deleted"},
		{"key-gone", func(ctx context.Context, d hub.Device) error {
			_, err := h.RenewDeviceKey(ctx, d.ID, hub.Primary, "test")
			return err
		}, amqp.ConditionUnauthorizedAccess, "replaced"},
	} {
		t.Run(x.name, func(t *testing.T) {
			c, _ := w.device("stays-" + x.name)
			stays := c.sends("/devices/stays-" + x.name + "/messages/events")
			d := w.Device(hubtest.Contoso, x.name)
			c.claims("devices/"+x.name, w.Token(hubtest.Contoso, d))
			s := c.sends("/devices/" + x.name + "/messages/events")
			_, r := c.pair("/devices/"+x.name+"/twin", "twin:1", 10)
			if err := x.happens(c.ctx, d); err != nil {
				t.Fatal(err)
			}
			for _, err := range []error{s.WaitEnd(c.ctx), r.WaitEnd(c.ctx)} {
				if condition(err) != x.condition || !strings.Contains(err.Error(), x.words) {
					t.Errorf("a link ends with %v", err)
				}
			}
			c.must(stays.SendAccepted(c.ctx, text(t, "x"), 0))
		})
	}
}

// TestARenewedKeyCutsWhatWasRenewedWithIt: a session stands on the token put last.
func TestARenewedKeyCutsWhatWasRenewedWithIt(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	h := w.Hub(hubtest.Contoso)
	c, d := w.device("d")
	s := c.sends("/devices/d/messages/events")
	second := d
	second.PrimaryKey = d.SecondaryKey
	c.claims("devices/d", w.Token(hubtest.Contoso, second))
	cut, err := h.RenewDeviceKey(t.Context(), "d", hub.Primary, "test")
	w.must(err)
	if cut != 0 {
		t.Error("the session does not stand on the first key any more, and is cut with it")
	}
	c.must(s.SendAccepted(c.ctx, text(t, "x"), 0))
	if _, err = h.RenewDeviceKey(t.Context(), "d", hub.Secondary, "test"); err != nil {
		t.Fatal(err)
	}
	if err := s.WaitEnd(c.ctx); condition(err) != amqp.ConditionUnauthorizedAccess {
		t.Errorf("the link ends with %v", err)
	}
}

// TestNobodyStays whose side is closed: not even those of its devices that have no session.
func TestClosedSides(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	c, _ := w.device("d")
	c.sends("/devices/d/messages/events")
	w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Public = resource.PublicDisabled })
	<-c.Done()
	if condition(c.Client.Err()) != amqp.ConditionConnectionForced {
		t.Errorf("the connection ends with %v", c.Client.Err())
	}
}

// TestWhoDoesNotRead is detached, and the others of its connection are not.
func TestWhoDoesNotRead(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	c, _ := w.device("stays")
	stays := c.sends("/devices/stays/messages/events")
	d := w.Device(hubtest.Contoso, "d")
	c.claims("devices/d", w.Token(hubtest.Contoso, d))
	s, r := c.pair("/devices/d/twin", "twin:1", 1)
	c.ask(s, "put", "PUT", desired, "")
	c.hears(r)
	large := strings.Repeat("x", 4000)
	patch := []byte(`{"properties":{"desired":{"a":"` + large + `","b":"` + large + `","c":"` + large + `","d":"` + large + `"}}}`)
	for range 60 {
		if _, err := w.Hub(hubtest.Contoso).PatchTwin(t.Context(), hub.Name{Device: "d"}, patch, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.WaitEnd(c.ctx); condition(err) != amqp.ConditionDetachForced || !strings.Contains(err.Error(), "does not read") {
		t.Errorf("its link ends with %v", err)
	}
	c.must(stays.SendAccepted(c.ctx, text(t, "x"), 0))
}

// others are links that are no device's.
type others struct {
	mu     sync.Mutex // guards the fields below
	put    []string
	links  []string
	ended  int
	claims amqpdoor.Claims
}

func (o *others) Takes(l *engine.Link) bool { return strings.Contains(l.Address(), "devicebound") }

func (o *others) Attach(l *engine.Link) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, err := o.claims.Service(strings.Trim(l.Address(), "/")); err != nil {
		l.Refuse(&amqp.Error{Condition: amqp.ConditionUnauthorizedAccess})
		return
	}
	o.links = append(o.links, l.Address())
	l.Accept(engine.Accept{Receive: func(d *engine.Delivery) { d.Accept() }})
}

func (o *others) Ended(error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended++
}

func (o *others) Recheck() {}

func (o *others) Put(_ context.Context, t cbs.Token) cbs.Result {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.put = append(o.put, t.Audience)
	return cbs.Result{Code: 202, Description: "Accepted"}
}

// TestLinksOfOthers: what is no device's goes to who serves it, with what the peer has claimed.
func TestLinksOfOthers(t *testing.T) {
	service, events := &others{}, &others{}
	w := start(t, hubtest.Options{}, amqpdoor.Config{
		Service: func(_ *engine.Conn, _ *hub.Hub, c amqpdoor.Claims, _ func(string, error)) amqpdoor.ServiceLinks {
			service.claims = c
			return service
		},
		Events: func(_ *engine.Conn, _ *hub.Hub, c amqpdoor.Claims, _ func(string, error)) amqpdoor.EventLinks {
			events.claims = c
			return events
		},
	})
	c := w.dial()
	if _, err := c.Sender(c.ctx, "/messages/devicebound", nil); condition(err) != amqp.ConditionUnauthorizedAccess {
		t.Errorf("without a claim: %v", err)
	}
	changed := service.claims.Changed()
	c.claims("", w.ServiceToken(hubtest.Contoso, hub.PolicyService))
	<-changed
	c.must(c.sends("/messages/devicebound").SendAccepted(c.ctx, text(t, "x"), 0))
	c.sends("$management")
	// A token which the hub has no use for may be for events.
	if code, words := c.put("sb://contoso/hub", "SharedAccessSignature sr=x&sig=eA%3D%3D&se=1&skn=reader"); code != 202 {
		t.Errorf("%d %s", code, words)
	}
	// One of a policy for a device is not.
	policy, err := w.Hub(hubtest.Contoso).PolicyConnectionString(hub.PolicyDevice)
	c.must(err)
	device, err := sas.ParseConnectionString(policy)
	c.must(err)
	token, err := sas.Sign(hubtest.Contoso+"/devices/d", device.Key, device.Policy, time.Now().Add(time.Hour))
	if code, words := c.put(hubtest.Contoso+"/devices/d", token); err != nil || code != 200 {
		t.Errorf("%d %s, %v", code, words, err)
	}
	if code, _ := c.put("jwt", "eyJ"); code != 401 { // nobody has said that it is one
		t.Error(code)
	}
	c.must(c.Client.Close(c.ctx))
	for name, o := range map[string]*others{"service": service, "events": events} {
		eventually(t, name+" hears of the end", func() bool {
			o.mu.Lock()
			defer o.mu.Unlock()
			return o.ended == 1
		})
	}
	if got := fmt.Sprint(service.links, events.links, events.put); got != "[/messages/devicebound] [$management] ["+hubtest.Contoso+"/ sb://contoso/hub]" {
		t.Error(got)
	}
}
