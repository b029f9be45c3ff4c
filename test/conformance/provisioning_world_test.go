package conformance

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/provisioning/httpdoor"
	"github.com/isthmus-io/isthmus/provisioning/linkedhub"
	"github.com/isthmus-io/isthmus/provisioning/mqttdoor"
	"github.com/isthmus-io/isthmus/provisioning/provisioningtest"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// dps is a provisioning service on the second loopback address, with two hubs on the first that it was given the connection strings of.
type dps struct {
	*provisioningtest.World
	hubs *hubtest.World
	env  []string
	t    *testing.T
}

func startProvisioning(t *testing.T, change func(*provisioning.Config)) *dps {
	t.Helper()
	o := hubtest.Options{}
	mqttOn, httpsOn := "127.0.0.2:0", "127.0.0.2:0"
	if standardPorts(t, "127.0.0.1:8883", "127.0.0.1:443", "127.0.0.2:8883", "127.0.0.2:443") {
		o.MQTTOn, o.HTTPSOn, mqttOn, httpsOn = "127.0.0.1:8883", "127.0.0.1:443", "127.0.0.2:8883", "127.0.0.2:443"
	}
	d := &dps{hubs: hubtest.Start(t, o), t: t}
	d.World = provisioningtest.Start(t, provisioningtest.Options{Hubs: provisioningtest.NewHubs(), Change: func(c *provisioning.Config) {
		c.RetryAfter = time.Second
		c.Dial = func(_ string, cs sas.ConnectionString) (provisioning.RemoteHub, error) {
			client, err := hubclient.New(hubclient.Config{Connection: cs, Address: d.hubs.HTTPS, Roots: d.hubs.Roots}, clock.System{})
			if err != nil {
				return nil, err
			}
			return linkedhub.New(client), nil
		}
		if change != nil {
			change(c)
		}
	}})
	for _, host := range []string{hubtest.Contoso, hubtest.Fabrikam} {
		text, err := d.hubs.Hub(host).PolicyConnectionString("iothubowner")
		if err == nil {
			err = d.Service.LinkHub(t.Context(), host, text, 1)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ca := provisioningtest.Sign(t, nil, "servers", provisioningtest.CA)
	cfg := &tls.Config{
		Certificates: []tls.Certificate{provisioningtest.Sign(t, ca, provisioningtest.Host, provisioningtest.For(provisioningtest.Host)).TLS()},
		ClientAuth:   tls.RequestClientCert, MinVersion: tls.VersionTLS12,
	}
	mqttAt, httpsAt := d.serve(cfg, mqttOn, httpsOn)

	both := filepath.Join(t.TempDir(), "both.pem")
	hubs, err := os.ReadFile(d.hubs.CAFile)
	if err == nil {
		err = os.WriteFile(both, append(hubs, ca.PEM()...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	d.env = []string{
		"HOST=" + provisioningtest.Host, "SCOPE=" + d.Service.Scope(), "NODE_EXTRA_CA_CERTS=" + both,
		"PORTS=127.0.0.2:8883=" + port(mqttAt) + ",127.0.0.2:443=" + port(httpsAt) + ",8883=" + port(d.hubs.MQTT) + ",443=" + port(d.hubs.HTTPS),
	}
	return d
}

// accepted is a connection as front makes it.
type accepted struct{ net.Conn }

func (accepted) Refuse(string, error) {}

// serve listens for MQTT, and for HTTPS with MQTT over WebSocket, until the test ends.
func (d *dps) serve(cfg *tls.Config, mqttOn, httpsOn string) (mqttAt, httpsAt string) {
	d.t.Helper()
	silent := slog.New(slog.DiscardHandler)
	md := mqttdoor.New(mqttdoor.Config{}, d.Server, silent, clock.System{})
	hd := httpdoor.New(httpdoor.Config{Service: func(r *http.Request) (*provisioning.Service, error) {
		if svc, ok := d.Server.ByName(r.Host); ok {
			return svc, nil
		}
		return nil, fault.New("test", fault.Denied, "another host name")
	}}, d.Server, silent, clock.System{})
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	speak := func(conn net.Conn, state func() tls.ConnectionState) {
		reader := mqtt.NewReader(conn, 1<<16)
		first, body, err := reader.Next()
		if err != nil {
			return
		}
		if p, err := mqtt.Decode(first, body); err == nil {
			md.Serve(ctx, accepted{conn}, state().PeerCertificates, reader, p.(*mqtt.Connect))
		}
	}
	mqttLn, err := net.Listen("tcp", mqttOn)
	if err != nil {
		d.t.Fatal(err)
	}
	all.Go(func() {
		for {
			raw, err := mqttLn.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer raw.Close()
				defer context.AfterFunc(ctx, func() { _ = raw.Close() })()
				c := tls.Server(raw, cfg)
				speak(c, c.ConnectionState)
			})
		}
	})
	httpsLn, err := tls.Listen("tcp", httpsOn, cfg)
	if err != nil {
		d.t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/$iothub/websocket" {
			hd.ServeHTTP(w, r)
			return
		}
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"mqtt"}})
		if err != nil {
			return
		}
		defer ws.CloseNow()
		speak(websocket.NetConn(ctx, ws, websocket.MessageBinary), func() tls.ConnectionState { return *r.TLS })
	})}
	all.Go(func() { _ = srv.Serve(httpsLn) })
	d.t.Cleanup(func() {
		cancel()
		_, _ = mqttLn.Close(), srv.Close()
		all.Wait()
	})
	return mqttLn.Addr().String(), httpsLn.Addr().String()
}

// play starts a scenario of provisioning.js.
func (d *dps) play(t *testing.T, scenario string, env ...string) *script {
	t.Helper()
	return node(t, append(append([]string{}, d.env...), env...), "provisioning.js", scenario)
}

// client returns the API of one of the hubs, for its owner.
func (d *dps) client(host string) *hubclient.Client {
	d.t.Helper()
	text, err := d.hubs.Hub(host).PolicyConnectionString("iothubowner")
	if err != nil {
		d.t.Fatal(err)
	}
	cs, err := sas.ParseConnectionString(text)
	if err != nil {
		d.t.Fatal(err)
	}
	client, err := hubclient.New(hubclient.Config{Connection: cs, Address: d.hubs.HTTPS, Roots: d.hubs.Roots}, clock.System{})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(client.Close)
	return client
}

// twin returns a device's twin at one of the hubs, as its API shows it.
func (d *dps) twin(host, id string) hubclient.Twin {
	d.t.Helper()
	twin, err := d.client(host).Twin(d.t.Context(), id)
	if err != nil {
		d.t.Fatal(err)
	}
	return twin
}

// patch changes tags of a device's twin.
func (d *dps) patch(host, id, tags string) {
	d.t.Helper()
	if _, err := d.client(host).PatchTwin(d.t.Context(), id, hubclient.Twin{Tags: json.RawMessage(tags)}, hubclient.Any); err != nil {
		d.t.Fatal(err)
	}
}
