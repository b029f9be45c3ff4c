package amqpdoor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/amqpdoor"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/store/hubstore"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

func TestTokens(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	d, other := w.Device(hubtest.Contoso, "d"), w.Device(hubtest.Contoso, "other")
	m := w.Module(hubtest.Contoso, "d", "m")
	disabled := w.Device(hubtest.Contoso, "disabled")
	disabled.Status = hubstore.Disabled
	if _, err := w.Hub(hubtest.Contoso).UpdateDevice(t.Context(), disabled.Device, hub.AnyETag); err != nil {
		t.Fatal(err)
	}
	sign := func(resource, key, policy string, after time.Duration) string {
		text, err := sas.Sign(resource, key, policy, time.Now().Add(after))
		w.must(err)
		return text
	}
	const host = hubtest.Contoso
	c := w.dial()
	for _, x := range []struct {
		name  string
		token string
		code  int32
		words string
	}{
		{"a device's", w.Token(host, d), 200, "OK"},
		{"a module's", w.ModuleToken(host, m), 200, "OK"},
		{"another device's", w.Token(host, other), 200, "OK"},
		{"with a port, a scheme and other case", sign("amqps://"+strings.ToUpper(host)+":5671/devices/d", d.PrimaryKey, "", time.Hour), 200, "OK"},
		{"a policy's for devices", w.ServiceToken(host, hub.PolicyDevice), 200, "OK"},
		{"a policy's for back ends", w.ServiceToken(host, hub.PolicyService), 200, "OK"},
		{"wrong key", sign(host+"/devices/d", other.PrimaryKey, "", time.Hour), 401, "not signed"},
		{"expired", sign(host+"/devices/d", d.PrimaryKey, "", -time.Second), 401, "the token ended"},
		{"unknown device", sign(host+"/devices/nobody", d.PrimaryKey, "", time.Hour), 401, `device "nobody" is not signed with one of its keys`},
		{"unknown module", sign(host+"/devices/d/modules/nobody", d.PrimaryKey, "", time.Hour), 401, `module "nobody" of device "d" is not signed with one of its keys`},
		{"disabled", w.Token(host, disabled), 401, "is disabled"},
		{"for another hub", w.Token(hubtest.Fabrikam, d), 401, "another resource"},
		{"for no device", sign(host, d.PrimaryKey, "", time.Hour), 401, "covers no device"},
		{"for something below a device", sign(host+"/devices/d/messages", d.PrimaryKey, "", time.Hour), 401, "covers no device"},
		{"no token", "secret", 401, "cannot be read"},
		{"unknown policy", sign(host, d.PrimaryKey, "nobody", time.Hour), 401, "not signed with a key of policy"},
	} {
		code, words := c.put(host+"/devices/d", x.token)
		if code != x.code || !strings.Contains(words, x.words) {
			t.Errorf("%s: %d %s", x.name, code, words)
		}
		if refused := x.code != 200; refused != strings.Contains(words, "Tracking ID: ") {
			t.Errorf("%s: %s", x.name, words)
		}
	}
	eventually(t, "refusals are noted", func() bool { return len(w.Server.Refusals()) >= 9 })
	c.must(c.sends("/devices/d/messages/events").SendAccepted(c.ctx, text(t, "x"), 0))
}

