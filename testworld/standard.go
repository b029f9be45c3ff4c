package testworld

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/isthmus-io/isthmus/agent"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/node"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// Ports of the standard scenario. They need no root; 443 would.
const (
	MQTTPort  = 8883
	HTTPSPort = 8443
	AMQPPort  = 5671
	DNSPort   = 1053
)

// HubName is the public name of the standard scenario's hub.
const HubName = "contoso.azure-devices.net"

// Scenario is the standard one: tenant ot with the site plant-7 and the cloud network ot-cloud, in which the hub contoso is served;
// tenant it with it-cloud, whose endpoint to the hub is Pending.
type Scenario struct {
	*World
	Plant, Cloud, Office *Agent
	HubProcess           *Hub

	PlantDNS       netip.AddrPort // the resolver of plant-7
	OfficeDNS      netip.AddrPort
	HubEndpoint    netip.Addr // in plant-7
	OfficeEndpoint netip.Addr // in it-cloud, pending
	Historian      netip.AddrPort
	HubDirect      netip.Addr // where the hub itself listens: its public side, which is closed
}

const standard = `
apiVersion: isthmus/v1
kind: Tenant
metadata: {name: ot}
spec: {displayName: Operations}
---
apiVersion: isthmus/v1
kind: Tenant
metadata: {name: it}
spec: {displayName: Office}
---
apiVersion: isthmus/v1
kind: Network
metadata: {tenant: ot, name: plant-7}
spec: {addressRanges: [%[1]s]}
---
apiVersion: isthmus/v1
kind: Network
metadata: {tenant: ot, name: ot-cloud}
---
apiVersion: isthmus/v1
kind: Network
metadata: {tenant: it, name: it-cloud}
spec: {addressRanges: [%[2]s]}
---
apiVersion: isthmus/v1
kind: Service
metadata: {tenant: ot, network: ot-cloud, name: contoso}
spec:
  type: iothub
  hostName: contoso.azure-devices.net
  target: %[3]s
  ports: [{port: 8883}, {port: 8443}, {port: 5671}]
  visibility: [it]
  autoApprove: [ot]
  publicNetworkAccess: Disabled
  proxyProtocol: true
  servedBy: hub-1
---
apiVersion: isthmus/v1
kind: Service
metadata: {tenant: ot, network: ot-cloud, name: historian}
spec:
  type: tcp
  hostName: historian.plant.example
  target: %[3]s
  ports: [{port: 4000}]
  autoApprove: [ot]
---
apiVersion: isthmus/v1
kind: PrivateEndpoint
metadata: {tenant: ot, network: plant-7, name: hub}
spec: {service: ot/ot-cloud/contoso, requestMessage: sensors of hall 3}
---
apiVersion: isthmus/v1
kind: PrivateEndpoint
metadata: {tenant: ot, network: plant-7, name: historian}
spec: {service: ot/ot-cloud/historian}
---
apiVersion: isthmus/v1
kind: PrivateEndpoint
metadata: {tenant: it, network: it-cloud, name: hub}
spec: {service: ot/ot-cloud/contoso, requestMessage: the office would like to read the telemetry}
`

