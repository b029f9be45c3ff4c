package amqpdoor_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/provisioning/amqpdoor"
	pt "github.com/isthmus-io/isthmus/provisioning/provisioningtest"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ amqpdoor.Conn = (*front.Conn)(nil)

// world is a service behind an engine, as node brings connections to the door.
type world struct {
	*pt.World
	t      *testing.T
	door   *amqpdoor.Door
	engine *engine.Engine

	mu      sync.Mutex // guards the fields below
	refused []error
	denied  bool
}

func start(t *testing.T, o pt.Options) *world {
	t.Helper()
	w := &world{World: pt.Start(t, o), t: t}
	w.door = amqpdoor.New(amqpdoor.Config{Admit: func(amqpdoor.Conn, *provisioning.Service) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.denied {
			return fault.New("test", fault.Denied, "not from this side")
		}
		return nil
	}}, w.Server, hubtest.Silent(), w.Clock)
	w.engine = engine.New(engine.Config{}, hubtest.Silent(), clock.System{}, nil)
	return w
}

func (w *world) deny(yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.denied = yes
}

func (w *world) refusals() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.refused)
}

// arrival is one connection on its way to the door.
type arrival struct {
	w            *world
	certificates []*x509.Certificate
}

func (a *arrival) Refuse(_ string, err error) {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	a.w.refused = append(a.w.refused, err)
}

func (a *arrival) Mechanisms() []amqp.Symbol { return []amqp.Symbol{"PLAIN", "EXTERNAL", "TPM"} }

func (a *arrival) Authenticate(ctx context.Context, x *engine.SASL) (any, error) {
	switch x.Mechanism {
	case "PLAIN":
		parts := strings.Split(string(x.Initial), "\x00")
		return a.w.door.AuthenticatePlain(ctx, a, a.certificates, parts[1], parts[2])
	case "TPM":
		return a.w.door.AuthenticateTPM(ctx, a, x)
	}
	return nil, nil //nolint:nilnil // by certificate
}

func (a *arrival) Open(_ context.Context, c *engine.Conn) (engine.Handler, error) {
	return a.w.door.Converse(c, a, a.certificates), nil
}

func (w *world) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	w.t.Cleanup(cancel)
	return ctx
}

// dial connects a peer that showed certificates in TLS.
func (w *world) dial(o amqptest.Options, certificates ...*x509.Certificate) (*amqptest.Client, error) {
	ours, theirs := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = w.engine.Serve(context.Background(), ours, &arrival{w, certificates})
	}()
	if o.Hostname == "" {
		o.Hostname = pt.Host
	}
	c, err := amqptest.Connect(w.context(), theirs, o)
	if err != nil {
		<-served
		return nil, err
	}
	w.t.Cleanup(func() {
		c.Abort()
		<-served
	})
	return c, nil
}

// peer is a device's connection with its two links.
type peer struct {
	w        *world
	session  *amqptest.Session
	sender   *amqptest.Sender
	receiver *amqptest.Receiver
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) plain(id, token string) amqptest.Options {
	return amqptest.Options{SASL: amqptest.Plain(w.Service.Scope()+"/registrations/"+id, token)}
}

func versioned(a *amqp.Attach) {
	a.Properties = amqp.Map{{Key: amqp.Symbol("com.microsoft:api-version"), Value: "2019-03-31"}}
}

// open attaches the links as SDKs do.
func (w *world) open(id string, o amqptest.Options, certificates ...*x509.Certificate) *peer {
	w.t.Helper()
	c, err := w.dial(o, certificates...)
	w.must(err)
	p := &peer{w: w}
	ctx := w.context()
	p.session, err = c.Session(ctx)
	w.must(err)
	address := w.Service.Scope() + "/registrations/" + id
	p.receiver, err = p.session.Receiver(ctx, address, 10, versioned)
	w.must(err)
	p.sender, err = p.session.Sender(ctx, address, versioned)
	w.must(err)
	return p
}

