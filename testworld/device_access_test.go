package testworld_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/isthmus-io/isthmus/access/dialer"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/access/virtualdevice"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/clock/clocktest"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/testworld"
	"github.com/isthmus-io/isthmus/wire/socketstream"
)

const contoso = "contoso.azure-devices.net"

// plant is the standard scenario with a virtual device in plant-7, which leads to something that echoes, and people.
type plant struct {
	*testworld.Scenario
	t          *testing.T
	roots      *x509.CertPool
	alice, bob *testworld.Person
}

func newPlant(t *testing.T) *plant {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	w, err := testworld.Start(ctx, testworld.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := w.Standard(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p := &plant{Scenario: s, t: t, roots: x509.NewCertPool()}
	pem, err := os.ReadFile(w.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	p.roots.AppendCertsFromPEM(pem)
	if err := w.Apply(ctx, `
apiVersion: isthmus/v1
kind: AccessPolicy
metadata: {tenant: ot, name: default}
---
apiVersion: isthmus/v1
kind: Target
metadata: {tenant: ot, network: ot-cloud, name: press-4-echo}
spec: {device: {service: contoso, device: press-4, stream: echo}}
---
apiVersion: isthmus/v1
kind: Target
metadata: {tenant: ot, network: ot-cloud, name: press-4-dead}
spec: {device: {service: contoso, device: press-4, stream: dead}}
---
apiVersion: isthmus/v1
kind: Target
metadata: {tenant: ot, network: ot-cloud, name: press-5}
spec: {device: {service: contoso, device: press-5, stream: echo}}
`); err != nil {
		t.Fatal(err)
	}
	if p.alice, err = w.Person(ctx, "ot", "alice", resource.RoleOperator); err != nil {
		t.Fatal(err)
	}
	if p.bob, err = w.Person(ctx, "ot", "bob", resource.RoleApprover, resource.RoleAuditor); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"press-4", "press-5"} {
		if _, err := p.hub().CreateDevice(ctx, device(id)); err != nil {
			t.Fatal(err)
		}
	}
	p.play(ctx)
	return p
}

func (p *plant) hub() *hub.Hub {
	p.t.Helper()
	h, ok := p.HubProcess.Server().ByHost(contoso)
	if !ok {
		p.t.Fatal("the hub is not served")
	}
	return h
}

// dial is the way from plant-7 to the hub: its private endpoint.
func (p *plant) dial(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(p.HubEndpoint.String(), port))
}

// play runs the virtual device press-4 until the test ends, and returns when it is connected.
func (p *plant) play(ctx context.Context) {
	p.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	d, err := p.hub().Device(ctx, "press-4")
	if err != nil {
		p.t.Fatal(err)
	}
	host := virtualdevice.New(virtualdevice.Config{Roots: p.roots, Dial: p.dial}, discard(), clock.System{})
	host.Set([]virtualdevice.Device{{Hub: contoso, ID: "press-4", Key: d.PrimaryKey, Streams: map[string]string{"echo": ln.Addr().String(), "dead": "127.0.0.1:1"}}})
	own, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- host.Run(own) }()
	p.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			p.t.Error(err)
		}
	})
	eventually(p.t, 20*time.Second, "the virtual device connects", func() bool { return host.Status()[0].Connected })
}

func (p *plant) letIn(ctx context.Context, target string) client.Grant {
	p.t.Helper()
	g, err := p.alice.LetIn(ctx, client.GrantRequest{Target: "ot/ot-cloud/" + target, For: time.Hour}, p.bob)
	if err != nil {
		p.t.Fatal(err)
	}
	return g
}

// told waits until the control plane knows how a grant's last session ended.
func (p *plant) told(ctx context.Context, grant string, is func(client.Session) bool) {
	p.t.Helper()
	var last client.Session
	eventually(p.t, 20*time.Second, "the session is told", func() bool {
		list, err := p.bob.Sessions(ctx, client.SessionFilter{Tenant: "ot", Grant: grant, Refused: true})
		if err != nil {
			p.t.Fatal(err)
		}
		if len(list) > 0 {
			last = list[0]
		}
		return len(list) > 0 && is(last)
	})
}

