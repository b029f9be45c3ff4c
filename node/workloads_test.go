package node

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/coder/websocket"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/builtin"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store/hubstore"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
	"github.com/isthmus-io/isthmus/workload"
	wt "github.com/isthmus-io/isthmus/workload/workloadtest"
)

const (
	lakeHost = "lake.servicebus.example"
	hubHost  = "contoso.hub.example"

	readTelemetry = "telemetry/ConsumerGroups/$Default/Partitions/0"
)

// process is a hub process of a deployment, with a hub and a namespace, which dials come to from the public side.
type process struct {
	t     testing.TB
	ctx   context.Context
	h     *hubProcess
	d     *wt.Deployment
	roots *x509.CertPool
	hubs  []plan.Hub
}

func startProcess(t testing.TB) *process {
	t.Helper()
	clk := clock.System{}
	p := &process{t: t, d: wt.New(t, clk), roots: x509.NewCertPool()}
	p.roots.AddCert(p.d.Authority.Certificate())
	p.hubs = []plan.Hub{
		{ID: "uid-lake", Name: "it/it-cloud/lake", HostNames: []string{lakeHost}, Type: resource.TypeEventHubs, Public: resource.PublicEnabled, EventHubs: []resource.EventHub{{Name: "telemetry", Partitions: 1}, {Name: "other", Partitions: 1}}},
		{ID: "uid-hub", Name: "ot/ot-cloud/contoso", HostNames: []string{hubHost}, Public: resource.PublicEnabled},
	}
	cfg := HubConfig{DataDir: t.TempDir(), MQTT: []string{"127.0.0.1:0"}, HTTPS: []string{"127.0.0.1:0"}, AMQP: []string{"127.0.0.1:0"}}
	cfg.Log.FS = vfs.NewMem()
	cfg.workloads = newWorkloads(func() *x509.CertPool { return p.roots }, clk)
	certs := &localCertificates{authority: p.d.Authority, clock: clk, hosts: []string{lakeHost, hubHost}}
	ctx, stop := context.WithCancel(context.Background())
	limited, cancel := context.WithTimeout(t.Context(), 30*time.Second) // for what never comes
	t.Cleanup(cancel)
	p.ctx = limited
	ready, ended := make(chan struct{}), make(chan error, 1)
	cfg.Ready = func(*hub.Server) { close(ready) }
	h, err := openHub(ctx, cfg, certs.find, hubtest.Silent(), clk, nil)
	if err != nil {
		h.close()
		t.Fatal(err)
	}
	p.h = h
	go func() {
		ended <- h.run(ctx, func(ctx context.Context) error { return h.carryOut(ctx, p.hubs) })
	}()
	t.Cleanup(func() {
		stop()
		p.must(<-ended)
		h.close()
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	return p
}

func (p *process) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// change gives the process another plan.
func (p *process) change(i int, change func(*plan.Hub), revoked ...string) {
	p.t.Helper()
	change(&p.hubs[i])
	p.h.cfg.workloads.carryOut(plan.Plan{Revoked: revoked})
	p.must(p.h.carryOut(p.ctx, p.hubs))
}

// trust closes the public side of both services, but for Bridge.
func (p *process) trust() {
	p.t.Helper()
	for i := range p.hubs {
		p.change(i, func(h *plan.Hub) {
			h.Public, h.Trusted = resource.PublicDisabled, []string{string(wt.Bridge)}
			h.Assignments = []plan.Assignment{wt.Assign(resource.RoleDataSender, ""), wt.Assign(resource.RoleDataReceiver, "")}
			h.Assignments = append(h.Assignments, plan.Assignment{Workload: string(wt.Other), Holders: []string{string(wt.Other)}, Role: resource.RoleDataReceiver})
		})
	}
}

func (p *process) bridge(host string) string {
	return p.d.Token(wt.Agent, wt.Bridge, workload.Audience(host))
}

// root is a token of a key for everything at the namespace.
func (p *process) root() string {
	p.t.Helper()
	text, err := sas.SignText("sb://"+lakeHost+"/", p.rootKey(), eventhub.PolicyRoot, time.Now().Add(time.Hour))
	p.must(err)
	return text
}

func (p *process) rootKey() string {
	p.t.Helper()
	n, _ := p.h.spaces.server.Namespace("uid-lake")
	key, _, err := n.Keys("", eventhub.PolicyRoot)
	p.must(err)
	return key
}

func (p *process) tls(address, name string) *tls.Conn {
	p.t.Helper()
	raw, err := net.Dial("tcp", address)
	p.must(err)
	p.t.Cleanup(func() { _ = raw.Close() })
	return tls.Client(raw, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.roots, ServerName: name})
}

// peer is a connection of AMQP.
type peer struct {
	*amqptest.Client
	p       *process
	host    string
	session *amqptest.Session
	cbs     *amqptest.Requester
}

func (p *process) dial(host string) *peer {
	p.t.Helper()
	return p.over(p.tls(p.h.amqpOn[0].Addr().String(), host), host)
}

func (p *process) over(conn net.Conn, host string) *peer {
	p.t.Helper()
	c, err := amqptest.Connect(p.ctx, conn, amqptest.Options{SASL: amqptest.Anonymous("test"), Hostname: host})
	p.must(err)
	p.t.Cleanup(c.Abort)
	s, err := c.Session(p.ctx)
	p.must(err)
	return &peer{c, p, host, s, nil}
}

func (c *peer) put(kind, token string) (code int32, words string) {
	c.p.t.Helper()
	var err error
	if c.cbs == nil {
		c.cbs, err = c.session.Requester(c.p.ctx, "$cbs")
		c.p.must(err)
	}
	code, words, err = c.cbs.PutToken(c.p.ctx, kind, "sb://"+c.host+"/", token)
	c.p.must(err)
	return code, words
}

// proved is a peer that has shown the bridge's token.
func (c *peer) proved() *peer {
	c.p.t.Helper()
	if code, words := c.put(eventhub.TokenJWT, c.p.bridge(c.host)); code != 202 && code != 200 {
		c.p.t.Fatalf("put-token: %d %s", code, words)
	}
	return c
}

func (c *peer) receiver(address string) *amqptest.Receiver {
	c.p.t.Helper()
	r, err := c.session.Receiver(c.p.ctx, address, 10, nil)
	c.p.must(err)
	return r
}

func (c *peer) sender(address string) *amqptest.Sender {
	c.p.t.Helper()
	s, err := c.session.Sender(c.p.ctx, address, nil)
	c.p.must(err)
	return s
}

// refusal is what a receiver from an address is refused with.
func (c *peer) refusal(address string) *amqp.Error {
	c.p.t.Helper()
	r, err := c.session.Receiver(c.p.ctx, address, 1, nil)
	if err == nil {
		err = r.WaitEnd(c.p.ctx)
	}
	return c.asError(err)
}

func (c *peer) asError(err error) *amqp.Error {
	c.p.t.Helper()
	e, ok := errors.AsType[*amqp.Error](err)
	if !ok {
		c.p.t.Fatalf("refused with %v", err)
	}
	return e
}

// soon runs what must be over within a second after something was changed.
func (p *process) soon(what string, change, over func()) {
	p.t.Helper()
	began := time.Now()
	change()
	over()
	if took := time.Since(began); took > time.Second {
		p.t.Errorf("%s took %s", what, took)
	}
}

func message(t testing.TB, body string) []byte {
	t.Helper()
	m := amqp.Message{Data: [][]byte{[]byte(body)}}
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const guestWords = "only trusted workloads with their identity: a key is not enough"

// TestARoleThatIsTakenAwayCutsWithinASecond: links that stand on a role, or on a key, end with it.
func TestARoleThatIsTakenAwayCutsWithinASecond(t *testing.T) {
	p := startProcess(t)
	roles := func(list ...plan.Assignment) func() {
		return func() { p.change(0, func(h *plan.Hub) { h.Assignments, h.KeysOff = list, false }) }
	}
	give := []plan.Assignment{wt.Assign(resource.RoleDataSender, "telemetry"), wt.Assign(resource.RoleDataReceiver, "")}
	roles(give...)()
	c := p.dial(lakeHost).proved()
	s, r := c.sender("telemetry"), c.receiver(readTelemetry)
	p.must(s.SendAccepted(p.ctx, message(t, "one"), 0))
	if _, err := r.Next(p.ctx); err != nil {
		t.Fatal(err)
	}
	if e := c.refusal("other/ConsumerGroups/nobody/Partitions/0"); e.Condition != amqp.ConditionNotFound {
		t.Errorf("what the role is for, and is not there: %v", e)
	}
	if _, err := c.session.Sender(p.ctx, "other", nil); c.asError(err).Condition != amqp.ConditionUnauthorizedAccess {
		t.Errorf("out of the scope: %v", err)
	}
	p.soon("the sender's end", roles(give[1]), func() {
		if e := c.asError(s.WaitEnd(p.ctx)); e.Condition != amqp.ConditionUnauthorizedAccess || !strings.Contains(e.Description, "'Send' claim(s) are required") {
			t.Errorf("ended with %v", e)
		}
		// The claim as a whole is worth nothing any more: a token that is put again gives what is left.
		if e := c.asError(r.WaitEnd(p.ctx)); e.Condition != amqp.ConditionUnauthorizedAccess {
			t.Errorf("ended with %v", e)
		}
	})
	r = c.proved().receiver(readTelemetry)
	p.soon("a revoked agent's end", func() { p.change(0, func(*plan.Hub) {}, string(wt.Agent)) }, func() { c.asError(r.WaitEnd(p.ctx)) })
	if code, words := c.put(eventhub.TokenJWT, p.bridge(lakeHost)); code != 401 || !strings.Contains(words, "removed from the deployment") {
		t.Errorf("%d %s", code, words)
	}

	byKey := p.dial(lakeHost)
	if code, words := byKey.put(eventhub.TokenSAS, p.root()); code != 202 {
		t.Fatal(code, words)
	}
	r = byKey.receiver(readTelemetry)
	p.soon("a key's end", func() { p.change(0, func(h *plan.Hub) { h.KeysOff = true }) }, func() {
		if e := byKey.asError(r.WaitEnd(p.ctx)); e.Condition != amqp.ConditionUnauthorizedAccess {
			t.Errorf("ended with %v", e)
		}
	})
	if code, words := byKey.put(eventhub.TokenSAS, p.root()); code != 401 || !strings.HasPrefix(words, "LocalAuthDisabled: ") {
		t.Errorf("%d %s", code, words)
	}
	plain := amqptest.Plain(eventhub.PolicyRoot, p.rootKey())
	plain.Hostname = lakeHost
	if _, err := amqptest.Connect(p.ctx, p.tls(p.h.amqpOn[0].Addr().String(), lakeHost), amqptest.Options{SASL: plain, Hostname: lakeHost}); err == nil {
		t.Error("a key as a password is let in")
	}
}

// TestAKeyWithoutIdentityIsNotTrusted: where trusted access is asked, a key opens nothing, and is told why.
func TestAKeyWithoutIdentityIsNotTrusted(t *testing.T) {
	p := startProcess(t)
	root, key := p.root(), p.rootKey()
	p.trust()
	c := p.dial(lakeHost)
	for _, address := range []string{readTelemetry, "$management"} {
		if e := c.refusal(address); e.Condition != amqp.ConditionUnauthorizedAccess || !strings.Contains(e.Description, guestWords) {
			t.Errorf("%s before anything: %v", address, e)
		}
	}
	for name, token := range map[string]string{
		"a key": root, "nothing known": "x", "a provider's": "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.e30.AAAA",
	} {
		for _, kind := range []string{eventhub.TokenSAS, eventhub.TokenJWT} {
			if code, words := c.put(kind, token); code != 401 || !strings.Contains(words, guestWords) {
				t.Errorf("%s as %s: %d %s", name, kind, code, words)
			}
		}
	}
	if code, words := c.put(eventhub.TokenJWT, p.d.Token(wt.Other, wt.Other, lakeHost)); code != 401 || !strings.Contains(words, "not among those it trusts") {
		t.Errorf("a workload with a role: %d %s", code, words)
	}
	if e := c.refusal(readTelemetry); !strings.Contains(e.Description, guestWords) {
		t.Errorf("after all these: %v", e)
	}
	_, _, _ = c.cbs.PutToken(p.ctx, eventhub.TokenSAS, "x", "x")
	<-c.Done() // it was one too many
	plain := amqptest.Plain(eventhub.PolicyRoot, key)
	plain.Hostname = lakeHost
	if _, err := amqptest.Connect(p.ctx, p.tls(p.h.amqpOn[0].Addr().String(), lakeHost), amqptest.Options{SASL: plain, Hostname: lakeHost}); err == nil {
		t.Error("a key as a password is let in")
	}
	status, body := p.post(lakeHost, "/telemetry/messages", root)
	if status != 401 || !strings.Contains(body, guestWords) {
		t.Errorf("over HTTPS: %d %s", status, body)
	}
	for _, refused := range []string{p.d.Token(wt.Other, wt.Other, lakeHost), p.d.Token(wt.Agent, wt.Agent, lakeHost)} {
		if status, body := p.post(lakeHost, "/telemetry/messages", "Bearer "+refused); status != 401 {
			t.Errorf("another workload over HTTPS: %d %s", status, body)
		}
	}
	if status, body = p.post(lakeHost, "/telemetry/messages", "Bearer "+p.bridge(lakeHost)); status != 201 {
		t.Errorf("the trusted one over HTTPS: %d %s", status, body)
	}
}

func (p *process) client() *http.Client {
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, p.h.httpsOn[0].Addr().String())
		},
	}
	p.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func (p *process) post(host, path, authorization string) (int, string) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.ctx, http.MethodPost, "https://"+host+path, strings.NewReader("hello"))
	p.must(err)
	r.Header.Set("Authorization", authorization)
	resp, err := p.client().Do(r)
	p.must(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	p.must(err)
	return resp.StatusCode, string(b)
}