// send sends a request and returns the rejection, nil when it was accepted.
func (p *peer) send(correlation any, body string, properties ...amqp.Pair) *amqp.Error {
	p.w.t.Helper()
	m := amqp.Message{Properties: &amqp.Properties{CorrelationID: correlation}, ApplicationProperties: properties}
	if body != "" {
		m.Data = [][]byte{[]byte(body)}
	}
	b, err := m.Append(nil)
	p.w.must(err)
	err = p.sender.SendAccepted(p.w.context(), b, 0)
	if rejected, ok := errors.AsType[*amqp.Error](err); ok {
		return rejected
	}
	p.w.must(err)
	return nil
}

func operation(name string) amqp.Pair { return amqp.Pair{Key: "iotdps-operation-type", Value: name} }

// want sends a request and returns the answer to it.
func (p *peer) want(correlation any, body string, properties ...amqp.Pair) (m *amqp.Message, out map[string]any) {
	p.w.t.Helper()
	if e := p.send(correlation, body, properties...); e != nil {
		p.w.t.Fatal(e)
	}
	d, err := p.receiver.Next(p.w.context())
	p.w.must(err)
	d.Settle(amqp.Accepted{})
	m, err = d.Decode()
	p.w.must(err)
	if m.Properties == nil || m.Properties.CorrelationID != correlation || len(m.Data) != 1 {
		p.w.t.Fatalf("%+v", m)
	}
	for _, c := range m.Data[0] {
		if c >= 0x80 {
			p.w.t.Errorf("an answer is not ASCII: %s", m.Data[0])
		}
	}
	p.w.must(json.Unmarshal(m.Data[0], &out))
	return m, out
}

// refused tells what a rejection's description says.
func refused(t *testing.T, e *amqp.Error, condition amqp.Symbol, code float64) {
	t.Helper()
	var body map[string]any
	if e == nil {
		t.Errorf("it was not refused, want %s", condition)
		return
	}
	if err := json.Unmarshal([]byte(e.Description), &body); err != nil || e.Condition != condition || body["errorCode"] != code || body["trackingId"] == "" || body["message"] == "" {
		t.Errorf("%s: %s, want %s %v", e.Condition, e.Description, condition, code)
	}
}

func TestADeviceRegisters(t *testing.T) {
	w := start(t, pt.Options{})
	w.Put(`{"registrationId":"d","attestation":{"type":"symmetricKey"}}`)
	a, b := w.Hubs.Get(pt.HubA).Hold(), w.Hubs.Get(pt.HubB).Hold()
	defer a()
	defer b()
	token := w.Token("d", w.Key("d"))
	p := w.open("d", w.plain("d", token))
	// As C# does it: no registration id, and perhaps no body at all.
	m, body := p.want("c-1", `{"payload":{"a":"ü"}}`, operation("iotdps-register"), amqp.Pair{Key: "iotdps-forceRegistration", Value: false})
	id, _ := body["operationId"].(string)
	if body["status"] != "assigning" || id == "" || m.ApplicationProperties.Get("retry-after") != int32(3) || m.ApplicationProperties.Get("Retry-After") != int32(3) {
		t.Errorf("%v %v", body, m.ApplicationProperties)
	}
	uuid := amqp.UUID{1, 2, 3}
	if _, body = p.want(uuid, "", operation("iotdps-get-operationstatus"), amqp.Pair{Key: "iotdps-operation-id", Value: id}); body["status"] != "assigning" {
		t.Errorf("%v", body)
	}
	a()
	b()
	w.Await(provisioning.Proof{RegistrationID: "d", Token: token}, id)
	m, body = p.want(uint64(7), " ", operation("iotdps-get-operationstatus"), amqp.Pair{Key: "iotdps-operation-id", Value: id})
	if body["status"] != "assigned" || body["registrationState"].(map[string]any)["deviceId"] != "d" || m.ApplicationProperties.Get("retry-after") != nil {
		t.Errorf("%v %v", body, m.ApplicationProperties)
	}
	if _, body = p.want(nil, "", operation("iotdps-get-registration")); body["status"] != "assigned" || body["assignedHub"] == nil {
		t.Errorf("%v", body)
	}
	refused(t, p.send("x", "", operation("iotdps-get-operationstatus"), amqp.Pair{Key: "iotdps-operation-id", Value: "none"}), "amqp:not-found", 404202)
	refused(t, p.send("x", "{", operation("iotdps-register")), "amqp:invalid-field", 400000)
	refused(t, p.send("x", `{"registrationId":"e"}`, operation("iotdps-register")), "amqp:invalid-field", 400000)
	refused(t, p.send("x", "{}", operation("iotdps-other")), "amqp:invalid-field", 400000)
	refused(t, p.send("x", "{}"), "amqp:invalid-field", 400000)
	refused(t, p.send("x", `{"payload":"`+strings.Repeat("x", provisioning.MaxPayload)+`"}`, operation("iotdps-register")), "amqp:link:message-size-exceeded", 413001)
	if e := p.sender.SendAccepted(w.context(), []byte("no message"), 0); amqp.ConditionOf(e) != amqp.ConditionDecodeError {
		t.Errorf("%v", e)
	}
	before := w.refusals()
	w.deny(true) // its side was closed meanwhile
	refused(t, p.send("x", "{}", operation("iotdps-register")), "amqp:unauthorized-access", 401002)
	w.deny(false)
	// Whoever is disabled while connected may do nothing more, and the connection stays to say so.
	_, err := w.Service.PutEnrollment(t.Context(), "d", []byte(`{"registrationId":"d","provisioningStatus":"disabled","attestation":{"type":"symmetricKey"}}`), false, "*")
	w.must(err)
	refused(t, p.send("x", "{}", operation("iotdps-register")), "amqp:unauthorized-access", 401002)
	if got := w.refusals() - before; got != 2 {
		t.Errorf("the log has %d of 2 refusals", got)
	}
	w.must(p.receiver.Detach(w.context()))
	refused(t, p.send("x", "{}", operation("iotdps-register")), "amqp:invalid-field", 400000)
}