// TestLinksNeedAClaim: nobody attaches a link to what his claims do not cover.
func TestLinksNeedAClaim(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{MaxIdentities: 2})
	c, _ := w.device("d")
	w.Device(hubtest.Contoso, "other")
	w.Module(hubtest.Contoso, "d", "m")
	service := w.dial()
	service.claims("", w.ServiceToken(hubtest.Contoso, hub.PolicyService))
	nobody := w.dial()
	for _, x := range []struct {
		name      string
		client    *client
		address   string
		receives  bool
		condition amqp.Symbol
		words     string
	}{
		{"another device", c, "/devices/other/messages/events", false, amqp.ConditionUnauthorizedAccess, "no token for device"},
		{"its module", c, "/devices/d/modules/m/messages/events", false, amqp.ConditionUnauthorizedAccess, "not signed"},
		{"other letters", c, "/devices/D/messages/events", false, amqp.ConditionUnauthorizedAccess, "no token"},
		{"no claim", nobody, "/devices/d/messages/events", false, amqp.ConditionUnauthorizedAccess, "no token"},
		{"a policy without the right", service, "/devices/d/messages/events", false, amqp.ConditionUnauthorizedAccess, "no token"},
		{"reading what it sends", c, "/devices/d/messages/events", true, amqp.ConditionNotAllowed, "cannot receive from"},
		{"sending what it reads", c, "/devices/d/messages/devicebound", false, amqp.ConditionNotAllowed, "cannot send to"},
		{"an address nobody has", c, "/devices/d/messages/elsewhere", false, amqp.ConditionNotFound, "no address"},
		{"no device", c, "/devices/", false, amqp.ConditionNotFound, "no address"},
		{"an empty device", c, "/devices//messages/events", false, amqp.ConditionNotFound, "no address"},
		{"nothing", c, "", false, amqp.ConditionNotFound, "no address"},
		{"events", c, "messages/events/ConsumerGroups/$Default/Partitions/0", true, amqp.ConditionNotFound, "no address"},
	} {
		var err error
		if x.receives {
			_, err = x.client.Receiver(c.ctx, x.address, 1, nil)
		} else {
			_, err = x.client.Sender(c.ctx, x.address, nil)
		}
		if condition(err) != x.condition || !strings.Contains(err.Error(), x.words) || !strings.Contains(err.Error(), "Tracking ID: ") {
			t.Errorf("%s: %v", x.name, err)
		}
	}
	if n := w.Hub(hubtest.Contoso).Connected(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
	for _, address := range []string{"/devices/d/messages/events", "devices/d/Messages/Events/", "amqps://" + hubtest.Contoso + ":5671/DEVICES/d/messages/events"} {
		s := c.sends(address)
		c.must(s.SendAccepted(c.ctx, text(t, "x"), 0))
		c.must(s.Detach(c.ctx))
	}
	// So many may be on one connection.
	c.claims("", w.ServiceToken(hubtest.Contoso, hub.PolicyDevice))
	c.sends("/devices/d/messages/events")
	c.sends("/devices/other/messages/events")
	if _, err := c.Sender(c.ctx, "/devices/d/modules/m/messages/events", nil); condition(err) != amqp.ConditionResourceLimitExceeded {
		t.Errorf("a third identity: %v", err)
	}
}

func TestEncodedIDs(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	for _, x := range []struct{ id, address string }{
		{"a#b:c", "/devices/a%23b%3Ac/messages/events"}, {"a%23b", "/devices/a%23b/messages/events"}, {"a%zz", "/devices/a%zz/messages/events"},
	} {
		c, _ := w.device(x.id)
		c.must(c.sends(x.address).SendAccepted(c.ctx, text(t, x.id), 0))
	}
	for _, e := range w.Events(hubtest.Contoso, 3) {
		if got := e.System["iothub-connection-device-id"]; got != string(e.Body) {
			t.Errorf("%s came as %s", e.Body, got)
		}
	}
}

func TestPasswords(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	d := w.Device(hubtest.Contoso, "d@sas.x")
	m := w.Module(hubtest.Contoso, "d@sas.x", "m")
	token, service := w.Token(hubtest.Contoso, d), w.ServiceToken(hubtest.Contoso, hub.PolicyDevice)
	for _, x := range []struct {
		name, user, password, address string
		ok                            bool
	}{
		{"a device", "d@sas.x@sas.contoso", token, "/devices/d@sas.x/messages/events", true},
		{"a device, the whole name", "d@sas.x@sas." + hubtest.Contoso, token, "/devices/d@sas.x/messages/events", true},
		{"a module", "d@sas.x/m@sas.Contoso", w.ModuleToken(hubtest.Contoso, m), "/devices/d@sas.x/modules/m/messages/events", true},
		{"a policy", "device@sas.root.contoso", service, "/devices/d@sas.x/messages/events", true},
		{"another policy", "service@sas.root.contoso", service, "", false},
		{"another device", "e@sas.contoso", token, "", false},
		{"another hub", "d@sas.x@sas.fabrikam", token, "", false},
		{"a hub nobody has", "d@sas.x@sas.nowhere", token, "", false},
		{"no user", "nobody", token, "", false},
		{"no token", "d@sas.x@sas.contoso", "secret", "", false},
		{"an empty password", "d@sas.x@sas.contoso", "", "", false},
	} {
		conn, err := w.Dial(w.AMQP, nil, hubtest.Contoso)
		w.must(err)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		one, err := amqptest.Connect(ctx, conn, amqptest.Options{Hostname: hubtest.Contoso, SASL: amqptest.Plain(x.user, x.password)})
		if refused, is := errors.AsType[*amqptest.Refused](err); is && refused.Code == amqp.SASLAuth && !x.ok {
			cancel()
			continue
		}
		w.must(err)
		if !x.ok {
			t.Errorf("%s is let in", x.name)
		}
		s, err := one.Session(ctx)
		w.must(err)
		sender, err := s.Sender(ctx, x.address, nil)
		w.must(err)
		w.must(sender.SendAccepted(ctx, text(t, "x"), 0))
		one.Abort()
		cancel()
	}
}

