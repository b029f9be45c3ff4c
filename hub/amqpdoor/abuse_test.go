package amqpdoor_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/amqpdoor"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// TestIdentitiesComeAndGo: connections that fight for the same identities and end in every way leave nobody behind.
func TestIdentitiesComeAndGo(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	h := w.Hub(hubtest.Contoso)
	if _, err := h.SetLimits(t.Context(), []byte(`{"device":{"connects":{"perSecond":0}}}`), "test"); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		w.Device(hubtest.Contoso, fmt.Sprint("d", i))
	}
	token := w.policyToken("devices")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	calls, stop := context.WithCancel(ctx)
	var all, caller sync.WaitGroup
	caller.Go(func() { // meanwhile the hub has something for them
		for i := 0; calls.Err() == nil; i++ {
			n := hub.Name{Device: fmt.Sprint("d", i%3)}
			_, _ = h.PatchTwin(calls, n, fmt.Appendf(nil, `{"properties":{"desired":{"v":%d}}}`, i), "")
			_, _ = h.SendCommand(calls, n, hub.Command{Body: []byte("x")})
			_, _ = h.InvokeMethod(calls, n, hub.MethodRequest{Name: "m", Response: hub.MinResponseTimeout})
		}
	})
	for range 6 {
		all.Go(func() {
			for range 12 {
				if err := w.visit(ctx, token); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	stop()
	caller.Wait()
	eventually(t, "nobody is connected", func() bool { return h.Connected() == 0 })
}

// visit is a connection that does some of what devices do, and ends somehow. What is refused or detached meanwhile is none of its errors.
func (w *world) visit(ctx context.Context, token string) error {
	conn, err := w.Dial(w.AMQP, nil, hubtest.Contoso)
	if err != nil {
		return err
	}
	c, err := amqptest.Connect(ctx, conn, amqptest.Options{Hostname: hubtest.Contoso})
	if err != nil {
		return err
	}
	defer c.Abort()
	s, err := c.Session(ctx)
	if err != nil {
		return err
	}
	node, err := s.Requester(ctx, "$cbs")
	if err != nil {
		return err
	}
	if code, words, err := node.PutToken(ctx, "servicebus.windows.net:sastoken", "x", token); err != nil || code != 200 {
		return fmt.Errorf("%d %s: %w", code, words, err)
	}
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for range 1 + rand.IntN(6) {
		address := fmt.Sprintf("/devices/d%d/", rand.IntN(3))
		name := func(a *amqp.Attach) { a.Name = fmt.Sprint(a.Name, rand.Int()) }
		kind := []string{"twin", "methods/devicebound", "messages/devicebound", "streams"}[rand.IntN(4)]
		if r, err := s.Receiver(short, address+kind, 3, name); err == nil && rand.IntN(3) == 0 {
			_ = r.Detach(short)
		}
		if x, err := s.Sender(short, address+"messages/events", name); err == nil {
			_ = x.Start(short, []byte{0, 0x53, 0x75, 0xa0, 0}, 0, func(amqp.State) {})
		}
	}
	switch rand.IntN(3) {
	case 0:
		_ = c.Close(short)
	case 1:
		_ = s.End(short)
	}
	return nil
}

// TestLinksAreBounded: an identity cannot make us hold any number of them.
func TestLinksAreBounded(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	c, _ := w.device("d")
	for i := range 16 {
		c.pair("/devices/d/twin", fmt.Sprint("twin:", i), 1)
	}
	if _, err := c.Sender(c.ctx, "/devices/d/messages/events", nil); condition(err) != amqp.ConditionResourceLimitExceeded {
		t.Errorf("one more: %v", err)
	}
}

// TestWhyADeviceIsNotThere: people are told how its connection ended.
func TestWhyADeviceIsNotThere(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	for i, x := range []struct {
		ends func(c *client, s *amqptest.Sender)
		want string
	}{
		{func(c *client, s *amqptest.Sender) { c.must(s.Detach(c.ctx)) }, "the device detached its last link"},
		{func(c *client, _ *amqptest.Sender) { c.must(c.End(c.ctx)) }, "the device detached its last link"},
		{func(c *client, _ *amqptest.Sender) { c.must(c.Client.Close(c.ctx)) }, "the device closed its connection"},
		{func(c *client, _ *amqptest.Sender) { c.Abort() }, "the connection broke"},
		{func(c *client, _ *amqptest.Sender) {
			other := w.dial()
			other.claims("devices", w.policyToken("devices"))
			s := other.sends("/devices/d4/messages/events")
			other.must(s.Detach(c.ctx))
		}, "the device detached its last link"},
	} {
		id := fmt.Sprint("d", i)
		c, _ := w.device(id)
		s := c.sends("/devices/" + id + "/messages/events")
		x.ends(c, s)
		n, h := hub.Name{Device: id}, w.Hub(hubtest.Contoso)
		eventually(t, "people are told: "+x.want, func() bool {
			why, err := h.Why(t.Context(), n)
			w.must(err)
			return why.Departure != nil && strings.Contains(why.Departure.Why, x.want)
		})
	}
}