func TestTooOften(t *testing.T) {
	clk := clock.NewFake(time.Now())
	w := start(t, pt.Options{Clock: clk})
	w.Put(`{"registrationId":"d","attestation":{"type":"symmetricKey"}}`)
	token := w.Token("d", w.Key("d"))
	p := w.open("d", w.plain("d", token))
	for range 100 {
		if e := p.send("x", "{}", operation("iotdps-register")); e != nil {
			refused(t, e, "com.microsoft:device-container-throttled", 429001)
			if e.Info.Get("retry-after") != int32(3) || e.Info.Get("Retry-After") != int32(3) {
				t.Errorf("%v", e.Info)
			}
			return
		}
		_, err := p.receiver.Next(w.context())
		w.must(err)
		o, err := w.Service.DeviceState(t.Context(), provisioning.Proof{RegistrationID: "d", Token: token})
		for err == nil && o.Status == provisioning.Assigning {
			o, err = w.Service.DeviceState(t.Context(), provisioning.Proof{RegistrationID: "d", Token: token})
		}
		w.must(err)
	}
	t.Error("it may register without end")
}

func TestByCertificate(t *testing.T) {
	w := start(t, pt.Options{})
	root := pt.Sign(t, nil, "root", pt.CA)
	w.PutGroup(`{"enrollmentGroupId":"g","attestation":{"type":"x509","x509":{"signingCertificates":{"primary":{"certificate":"` + root.Base64() + `"}}}}}`)
	leaf := pt.Sign(t, pt.Sign(t, root, "plant", pt.CA), "press-1")
	for name, o := range map[string]amqptest.Options{"no SASL": {}, "EXTERNAL": {SASL: amqptest.External()}} {
		p := w.open("press-1", o, leaf.Chain()...)
		if _, body := p.want(name, "{}", operation("iotdps-register")); body["operationId"] == nil {
			t.Errorf("%s: %v", name, body)
		}
	}
	c, err := w.dial(amqptest.Options{}, leaf.Chain()...)
	w.must(err)
	s, err := c.Session(w.context())
	w.must(err)
	for address, condition := range map[string]amqp.Symbol{
		w.Service.Scope() + "/registrations/press-2": amqp.ConditionUnauthorizedAccess,
		"0ne00000000/registrations/press-1":          amqp.ConditionUnauthorizedAccess,
		w.Service.Scope() + "/registrations":         amqp.ConditionNotFound,
		"$cbs":                                       amqp.ConditionNotFound,
	} {
		if _, err := s.Sender(w.context(), address, nil); amqp.ConditionOf(err) != condition {
			t.Errorf("%s: %v", address, err)
		}
		if _, err := s.Receiver(w.context(), address, 1, nil); amqp.ConditionOf(err) != condition {
			t.Errorf("%s: %v", address, err)
		}
	}
	for i := range 17 { // one more than may be
		_, err = s.Receiver(w.context(), "/"+w.Service.Scope()+"/Registrations/Press-1/", 1, nil)
		if (err == nil) != (i < 16) {
			t.Errorf("link %d: %v", i, err)
		}
	}
}