// TestStrangersDoNotLearnWhoIsThere: whoever has no key and no certificate of a device is told the same whether there is such a device or
// not, at $cbs and when he attaches a link.
func TestStrangersDoNotLearnWhoIsThere(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	w.Device(hubtest.Contoso, "with-key")
	w.ThumbprintDevice(hubtest.Contoso, "with-print", w.Certificate("with-print", false))
	w.AuthorityDevice(hubtest.Contoso, "with-authority")
	c := w.dialWith(w.Certificate("stranger", false))
	about := func(id, words string) string {
		before, _, _ := strings.Cut(words, ". Tracking ID: ")
		return strings.ReplaceAll(before, id, "ID")
	}
	told := map[string]bool{}
	for _, id := range []string{"with-key", "with-print", "with-authority", "nobody"} {
		token, err := sas.Sign(hubtest.Contoso+"/devices/"+id, "c3RyYW5nZXI=", "", time.Now().Add(time.Hour))
		w.must(err)
		code, words := c.put(hubtest.Contoso+"/devices/"+id, token)
		_, err = c.Sender(c.ctx, "/devices/"+id+"/messages/events", nil)
		told[fmt.Sprint(code, about(id, words), condition(err), about(id, err.Error()))] = true
	}
	if len(told) != 1 {
		t.Errorf("%v", told)
	}
	why := ""
	for _, r := range w.Server.Refusals() {
		why += r.Why
	}
	if !strings.Contains(why, `the hub has no device "nobody"`) {
		t.Errorf("our log does not have the reason: %s", why)
	}
}

func TestCertificates(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	cert := w.Certificate("self", false)
	w.ThumbprintDevice(hubtest.Contoso, "self", cert)
	authority := w.Certificate("authority", true)
	w.Trust(hubtest.Contoso, "ca", authority)
	w.AuthorityDevice(hubtest.Contoso, "signed")
	w.AuthorityDevice(hubtest.Contoso, "other")
	c := w.dialWith(cert)
	c.must(c.sends("/devices/self/messages/events").SendAccepted(c.ctx, text(t, "x"), 0))
	if _, err := c.Sender(c.ctx, "/devices/signed/messages/events", nil); condition(err) != amqp.ConditionUnauthorizedAccess {
		t.Errorf("a certificate nobody signed: %v", err)
	}
	c = w.dialWith(w.Certificate("signed", false, authority))
	c.must(c.sends("/devices/signed/messages/events").SendAccepted(c.ctx, text(t, "x"), 0))
	if _, err := c.Sender(c.ctx, "/devices/other/messages/events", nil); condition(err) != amqp.ConditionUnauthorizedAccess || !strings.Contains(err.Error(), "does not prove") {
		t.Errorf("another's certificate: %v", err)
	}
	for _, e := range w.Events(hubtest.Contoso, 2) {
		if m := e.System["iothub-connection-auth-method"]; m != `{"scope":"device","type":"x509","issuer":"iothub"}` {
			t.Error(m)
		}
	}
}

