package node

import (
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
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
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