func TestWhoIsRefused(t *testing.T) {
	w := start(t, pt.Options{})
	w.Put(`{"registrationId":"d","attestation":{"type":"symmetricKey"}}`)
	w.Put(`{"registrationId":"off","provisioningStatus":"disabled","attestation":{"type":"symmetricKey"}}`)
	good := w.Token("d", w.Key("d"))
	scope := w.Service.Scope()
	for name, o := range map[string]amqptest.Options{
		"no password":               w.plain("d", ""),
		"another key":               w.plain("d", w.Token("d", w.Key("off"))),
		"another device":            w.plain("e", good),
		"another scope":             {SASL: amqptest.Plain("0ne00000000/registrations/d", good)},
		"a hub's user":              {SASL: amqptest.Plain("d@sas.contoso", good)},
		"an enrollment that is off": w.plain("off", w.Token("off", w.Key("off"))),
	} {
		_, err := w.dial(o)
		if no, ok := errors.AsType[*amqptest.Refused](err); !ok || no.Code != amqp.SASLAuth {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.deny(true)
	if _, err := w.dial(w.plain("d", good)); err == nil {
		t.Error("from another side")
	}
	w.deny(false)
	p := w.open("d", w.plain("d", good))
	if _, err := p.session.Sender(w.context(), scope+"/registrations/e", nil); amqp.ConditionOf(err) != amqp.ConditionUnauthorizedAccess {
		t.Errorf("another device's link: %v", err)
	}
	for user, want := range map[string]bool{
		scope + "/registrations/d": true, scope + "/registrations/d/api-version=2019-03-31": true, scope + "/registrations/d/x": false,
		"contoso.azure-devices.net/d": false, "d@sas.contoso": false, "": false, "a/registrations/": false,
	} {
		if w.door.IsFor(user) != want {
			t.Errorf("%q", user)
		}
	}
}

// TestWhoProvesNothingIsNotKept: a peer without a proof has a minute, whatever else it says meanwhile; one that proved itself stays.
func TestWhoProvesNothingIsNotKept(t *testing.T) {
	clk := clock.NewFake(time.Now())
	w := start(t, pt.Options{})
	w.door = amqpdoor.New(amqpdoor.Config{}, w.Server, hubtest.Silent(), clk)
	c, err := w.dial(amqptest.Options{SASL: amqptest.External()})
	w.must(err)
	s, err := c.Session(w.context())
	w.must(err)
	if _, err := s.Sender(w.context(), w.Service.Scope()+"/registrations/nobody", nil); err == nil {
		t.Fatal("a link without a proof is accepted")
	}
	ticks := time.NewTicker(time.Millisecond)
	defer ticks.Stop()
	began := clk.Now()
	for deadline := time.After(10 * time.Second); ; {
		select {
		case <-c.Done():
			if e, ok := errors.AsType[*amqp.Error](c.Err()); !ok || e.Condition != amqp.ConditionConnectionForced || clk.Now().Sub(began) < time.Minute {
				t.Errorf("it ended with %v after %s", c.Err(), clk.Now().Sub(began))
			}
			return
		case <-ticks.C:
			clk.Advance(time.Second)
		case <-deadline:
			t.Fatal("it is kept")
		}
	}
}