// The whole way: a person's program, the relay, the hub's process, the device's WebSocket, the machine beside it.
func TestAPersonComesToADevice(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	p := newPlant(t)
	g, dead, offline := p.letIn(ctx, "press-4-echo"), p.letIn(ctx, "press-4-dead"), p.letIn(ctx, "press-5")
	d, _, err := p.alice.Dialer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var c dialer.Conn
	if c, err = d.Dial(ctx, g.ID); err != nil {
		t.Fatal(err)
	}
	if err := echoes(c, 4<<20); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(c); len(rest) != 0 || err != nil {
		t.Errorf("%d bytes, %v", len(rest), err)
	}
	p.told(ctx, g.ID, func(s client.Session) bool {
		return s.Phase == session.Ended && s.End == session.EndClosed && s.Sent == 4<<20 && s.Received == 4<<20 && s.Target == "ot/ot-cloud/press-4-echo" && s.Person == "alice of ot"
	})
	for grant, says := range map[string]string{dead.ID: "said no to the stream dead", offline.ID: "is not connected"} {
		if _, err := d.Dial(ctx, grant); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v does not say %q", err, says)
		}
	}
	p.told(ctx, dead.ID, func(s client.Session) bool { return s.End == session.RejectedThere })
	p.told(ctx, offline.ID, func(s client.Session) bool { return s.End == session.Unreachable })

	if c, err = d.Dial(ctx, g.ID); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := echoes(c, 8); err != nil {
		t.Fatal(err)
	}
	watch := clocktest.Start(t)
	if _, err := p.bob.DecideGrant(ctx, g.ID, "revoke", "enough", 0); err != nil {
		t.Fatal(err)
	}
	if took, err := ended(t, c, watch); err == nil || took > 2*time.Second {
		t.Errorf("it ended after %v with %v", took, err)
	}
	p.told(ctx, g.ID, func(s client.Session) bool { return s.End == session.EndRevoked })
}

// A program written for IoT Hub, with the connection string of the grant.
func TestAGrantsConnectionString(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	p := newPlant(t)
	g := p.letIn(ctx, "press-4-echo")
	if g.ConnectionString == "" {
		t.Fatalf("%+v has no connection string", g)
	}
	if others, err := p.bob.Grant(ctx, g.ID); err != nil || others.ConnectionString != "" {
		t.Errorf("it is shown to another: %v", err)
	}
	web := &http.Client{Transport: &http.Transport{DialContext: p.dial, TLSClientConfig: &tls.Config{RootCAs: p.roots, MinVersion: tls.VersionTLS12}}}
	defer web.CloseIdleConnections()
	base := "https://" + net.JoinHostPort(contoso, "8443")
	ask := func(connection string) (status int, header http.Header) {
		t.Helper()
		cs, err := sas.ParseConnectionString(connection)
		if err != nil {
			t.Fatal(err)
		}
		token, err := sas.Sign(cs.HostName, cs.Key, cs.Policy, time.Now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/twins/press-4/streams/echo?api-version=2020-09-30", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", token)
		a, err := web.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = a.Body.Close()
		return a.StatusCode, a.Header
	}
	policy, err := p.hub().PolicyConnectionString(hub.PolicyOwner)
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := ask(policy); status != http.StatusForbidden {
		t.Errorf("the owner's key: %d", status)
	}
	var header http.Header
	eventually(t, 20*time.Second, "the plan with the grant arrives", func() bool {
		var status int
		status, header = ask(g.ConnectionString)
		return status == http.StatusOK
	})
	ws, _, err := websocket.Dial(ctx, header.Get("iothub-streaming-url"), &websocket.DialOptions{ //nolint:bodyclose // it is the connection's
		HTTPClient: web, HTTPHeader: http.Header{"Authorization": {"Bearer " + header.Get("iothub-streaming-auth-token")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := socketstream.New(ctx, ws, func() { _ = ws.CloseNow() })
	defer c.Close()
	if err := echoes(c, 1<<20); err != nil {
		t.Fatal(err)
	}
	watch := clocktest.Start(t)
	if _, err := p.bob.DecideGrant(ctx, g.ID, "revoke", "enough", 0); err != nil {
		t.Fatal(err)
	}
	took, err := ended(t, c, watch)
	if why, ok := errors.AsType[websocket.CloseError](err); !ok || !strings.Contains(why.Reason, "revoked") || took > 2*time.Second {
		t.Errorf("it ended after %v with %v", took, err)
	}
	p.told(ctx, g.ID, func(s client.Session) bool {
		at, _ := netip.ParseAddrPort(s.From)
		return s.End == session.EndRevoked && s.Sent == 1<<20 && s.Received == 1<<20 && s.Person == "alice of ot" && at.IsValid() && s.To == contoso+"/press-4/echo"
	})
	if status, _ := ask(g.ConnectionString); status != http.StatusForbidden {
		t.Errorf("after its end: %d", status)
	}
	list, err := p.bob.Sessions(ctx, client.SessionFilter{Tenant: "ot", Refused: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if strings.HasPrefix(s.Words, "policy iothubowner") && s.End == session.NoGrant {
			return
		}
	}
	t.Errorf("the owner's attempt is not in %+v", list)
}
