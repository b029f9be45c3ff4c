package mqttdoor_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/provisioning/mqttdoor"
	pt "github.com/isthmus-io/isthmus/provisioning/provisioningtest"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ mqttdoor.Conn = (*front.Conn)(nil)

// world is a service behind a listener that reads CONNECTs and asks for a client certificate.
type world struct {
	*pt.World
	t       *testing.T
	address string
	roots   *x509.CertPool

	mu      sync.Mutex // guards the fields below
	refused []error
	denied  bool
}

// conn is what front makes of a connection.
type conn struct {
	*tls.Conn
	w *world
}

func (c *conn) Refuse(_ string, err error) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.w.refused = append(c.w.refused, err)
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{World: pt.Start(t, pt.Options{}), t: t, roots: x509.NewCertPool()}
	ca := pt.Sign(t, nil, "servers", pt.CA)
	w.roots.AddCert(ca.Certificate)
	cert := pt.Sign(t, ca, pt.Host, pt.For(pt.Host)).TLS()
	door := mqttdoor.New(mqttdoor.Config{WriteTimeout: time.Second, Admit: func(mqttdoor.Conn, *provisioning.Service) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.denied {
			return fault.New("test", fault.Denied, "not from this side")
		}
		return nil
	}}, w.Server, hubtest.Silent(), w.Clock)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.address = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			raw, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer raw.Close()
				stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
				defer stop()
				c := &conn{tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}), w}
				reader := mqtt.NewReader(c, 4096)
				first, body, err := reader.Next()
				if err != nil {
					return
				}
				p, err := mqtt.Decode(first, body)
				if err != nil {
					return
				}
				door.Serve(ctx, c, c.ConnectionState().PeerCertificates, reader, p.(*mqtt.Connect))
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = ln.Close()
		all.Wait()
	})
	return w
}

func (w *world) refusals() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refused
}

// peer is a device's connection.
type peer struct {
	net.Conn
	t      *testing.T
	reader *mqtt.Reader
}

func (w *world) dial(certs ...tls.Certificate) *peer {
	w.t.Helper()
	c, err := tls.Dial("tcp", w.address, &tls.Config{RootCAs: w.roots, ServerName: pt.Host, Certificates: certs, MinVersion: tls.VersionTLS12})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return &peer{c, w.t, mqtt.NewReader(c, 1<<20)}
}