// TestTrustedWorkloads: who is trusted and has a role does what the role gives, and no longer than it lasts.
func TestTrustedWorkloads(t *testing.T) {
	p := startProcess(t)
	p.trust()
	c := p.dial(lakeHost).proved()
	p.must(c.sender("telemetry").SendAccepted(p.ctx, message(t, "one"), 0))
	r := c.receiver(readTelemetry)
	if _, err := r.Next(p.ctx); err != nil {
		t.Fatal(err)
	}
	over := p.socket(lakeHost).proved()
	if _, err := over.receiver("telemetry/ConsumerGroups/$Default/Partitions/0").Next(p.ctx); err != nil {
		t.Errorf("over a WebSocket: %v", err)
	}
	req, err := http.NewRequestWithContext(p.ctx, http.MethodGet, "https://"+lakeHost+"/isthmus/v1/eventhubs/telemetry/messages?follow=1", nil)
	p.must(err)
	req.Header.Set("Authorization", "Bearer "+p.bridge(lakeHost))
	resp, err := p.client().Do(req)
	p.must(err)
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	if line, err := lines.ReadString('\n'); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%d %s %v", resp.StatusCode, line, err)
	}
	p.soon("the end of trust", func() { p.change(0, func(h *plan.Hub) { h.Trusted = []string{string(wt.Other)} }) }, func() {
		<-c.Done()
		<-over.Done()
		if rest, _ := io.ReadAll(lines); len(rest) > 0 {
			t.Errorf("%q came", rest)
		}
	})
	p.change(0, func(h *plan.Hub) { h.Trusted = []string{string(wt.Bridge)} })
	c = p.dial(lakeHost).proved()
	r = c.receiver(readTelemetry)
	p.soon("the end of the role", func() { p.change(0, func(h *plan.Hub) { h.Assignments = nil }) }, func() { c.asError(r.WaitEnd(p.ctx)) })
	c = p.dial(lakeHost)
	if code, words := c.put(eventhub.TokenJWT, p.bridge(lakeHost)); code != 401 || !strings.Contains(words, "has no role") {
		t.Errorf("trusted without a role: %d %s", code, words)
	}
	// A side that is opened again cuts nobody.
	p.trust()
	c = p.dial(lakeHost).proved()
	r = c.receiver(readTelemetry)
	p.change(0, func(h *plan.Hub) { h.Public, h.Trusted = resource.PublicEnabled, nil })
	p.must(p.dial(lakeHost).proved().sender("telemetry").SendAccepted(p.ctx, message(t, "two"), 0))
	for range 2 {
		if _, err := r.Next(p.ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGuestsOfAHub: from the public side of a hub a trusted workload reads events, and everything of devices and services stays closed.
func TestGuestsOfAHub(t *testing.T) {
	p := startProcess(t)
	h, _ := p.h.server.ByHost(hubHost)
	d, err := h.CreateDevice(p.ctx, hubstore.Device{ID: "d"})
	p.must(err)
	device, err := sas.Sign(hubHost+"/devices/d", d.PrimaryKey, "", time.Now().Add(time.Hour))
	p.must(err)
	text, err := h.PolicyConnectionString(hub.PolicyService)
	p.must(err)
	service, err := sas.ParseConnectionString(text)
	p.must(err)
	policy, err := sas.Sign(hubHost, service.Key, hub.PolicyService, time.Now().Add(time.Hour))
	p.must(err)
	p.trust()
	p.change(1, func(h *plan.Hub) { h.Assignments = append(h.Assignments, wt.Assign(resource.RoleHubContributor, "")) })
	c := p.dial(hubHost)
	for name, token := range map[string]string{"a device": device, "a policy": policy} {
		if code, words := c.put(eventhub.TokenSAS, token); code != 401 || !strings.Contains(words, guestWords) {
			t.Errorf("%s: %d %s", name, code, words)
		}
	}
	c.proved()
	for _, address := range []string{"/devices/d/messages/devicebound", "/messages/servicebound/feedback", "/devices/d/methods/devicebound", "/messages/serviceBound/filenotifications"} {
		if e := c.refusal(address); e.Condition != amqp.ConditionNotFound && e.Condition != amqp.ConditionNotAllowed && e.Condition != amqp.ConditionUnauthorizedAccess {
			t.Errorf("%s: %v", address, e)
		}
	}
	if s, err := c.session.Sender(p.ctx, "/messages/devicebound", nil); err == nil {
		t.Errorf("commands may be sent: %v", s.Peer())
	}
	c.receiver(builtin.EntityName(h) + "/ConsumerGroups/$Default/Partitions/0")
	for name, plain := range map[string]*amqptest.SASL{
		"a device": amqptest.Plain("d@sas.contoso", device), "a policy": amqptest.Plain(hub.PolicyService+"@sas.root.contoso", policy), "a policy's key": amqptest.Plain(hub.PolicyService, service.Key),
	} {
		plain.Hostname = hubHost
		if _, err := amqptest.Connect(p.ctx, p.tls(p.h.amqpOn[0].Addr().String(), hubHost), amqptest.Options{SASL: plain, Hostname: hubHost}); err == nil {
			t.Errorf("%s as a password is let in", name)
		}
	}
}

// TestGuestsWhoWaitAreBounded: one address has few places for those who prove nothing, and gets them back.
func TestGuestsWhoWaitAreBounded(t *testing.T) {
	p := startProcess(t)
	p.trust()
	try := func() (*peer, error) {
		c, err := amqptest.Connect(p.ctx, p.tls(p.h.amqpOn[0].Addr().String(), lakeHost), amqptest.Options{SASL: amqptest.Anonymous("test"), Hostname: lakeHost})
		if err != nil {
			return nil, err
		}
		t.Cleanup(c.Abort)
		s, err := c.Session(p.ctx)
		return &peer{c, p, lakeHost, s, nil}, err
	}
	var waiting []*peer
	for {
		c, err := try()
		if err != nil {
			break
		}
		if waiting = append(waiting, c); len(waiting) > 100 {
			t.Fatal("there is no end of them")
		}
	}
	if len(waiting) != 16 {
		t.Errorf("%d may wait", len(waiting))
	}
	waiting[0].Abort()
	free, err := try()
	for deadline := time.Now().Add(10 * time.Second); err != nil; free, err = try() {
		if time.Now().After(deadline) {
			t.Fatal("a place that was left stays taken")
		}
	}
	free.proved()
	if _, err := try(); err != nil {
		t.Errorf("who is known still waits: %v", err)
	}
}

// socket connects over a WebSocket.
func (p *process) socket(host string) *peer {
	p.t.Helper()
	c, resp, err := websocket.Dial(p.ctx, "wss://"+host+"/$servicebus/websocket", &websocket.DialOptions{HTTPClient: p.client(), Subprotocols: []string{"AMQPWSB10"}})
	p.must(err)
	if resp.Body != nil {
		_ = resp.Body.Close()
	}
	p.t.Cleanup(func() { _ = c.CloseNow() })
	return p.over(websocket.NetConn(p.ctx, c, websocket.MessageBinary), host)
}