// Standard builds the standard scenario and returns once a device in plant-7 could connect.
func (w *World) Standard(ctx context.Context) (*Scenario, error) {
	s := &Scenario{World: w, HubDirect: w.Address(8, 5)}
	s.PlantDNS, s.OfficeDNS = netip.AddrPortFrom(w.Address(7, 2), DNSPort), netip.AddrPortFrom(w.Address(9, 2), DNSPort)
	s.Historian = netip.AddrPortFrom(s.HubDirect, 4000)
	if err := w.Apply(ctx, fmt.Sprintf(standard, w.Range(7), w.Range(9), s.HubDirect)); err != nil {
		return nil, err
	}
	var err error
	if s.Plant, err = w.Agent(ctx, "ot/plant-7", "plant-7-agent", agent.Config{DNSListen: []string{s.PlantDNS.String()}}); err != nil {
		return nil, err
	}
	if s.Cloud, err = w.Agent(ctx, "ot/ot-cloud", "ot-cloud-agent", agent.Config{}); err != nil {
		return nil, err
	}
	if s.Office, err = w.Agent(ctx, "it/it-cloud", "it-cloud-agent", agent.Config{DNSListen: []string{s.OfficeDNS.String()}}); err != nil {
		return nil, err
	}
	s.HubProcess, err = w.Hub(ctx, "ot/ot-cloud", "hub-1", node.HubConfig{
		MQTT: []string{netip.AddrPortFrom(s.HubDirect, MQTTPort).String()}, HTTPS: []string{netip.AddrPortFrom(s.HubDirect, HTTPSPort).String()},
		AMQP: []string{netip.AddrPortFrom(s.HubDirect, AMQPPort).String()},
	})
	if err != nil {
		return nil, err
	}
	if s.HubEndpoint, err = s.endpointAddress(ctx, "ot/plant-7/hub"); err != nil {
		return nil, err
	}
	if s.OfficeEndpoint, err = s.endpointAddress(ctx, "it/it-cloud/hub"); err != nil {
		return nil, err
	}
	return s, s.ready(ctx)
}

func (s *Scenario) endpointAddress(ctx context.Context, path string) (netip.Addr, error) {
	e, err := s.Endpoint(ctx, path)
	if err != nil {
		return netip.Addr{}, err
	}
	return e.Status.Address, nil
}

// Endpoint reads a private endpoint, TENANT/NETWORK/NAME.
func (w *World) Endpoint(ctx context.Context, path string) (*resource.PrivateEndpoint, error) {
	key, err := resource.ParseKey(resource.KindPrivateEndpoint, path)
	if err != nil {
		return nil, err
	}
	o, err := w.Client.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return o.(*resource.PrivateEndpoint), nil
}

// ready waits until plant-7's endpoint listens, its name resolves, and the hub has its certificate.
func (s *Scenario) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	r := s.Resolver(s.PlantDNS)
	return until(ctx, func() error {
		addrs, err := r.LookupHost(ctx, HubName)
		if err != nil {
			return err
		}
		if len(addrs) != 1 || addrs[0] != s.HubEndpoint.String() {
			return fmt.Errorf("%s resolves to %v", HubName, addrs)
		}
		return s.handshake(ctx)
	})
}

// until calls check with a short pause between until it succeeds or ctx ends.
func until(ctx context.Context, check func() error) error {
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.Wrap("testworld.until", fault.Timeout, errors.Join(ctx.Err(), err), "the world did not come up: "+err.Error())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Resolver asks one of the world's DNS servers and no other, as a device in that network would.
func (w *World) Resolver(server netip.AddrPort) *net.Resolver {
	return &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, server.String())
	}}
}

// Hub returns the hub contoso.
func (s *Scenario) Hub() (*hub.Hub, error) {
	h, ok := s.HubProcess.Server().ByHost(HubName)
	if !ok {
		return nil, fault.New("testworld.Hub", fault.NotFound, "the hub is not served yet")
	}
	return h, nil
}

// Device creates a device, unless it exists, and returns its connection string.
func (s *Scenario) Device(ctx context.Context, id string) (string, error) {
	h, err := s.Hub()
	if err != nil {
		return "", err
	}
	if _, err := h.CreateDevice(ctx, hubstore.Device{ID: id}); err != nil && fault.KindOf(err) != fault.Conflict {
		return "", err
	}
	return h.DeviceConnectionString(ctx, id)
}

// handshake shows that the way from plant-7 to the hub is open, without being a device.
func (s *Scenario) handshake(ctx context.Context) error {
	roots, err := node.TrustFile(s.CAFile)
	if err != nil {
		return err
	}
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 3 * time.Second}, Config: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: HubName}}
	c, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(s.HubEndpoint, MQTTPort).String())
	if err != nil {
		return err
	}
	return c.Close()
}
