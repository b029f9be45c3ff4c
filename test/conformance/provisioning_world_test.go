package conformance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub/front"
	hubhttp "github.com/isthmus-io/isthmus/hub/httpdoor"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	hubmqtt "github.com/isthmus-io/isthmus/hub/mqttdoor"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/provisioning/httpdoor"
	"github.com/isthmus-io/isthmus/provisioning/linkedhub"
	"github.com/isthmus-io/isthmus/provisioning/mqttdoor"
	"github.com/isthmus-io/isthmus/provisioning/provisioningtest"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// dps is a provisioning service on the second loopback address, with two hubs on the first that it was given the connection strings of.
type dps struct {
	*provisioningtest.World
	hubs  *hubtest.World
	amqp  string // address
	roots *x509.CertPool
	env   []string
	t     *testing.T
}

func startProvisioning(t *testing.T, change func(*provisioning.Config)) *dps {
	t.Helper()
	o := hubtest.Options{AMQP: amqpDoors{}.of}
	on := []string{"127.0.0.2:0", "127.0.0.2:0", "127.0.0.2:0"}
	standard := []string{"127.0.0.2:8883", "127.0.0.2:443", "127.0.0.2:5671"}
	if standardPorts(t, append(standard, "127.0.0.1:8883", "127.0.0.1:443", "127.0.0.1:5671")...) {
		o.MQTTOn, o.HTTPSOn, o.AMQPOn, on = "127.0.0.1:8883", "127.0.0.1:443", "127.0.0.1:5671", standard
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
	certificate := provisioningtest.Sign(t, ca, provisioningtest.Host, provisioningtest.For(provisioningtest.Host)).TLS()
	at := d.serve(&certificate, on)
	d.amqp, d.roots = at[2], pool(ca.Certificate)

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
		"PORTS=127.0.0.2:8883=" + port(at[0]) + ",127.0.0.2:443=" + port(at[1]) + ",127.0.0.2:5671=" + port(at[2]) + "," + hubPorts(d.hubs),
	}
	return d
}

// serve listens for MQTT, HTTPS and AMQP until the test ends, and returns the addresses. The service shares the hubs' server and has doors of
// its own, as if it were the only one of a hub process.
func (d *dps) serve(certificate *tls.Certificate, on []string) (at []string) {
	d.t.Helper()
	log, clk, hubs := slog.New(slog.DiscardHandler), clock.System{}, d.hubs.Server
	if err := hubs.SetHubs(append(d.hubs.Plans, plan.Hub{
		ID: "uid-dps", Name: "ot/ot-cloud/dps", Type: resource.TypeDPS, HostNames: []string{provisioningtest.Host}, Public: resource.PublicEnabled,
	})); err != nil {
		d.t.Fatal(err)
	}
	fr := front.New(front.Config{}, hubs, func(string) (*tls.Certificate, error) { return certificate, nil }, log, clk)
	devices := mqttdoor.New(mqttdoor.Config{}, d.Server, log, clk)
	mqttOn := hubmqtt.New(hubmqtt.Config{Provisioning: func(ctx context.Context, c *front.Conn, r *mqtt.Reader, connect *mqtt.Connect) {
		devices.Serve(ctx, c, c.Certificates, r, connect)
	}}, hubs, fr, log, clk)
	amqpOn := amqpDoors{registrations: d.Server}.of(d.hubs)
	httpsOn := hubhttp.New(hubhttp.Config{
		Provisioning: httpdoor.New(httpdoor.Config{
			Service:      func(*http.Request) (*provisioning.Service, error) { return d.Service, nil },
			Certificates: func(r *http.Request) []*x509.Certificate { return hubhttp.ArrivalOf(r.Context()).Conn.Certificates },
		}, d.Server, log, clk),
		WebSocket: map[string]func(context.Context, *front.Conn){hubhttp.MQTTOverWebSocket: mqttOn.Handle, hubhttp.AMQPOverWebSocket: amqpOn.Handle},
	}, hubs, fr, log, clk)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i, serve := range []func(context.Context, net.Listener) error{
		mqttOn.Serve, httpsOn.Serve, func(ctx context.Context, ln net.Listener) error { return fr.Serve(ctx, ln, "amqp", amqpOn.Handle) },
	} {
		ln, err := net.Listen("tcp", on[i])
		if err != nil {
			d.t.Fatal(err)
		}
		at = append(at, ln.Addr().String())
		all.Go(func() {
			if err := serve(ctx, ln); err != nil {
				d.t.Error(err)
			}
		})
	}
	d.t.Cleanup(func() {
		cancel()
		all.Wait()
	})
	return at
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
