package testworld_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/clock/clocktest"
	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventhub/eventhubclient"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/builtin"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/node"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/testworld"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// speak opens a connection to a service over TLS and puts a token.
func speak(ctx context.Context, s *testworld.Scenario, at netip.Addr, host, audience, token string) (*amqptest.Client, *amqptest.Session, error) {
	roots, err := node.TrustFile(s.CAFile)
	if err != nil {
		return nil, nil, err
	}
	d := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: host}}
	conn, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(at, testworld.AMQPPort).String())
	if err != nil {
		return nil, nil, err
	}
	c, err := amqptest.Connect(ctx, conn, amqptest.Options{SASL: amqptest.Anonymous("test"), Hostname: host})
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	session, err := c.Session(ctx)
	if err == nil {
		var claims *amqptest.Requester
		if claims, err = session.Requester(ctx, "$cbs"); err == nil {
			var code int32
			var words string
			if code, words, err = claims.PutToken(ctx, eventhub.TokenSAS, audience, token); err == nil && code/100 != 2 {
				err = fmt.Errorf("%d %s", code, words)
			}
		}
	}
	if err != nil {
		c.Abort()
		return nil, nil, err
	}
	return c, session, nil
}

func message(t *testing.T, body string) []byte {
	t.Helper()
	b, err := (&amqp.Message{Data: [][]byte{[]byte(body)}}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A device in the plant speaks AMQP to its hub, and the office of another tenant reads what it sends, each through an endpoint of its own,
// while the public side is closed. The office's is taken back: it is cut within a second, and the device is not.
func TestAnotherTenantReadsEvents(t *testing.T) {
	s := standard(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	office := resource.Key{Kind: resource.KindPrivateEndpoint, Tenant: "it", Scope: "it-cloud", Name: "hub"}
	if _, err := s.Client.Decide(ctx, office, resource.Approve, "agreed with the plant"); err != nil {
		t.Fatal(err)
	}
	h, err := s.Hub()
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.Device(ctx, "press-1")
	if err != nil {
		t.Fatal(err)
	}
	device, err := sas.ParseConnectionString(text)
	if err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	own, err := sas.Sign(testworld.HubName+"/devices/press-1", device.Key, "", later)
	if err != nil {
		t.Fatal(err)
	}
	text, err = builtin.ConnectionString(h, hub.PolicyService, hub.Primary)
	if err != nil {
		t.Fatal(err)
	}
	reads, err := sas.ParseEventHubs(text)
	if err != nil {
		t.Fatal(err)
	}
	audience := "sb://" + testworld.HubName + "/" + reads.Entity
	listen, err := sas.SignText(audience, reads.Key, reads.Policy, later)
	if err != nil {
		t.Fatal(err)
	}
	if c, _, err := speak(ctx, s, s.HubDirect, testworld.HubName, audience, listen); err == nil {
		c.Abort()
		t.Error("somebody reads at the public side, which is closed")
	}

	sensor, session, err := speak(ctx, s, s.HubEndpoint, testworld.HubName, testworld.HubName+"/devices/press-1", own)
	if err != nil {
		t.Fatal(err)
	}
	defer sensor.Abort()
	telemetry, err := session.Sender(ctx, "/devices/press-1/messages/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	var reader *amqptest.Client
	var rows *amqptest.Session
	eventually(t, 20*time.Second, "the office comes to the hub", func() bool {
		reader, rows, err = speak(ctx, s, s.OfficeEndpoint, testworld.HubName, audience, listen)
		return err == nil
	})
	defer reader.Abort()
	came := make(chan string, 8)
	for p := range 4 {
		r, err := rows.Receiver(ctx, fmt.Sprintf("%s/ConsumerGroups/$Default/Partitions/%d", reads.Entity, p), 100, nil)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				d, err := r.Next(ctx)
				if err != nil {
					return
				}
				if m, err := d.Decode(); err == nil {
					came <- fmt.Sprintf("%v: %s", m.MessageAnnotations.Get("iothub-connection-device-id"), m.Data[0])
				}
			}
		}()
	}
	for i := range 3 {
		if err := telemetry.SendAccepted(ctx, message(t, fmt.Sprint("pressure ", i)), 0); err != nil {
			t.Fatal(err)
		}
		if got, want := <-came, fmt.Sprint("press-1: pressure ", i); got != want {
			t.Errorf("the office read %q, wanted %q", got, want)
		}
	}
	watch := clocktest.Start(t)
	if _, err := s.Client.Decide(ctx, office, resource.Reject, "the contract has ended"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-reader.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("the office still reads")
	}
	if took := watch.Took(); took > time.Second {
		t.Errorf("it was cut after %v", took)
	}
	if err := telemetry.SendAccepted(ctx, message(t, "still here"), 0); err != nil {
		t.Errorf("the device: %v", err)
	}
}

// A namespace that its resource declares is reached through an endpoint, for what its policies allow, and by nobody else; when the resource
// goes, whoever speaks to it is cut.
func TestANamespaceByResource(t *testing.T) {
	const name = "plant-events.servicebus.windows.net"
	s := standard(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := s.Apply(ctx, fmt.Sprintf(`
apiVersion: isthmus/v1
kind: Service
metadata: {tenant: ot, network: ot-cloud, name: plant-events}
spec:
  type: eventhubs
  hostName: %s
  target: %s
  publicNetworkAccess: Disabled
  autoApprove: [ot]
  servedBy: hub-1
  eventHubs:
    - {name: telemetry, partitions: 2, policies: [{name: machines, rights: [Send]}]}
---
apiVersion: isthmus/v1
kind: PrivateEndpoint
metadata: {tenant: ot, network: plant-7, name: events}
spec: {service: ot/ot-cloud/plant-events}
`, name, s.HubDirect))
	if err != nil {
		t.Fatal(err)
	}
	api, err := eventhubclient.New(eventhubclient.Config{Socket: filepath.Join(s.Dir, "hub-1", "admin.sock"), Namespace: name}, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	var keys eventhubclient.Keys
	eventually(t, 20*time.Second, "the namespace is served", func() bool {
		keys, err = api.PolicyKeys(ctx, "telemetry", "machines")
		return err == nil
	})
	audience := "sb://" + name + "/telemetry"
	token, err := sas.SignText(audience, keys.Primary, "machines", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	var at netip.Addr
	eventually(t, 20*time.Second, "the endpoint has an address", func() bool {
		e, err := s.Endpoint(ctx, "ot/plant-7/events")
		if err == nil {
			at = e.Status.Address
		}
		return at.IsValid()
	})
	var c *amqptest.Client
	var session *amqptest.Session
	eventually(t, 20*time.Second, "a machine comes to the namespace", func() bool {
		c, session, err = speak(ctx, s, at, name, audience, token)
		return err == nil
	})
	defer c.Abort()
	sender, err := session.Sender(ctx, "telemetry", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := sender.SendAccepted(ctx, message(t, "42"), 0); err != nil {
		t.Fatal(err)
	}
	if r, err := session.Receiver(ctx, "telemetry/ConsumerGroups/$Default/Partitions/0", 1, nil); err == nil {
		if err := r.WaitEnd(ctx); err != nil {
			t.Fatal(err)
		}
		if r.Err() == nil {
			t.Error("who may only send reads")
		}
	}
	if stranger, _, err := speak(ctx, s, s.HubDirect, name, audience, token); err == nil {
		stranger.Abort()
		t.Error("somebody comes in at the public side, which is closed")
	}
	if stranger, _, err := speak(ctx, s, s.HubEndpoint, name, audience, token); err == nil {
		stranger.Abort()
		t.Error("the endpoint of a hub leads to a namespace")
	}
	h, err := api.EventHub(ctx, "telemetry")
	if err != nil || !h.Declared || h.Ends[0].Next+h.Ends[1].Next != 1 {
		t.Errorf("%+v, %v", h, err)
	}
	if _, err := s.Client.Decide(ctx, resource.Key{Kind: resource.KindPrivateEndpoint, Tenant: "ot", Scope: "plant-7", Name: "events"}, resource.Reject, "moved"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.Done():
	case <-time.After(5 * time.Second):
		t.Error("the machine is still connected")
	}
}