// TestTokensLapse: the links of an identity whose token ends are detached, those of others stay; put again in time, it stays too.
func TestTokensLapse(t *testing.T) {
	clk := newMovedClock()
	w := start(t, hubtest.Options{Clock: clk}, amqpdoor.Config{})
	c := w.dial()
	begin := clk.Now()
	put := func(id string, minutes int) {
		d, err := w.Hub(hubtest.Contoso).Device(t.Context(), id)
		w.must(err)
		token, err := sas.Sign(hubtest.Contoso+"/devices/"+id, d.PrimaryKey, "", begin.Add(time.Duration(minutes)*time.Minute))
		w.must(err)
		c.claims("devices/"+id, token)
	}
	var links []*amqptest.Sender
	for i, id := range []string{"lapses", "renewed", "later"} {
		w.Device(hubtest.Contoso, id)
		put(id, 10+10*i/2)
		links = append(links, c.sends("/devices/"+id+"/messages/events"))
	}
	commands := c.receives("/devices/lapses/messages/devicebound", 1)
	put("renewed", 60)
	clk.Advance(10*time.Minute + time.Second)
	for _, err := range []error{links[0].WaitEnd(c.ctx), commands.WaitEnd(c.ctx)} {
		if condition(err) != amqp.ConditionUnauthorizedAccess || !strings.Contains(err.Error(), "its token ended") {
			t.Errorf("the link ends with %v", err)
		}
	}
	h := w.Hub(hubtest.Contoso)
	eventually(t, "its session is over", func() bool { return h.Connected() == 2 })
	clk.Advance(8 * time.Minute)
	for _, l := range links[1:] {
		c.must(l.SendAccepted(c.ctx, text(t, "x"), 0))
	}
	put("later", 25) // a while before its end
	clk.Advance(5 * time.Minute)
	for _, l := range links[1:] {
		c.must(l.SendAccepted(c.ctx, text(t, "x"), 0))
	}
	clk.Advance(2*time.Minute + 30*time.Second)
	if err := links[2].WaitEnd(c.ctx); condition(err) != amqp.ConditionUnauthorizedAccess {
		t.Errorf("the renewed one ends with %v", err)
	}
	// Another claim holds it when its own ends.
	policy, err := w.Hub(hubtest.Contoso).PolicyConnectionString(hub.PolicyDevice)
	w.must(err)
	key, err := sas.ParseConnectionString(policy)
	w.must(err)
	token, err := sas.Sign(hubtest.Contoso, key.Key, hub.PolicyDevice, begin.Add(90*time.Minute))
	w.must(err)
	c.claims("", token)
	clk.Advance(40 * time.Minute)
	c.must(links[1].SendAccepted(c.ctx, text(t, "x"), 0))
	clk.Advance(30 * time.Minute)
	if err := links[1].WaitEnd(c.ctx); condition(err) != amqp.ConditionUnauthorizedAccess {
		t.Errorf("it ends with %v", err)
	}
	eventually(t, "nobody is connected", func() bool { return h.Connected() == 0 })
}

// TestNobodyIsKeptWhoClaimsNothing: neither by opening a connection nor by links that are refused.
func TestNobodyIsKeptWhoClaimsNothing(t *testing.T) {
	clk := newMovedClock()
	w := start(t, hubtest.Options{Clock: clk}, amqpdoor.Config{})
	silent, refused := w.dial(), w.dial()
	known, _ := w.device("d")
	if _, err := refused.Sender(refused.ctx, "/devices/d/twin", nil); err == nil {
		t.Fatal("a link without a claim")
	}
	if code, _ := refused.put("x", "secret"); code != 401 {
		t.Fatal(code)
	}
	clk.Advance(time.Minute)
	for i, c := range []*client{silent, refused} {
		<-c.Done()
		if condition(c.Client.Err()) != amqp.ConditionConnectionForced {
			t.Errorf("connection %d ends with %v", i, c.Client.Err())
		}
	}
	known.must(known.sends("/devices/d/messages/events").SendAccepted(known.ctx, text(t, "x"), 0))
	clk.Advance(2 * time.Hour) // its token has ended, and with it its links
	eventually(t, "nobody is connected", func() bool { return w.Hub(hubtest.Contoso).Connected() == 0 })
	clk.Advance(5 * time.Minute)
	<-known.Done()
	if condition(known.Client.Err()) != amqp.ConditionConnectionForced {
		t.Errorf("the connection whose token has ended ends with %v", known.Client.Err())
	}
}

// TestTokensAreBounded: a peer cannot make us hold any number of them.
func TestTokensAreBounded(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	c := w.dial()
	policy, err := w.Hub(hubtest.Contoso).PolicyConnectionString(hub.PolicyService)
	w.must(err)
	key, err := sas.ParseConnectionString(policy)
	w.must(err)
	for i := range 2049 {
		token, err := sas.Sign(fmt.Sprint(hubtest.Contoso, "/", i), key.Key, hub.PolicyService, time.Now().Add(time.Hour))
		w.must(err)
		code, words := c.put("x", token)
		if ok := i < 2048; ok != (code == 200) {
			t.Fatalf("token %d: %d %s", i, code, words)
		}
	}
}
