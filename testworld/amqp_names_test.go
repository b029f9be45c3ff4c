package testworld_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/builtin"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/node"
	"github.com/isthmus-io/isthmus/testworld"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// inWebSocket is speak through a WebSocket.
func inWebSocket(ctx context.Context, s *testworld.Scenario, at netip.Addr, host, path, subprotocol string) (*amqptest.Client, error) {
	roots, err := node.TrustFile(s.CAFile)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{}
	to := netip.AddrPortFrom(at, testworld.HTTPSPort).String()
	through := &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: host},
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "tcp", to) },
	}
	socket, _, err := websocket.Dial(ctx, "wss://"+host+":"+strconv.Itoa(testworld.HTTPSPort)+path, &websocket.DialOptions{ //nolint:bodyclose // it is the connection's
		HTTPClient: &http.Client{Transport: through}, Subprotocols: []string{subprotocol},
	})
	if err != nil {
		return nil, err
	}
	if socket.Subprotocol() != subprotocol {
		_ = socket.CloseNow()
		return nil, fmt.Errorf("the subprotocol is %q", socket.Subprotocol())
	}
	return amqptest.Connect(ctx, websocket.NetConn(ctx, socket, websocket.MessageBinary), amqptest.Options{SASL: amqptest.Anonymous("test"), Hostname: host})
}

// A hub has a second name for reading its events, as Azure's have. One private endpoint leads to both names; who asks under the first where the
// events are is sent to the second, and reads there, also through a WebSocket. A second hub, a namespace and a provisioning service are in the
// same process, on the same ports, and none of them is reached through this endpoint.
func TestEventsUnderANameOfTheirOwn(t *testing.T) {
	const name, events = "fabrikam.azure-devices.net", "iothub-ns-fabrikam-1.servicebus.windows.net"
	s := standard(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := s.Apply(ctx, fmt.Sprintf(`
apiVersion: isthmus/v1
kind: Service
metadata: {tenant: ot, network: ot-cloud, name: fabrikam}
spec: {type: iothub, hostName: %[1]s, additionalHostNames: [%[2]s], target: %[3]s, ports: [{port: 8443}, {port: 5671}], publicNetworkAccess: Disabled, proxyProtocol: true, autoApprove: [ot], servedBy: hub-1}
---
apiVersion: isthmus/v1
kind: Service
metadata: {tenant: ot, network: ot-cloud, name: lake}
spec: {type: eventhubs, hostName: lake.servicebus.windows.net, target: %[3]s, publicNetworkAccess: Disabled, servedBy: hub-1}
---
apiVersion: isthmus/v1
kind: Service
metadata: {tenant: ot, network: ot-cloud, name: dps}
spec: {type: dps, hostName: dps.azure-devices-provisioning.net, target: %[3]s, publicNetworkAccess: Disabled, servedBy: hub-1}
---
apiVersion: isthmus/v1
kind: PrivateEndpoint
metadata: {tenant: ot, network: plant-7, name: fabrikam}
spec: {service: ot/ot-cloud/fabrikam}
`, name, events, s.HubDirect))
	if err != nil {
		t.Fatal(err)
	}
	var h *hub.Hub
	eventually(t, 20*time.Second, "all are served", func() bool {
		server := s.HubProcess.Server()
		_, lake := server.ByHost("lake.servicebus.windows.net")
		_, dps := server.ByHost("dps.azure-devices-provisioning.net")
		var ok bool
		h, ok = server.ByHost(events)
		return ok && lake && dps
	})
	if h.HostName() != name || builtin.NamespaceHost(h) != events {
		t.Fatalf("%s, %s", h.HostName(), builtin.NamespaceHost(h))
	}
	var at netip.Addr
	eventually(t, 20*time.Second, "the endpoint has an address, by both names", func() bool {
		e, err := s.Endpoint(ctx, "ot/plant-7/fabrikam")
		if err != nil {
			return false
		}
		at = e.Status.Address
		for _, host := range []string{name, events} {
			addrs, err := s.Resolver(s.PlantDNS).LookupHost(ctx, host)
			if err != nil || len(addrs) != 1 || addrs[0] != at.String() {
				return false
			}
		}
		return true
	})
	text, err := builtin.ConnectionString(h, hub.PolicyService, hub.Primary)
	if err != nil {
		t.Fatal(err)
	}
	reads, err := sas.ParseEventHubs(text)
	if err != nil {
		t.Fatal(err)
	}
	if reads.HostName != events {
		t.Fatalf("the connection string names %s", reads.HostName)
	}
	later := time.Now().Add(time.Hour)
	audience := "sb://" + events + "/" + reads.Entity
	token, err := sas.SignText(audience, reads.Key, reads.Policy, later)
	if err != nil {
		t.Fatal(err)
	}
	service, err := sas.Sign(name, reads.Key, reads.Policy, later)
	if err != nil {
		t.Fatal(err)
	}

	var asks *amqptest.Session
	eventually(t, 20*time.Second, "a back end comes to the hub", func() bool {
		var c *amqptest.Client
		if c, asks, err = speak(ctx, s, at, name, name, service); err == nil {
			t.Cleanup(c.Abort)
		}
		return err == nil
	})
	_, err = asks.Receiver(ctx, "messages/events/ConsumerGroups/$Default/Partitions/0", 1, nil)
	if no, ok := errors.AsType[*amqp.Error](err); !ok || no.Condition != amqp.ConditionLinkRedirect || no.Info.Get("hostname") != events {
		t.Errorf("under the hub's name: %v", err)
	}

	stored, err := h.Stream("")
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range []func() (*amqptest.Session, error){
		func() (*amqptest.Session, error) {
			c, session, err := speak(ctx, s, at, events, audience, token)
			if err == nil {
				t.Cleanup(c.Abort)
			}
			return session, err
		},
		func() (*amqptest.Session, error) {
			c, err := inWebSocket(ctx, s, at, events, "/$servicebus/websocket", "AMQPWSB10")
			if err != nil {
				return nil, err
			}
			t.Cleanup(c.Abort)
			session, err := c.Session(ctx)
			if err != nil {
				return nil, err
			}
			claims, err := session.Requester(ctx, "$cbs")
			if err != nil {
				return nil, err
			}
			code, words, err := claims.PutToken(ctx, "servicebus.windows.net:sastoken", audience, token)
			if err == nil && code/100 != 2 {
				err = fmt.Errorf("%d %s", code, words)
			}
			return session, err
		},
	} {
		session, err := way()
		if err != nil {
			t.Fatal(err)
		}
		partitions, err := stored.Partitions(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for p := range partitions {
			if _, err := session.Receiver(ctx, fmt.Sprintf("%s/ConsumerGroups/$Default/Partitions/%d", reads.Entity, p), 10, nil); err != nil {
				t.Errorf("partition %d: %v", p, err)
			}
		}
	}
	for _, other := range []string{testworld.HubName, "lake.servicebus.windows.net", "dps.azure-devices-provisioning.net"} {
		if c, _, err := speak(ctx, s, at, other, "sb://"+other+"/", token); err == nil {
			c.Abort()
			t.Errorf("the endpoint leads to %s", other)
		}
		if c, err := inWebSocket(ctx, s, at, other, "/$iothub/websocket", "amqp"); err == nil {
			c.Abort()
			t.Errorf("the endpoint leads to %s, in a WebSocket", other)
		}
	}
}