func (p *peer) send(packets ...mqtt.Packet) {
	p.t.Helper()
	var b []byte
	var err error
	for _, packet := range packets {
		if b, err = packet.Append(b); err != nil {
			p.t.Fatal(err)
		}
	}
	if _, err := p.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// next reads a packet; io.EOF when the door closed.
func (p *peer) next() (mqtt.Packet, error) {
	first, body, err := p.reader.Next()
	if err != nil {
		return nil, err
	}
	return mqtt.Decode(first, append([]byte(nil), body...))
}

// want reads a packet that answers a request: status and body.
func (p *peer) want(status, rid string) (topic string, body map[string]any) {
	p.t.Helper()
	packet, err := p.next()
	if err != nil {
		p.t.Fatal(err)
	}
	pub, ok := packet.(*mqtt.Publish)
	if !ok || !strings.HasPrefix(string(pub.Topic), "$dps/registrations/res/"+status+"/?$rid="+rid) {
		p.t.Fatalf("%#v", packet)
	}
	for _, c := range pub.Payload {
		if c >= 0x80 {
			p.t.Errorf("an answer is not ASCII: %s", pub.Payload)
		}
	}
	if err := json.Unmarshal(pub.Payload, &body); err != nil {
		p.t.Fatal(err)
	}
	return string(pub.Topic), body
}

func connect(w *world, id, token string) *mqtt.Connect {
	c := &mqtt.Connect{
		ClientID: id, CleanSession: true, KeepAlive: 60, HasUserName: true,
		UserName: w.Service.Scope() + "/registrations/" + id + "/api-version=2019-03-31&ClientVersion=azure-iot%2F1",
	}
	if token != "" {
		c.HasPassword, c.Password = true, []byte(token)
	}
	return c
}

func subscribe() *mqtt.Subscribe {
	return &mqtt.Subscribe{ID: 1, Topics: []mqtt.Subscription{{Filter: "$dps/registrations/res/#", QoS: 1}}}
}

func request(id uint16, topic, payload string) *mqtt.Publish {
	return &mqtt.Publish{Topic: []byte("$dps/registrations/" + topic), QoS: 1, ID: id, Payload: []byte(payload)}
}

func (p *peer) open(c *mqtt.Connect) {
	p.t.Helper()
	p.send(c)
	if packet, err := p.next(); err != nil || packet != (mqtt.Connack{}) {
		p.t.Fatalf("%#v, %v", packet, err)
	}
}

func TestADeviceRegisters(t *testing.T) {
	w := start(t)
	w.Put(`{"registrationId":"d","attestation":{"type":"symmetricKey"}}`)
	a, b := w.Hubs.Get(pt.HubA).Hold(), w.Hubs.Get(pt.HubB).Hold()
	defer a()
	defer b()
	token := w.Token("d", w.Key("d"))
	p := w.dial()
	p.open(connect(w, "d", token))
	p.send(subscribe(), request(7, "PUT/iotdps-register/?$rid=r-1", `{"registrationId":"d","payload":{"a":"ü"}}`))
	for _, want := range []mqtt.Type{mqtt.SUBACK, mqtt.PUBACK} {
		if packet, err := p.next(); err != nil || packet.Type() != want {
			t.Fatalf("%#v, %v", packet, err)
		}
	}
	topic, body := p.want("202", "r-1")
	id, _ := body["operationId"].(string)
	if topic != "$dps/registrations/res/202/?$rid=r-1&retry-after=3" || body["status"] != "assigning" || id == "" {
		t.Errorf("%s %v", topic, body)
	}
	p.send(&mqtt.Publish{Topic: []byte("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId=" + id), Payload: []byte(" ")})
	p.want("202", "2")
	a()
	b()
	w.Await(provisioning.Proof{RegistrationID: "d", Token: token}, id)
	p.send(&mqtt.Publish{Topic: []byte("$dps/registrations/GET/iotdps-get-operationstatus/?operationId=" + id + "&$rid=3"), Payload: []byte(" ")})
	if topic, body = p.want("200", "3"); topic != "$dps/registrations/res/200/?$rid=3" || body["status"] != "assigned" || body["registrationState"].(map[string]any)["deviceId"] != "d" {
		t.Errorf("%s %v", topic, body)
	}
	p.send(&mqtt.Publish{Topic: []byte("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=4&operationId=x"), Payload: []byte(" ")})
	if _, body = p.want("404", "4"); body["errorCode"] != 404202.0 {
		t.Errorf("%v", body)
	}
	p.send(request(8, "PUT/iotdps-register/?$rid=5", `{`))
	if packet, err := p.next(); err != nil || packet.Type() != mqtt.PUBACK {
		t.Fatalf("%#v, %v", packet, err)
	}
	p.want("400", "5")
	// Whoever is disabled while connected may do nothing more, and the connection stays to say so.
	if _, err := w.Service.PutEnrollment(t.Context(), "d", []byte(`{"registrationId":"d","provisioningStatus":"disabled","attestation":{"type":"symmetricKey"}}`), false, "*"); err != nil {
		t.Fatal(err)
	}
	p.send(request(9, "PUT/iotdps-register/?$rid=6", `{}`))
	if _, err := p.next(); err != nil {
		t.Fatal(err)
	}
	if _, body = p.want("401", "6"); body["errorCode"] != 401002.0 {
		t.Errorf("%v", body)
	}
	p.send(mqtt.Bare(mqtt.PINGREQ), &mqtt.Unsubscribe{ID: 2, Filters: []string{"$dps/registrations/res/#"}}, request(10, "PUT/iotdps-register/?$rid=7", `{}`), mqtt.Bare(mqtt.DISCONNECT))
	for _, want := range []mqtt.Type{mqtt.PINGRESP, mqtt.UNSUBACK, mqtt.PUBACK} { // and no answer
		if packet, err := p.next(); err != nil || packet.Type() != want {
			t.Fatalf("%#v, %v", packet, err)
		}
	}
	if _, err := p.next(); !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
}

func TestByCertificate(t *testing.T) {
	w := start(t)
	root := pt.Sign(t, nil, "root", pt.CA)
	w.PutGroup(`{"enrollmentGroupId":"g","attestation":{"type":"x509","x509":{"signingCertificates":{"primary":{"certificate":"` + root.Base64() + `"}}}}}`)
	leaf := pt.Sign(t, pt.Sign(t, root, "plant", pt.CA), "press-1")
	p := w.dial(leaf.TLS())
	p.open(connect(w, "press-1", ""))
	p.send(subscribe(), &mqtt.Publish{Topic: []byte("$dps/registrations/PUT/iotdps-register/?$rid=1"), Payload: []byte(`{}`)})
	if _, err := p.next(); err != nil {
		t.Fatal(err)
	}
	p.want("202", "1")
}

func TestWhoIsRefused(t *testing.T) {
	w := start(t)
	w.Put(`{"registrationId":"d","attestation":{"type":"symmetricKey"}}`)
	w.Put(`{"registrationId":"off","provisioningStatus":"disabled","attestation":{"type":"symmetricKey"}}`)
	good := w.Token("d", w.Key("d"))
	scope := w.Service.Scope()
	for name, change := range map[string]func(*mqtt.Connect){
		"no password":       func(c *mqtt.Connect) { c.HasPassword, c.Password = false, nil },
		"another key":       func(c *mqtt.Connect) { c.Password = []byte(w.Token("d", w.Key("off"))) },
		"another client id": func(c *mqtt.Connect) { c.ClientID = "e" },
		"nobody":            func(c *mqtt.Connect) { c.ClientID, c.UserName = "e", scope+"/registrations/e/api-version=2019-03-31" },
		"another scope":     func(c *mqtt.Connect) { c.UserName = "0ne00000000/registrations/d/api-version=2019-03-31" },
		"no api-version":    func(c *mqtt.Connect) { c.UserName = scope + "/registrations/d/x" },
		"a hub's user name": func(c *mqtt.Connect) { c.UserName = "contoso.azure-devices.net/d/?api-version=2021-04-12" },
		"a will":            func(c *mqtt.Connect) { c.Will = &mqtt.Will{Topic: "x"} },
		"from another side": func(*mqtt.Connect) { w.mu.Lock(); w.denied = true; w.mu.Unlock() },
		"an enrollment that is off": func(c *mqtt.Connect) {
			*c = *connect(w, "off", w.Token("off", w.Key("off")))
		},
	} {
		p := w.dial()
		c := connect(w, "d", good)
		change(c)
		before := len(w.refusals())
		p.send(c)
		if packet, err := p.next(); err != nil || packet != (mqtt.Connack{Code: mqtt.NotAuthorized}) {
			t.Errorf("%s: %#v, %v", name, packet, err)
		}
		if _, err := p.next(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: it stays open: %v", name, err)
		}
		if len(w.refusals()) != before+1 {
			t.Errorf("%s: the log says nothing", name)
		}
		w.mu.Lock()
		w.denied = false
		w.mu.Unlock()
	}
	for user, want := range map[string]bool{
		scope + "/registrations/d/api-version=2019-03-31&ClientVersion=x": true, scope + "/registrations/d/?api-version=2019-03-31": true,
		"contoso.azure-devices.net/d/?api-version=2021-04-12": false, "contoso.azure-devices.net/d/m/?api-version=2021-04-12": false, "": false, "a/registrations//api-version=1": false,
	} {
		if mqttdoor.IsFor(user) != want {
			t.Errorf("%q", user)
		}
	}
}

func TestWhatEndsAConnection(t *testing.T) {
	w := start(t)
	w.Put(`{"registrationId":"d","attestation":{"type":"symmetricKey"}}`)
	token := w.Token("d", w.Key("d"))
	for name, packet := range map[string]mqtt.Packet{
		"another topic":       request(1, "PUT/iotdps-other/?$rid=1", "{}"),
		"a hub's topic":       &mqtt.Publish{Topic: []byte("devices/d/messages/events/"), Payload: []byte("x")},
		"no request id":       request(1, "PUT/iotdps-register/", "{}"),
		"a long request id":   request(1, "PUT/iotdps-register/?$rid="+strings.Repeat("x", 300), "{}"),
		"QoS 2":               &mqtt.Publish{Topic: []byte("$dps/registrations/PUT/iotdps-register/?$rid=1"), QoS: 2, ID: 1},
		"another filter":      &mqtt.Subscribe{ID: 1, Topics: []mqtt.Subscription{{Filter: "#"}}},
		"a second CONNECT":    connect(w, "d", token),
		"a packet of servers": mqtt.Connack{},
		"too large":           &mqtt.Publish{Topic: []byte("x"), Payload: make([]byte, 40<<10)},
	} {
		p := w.dial()
		p.open(connect(w, "d", token))
		b, err := packet.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = p.Write(b) // the door may close before it has all of it
		if got, err := p.next(); err == nil {
			t.Errorf("%s: answered with %#v", name, got)
		}
	}
	p := w.dial()
	p.open(connect(w, "d", token))
	w.mu.Lock()
	w.denied = true // its side was closed meanwhile
	w.mu.Unlock()
	p.send(subscribe(), request(1, "PUT/iotdps-register/?$rid=1", "{}"))
	if got, err := p.next(); err != nil || got.Type() != mqtt.SUBACK {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := p.next(); !errors.Is(err, io.EOF) {
		t.Errorf("from a side that was closed: %v, %v", got, err)
	}
	w.mu.Lock()
	w.denied = false
	w.mu.Unlock()
	p = w.dial()
	c := connect(w, "d", token)
	c.KeepAlive = 1
	p.open(c)
	if _, err := p.next(); !errors.Is(err, io.EOF) { // after a second and a half of silence
		t.Errorf("silence: %v", err)
	}
}
