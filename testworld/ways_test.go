package testworld_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/agent"
	"github.com/isthmus-io/isthmus/node"
	"github.com/isthmus-io/isthmus/node/agentnode"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/testworld"
)

// TestDirect: an agent that can be reached is reached without the relay, and through it when it no longer can.
func TestDirect(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w, err := testworld.Start(ctx, testworld.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	target := w.Address(8, 5)
	if err := w.Apply(ctx, fmt.Sprintf(`
apiVersion: isthmus/v1
kind: Tenant
metadata: {name: ot}
---
apiVersion: isthmus/v1
kind: Network
metadata: {tenant: ot, name: near}
spec: {addressRanges: [%s]}
---
apiVersion: isthmus/v1
kind: Network
metadata: {tenant: ot, name: far}
---
apiVersion: isthmus/v1
kind: Service
metadata: {tenant: ot, network: far, name: echo}
spec: {type: tcp, target: %s, ports: [{port: 4000}], autoApprove: [ot]}
---
apiVersion: isthmus/v1
kind: PrivateEndpoint
metadata: {tenant: ot, network: near, name: echo}
spec: {service: ot/far/echo}
`, w.Range(7), target)); err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", netip.AddrPortFrom(target, 4000).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go greet(l)
	near, err := w.Agent(ctx, "ot/near", "near", agent.Config{})
	if err != nil {
		t.Fatal(err)
	}
	direct := netip.AddrPortFrom(w.Address(8, 6), 7443).String()
	far, err := w.Agent(ctx, "ot/far", "far", agent.Config{DirectListen: direct})
	if err != nil {
		t.Fatal(err)
	}
	endpoint := netip.AddrPortFrom(w.Address(7, 4), 4000).String()
	eventually(t, 10*time.Second, "greeted through a direct tunnel", func() bool { return greeted(ctx, endpoint) && via(near, "direct") })
	if err := w.Relay().Stop(); err != nil {
		t.Fatal(err)
	}
	if !greeted(ctx, endpoint) {
		t.Error("a direct tunnel needs the relay")
	}
	if err := w.Relay().Start(ctx); err != nil {
		t.Fatal(err)
	}

	// An agent that says it can be reached, where somebody listens who never answers: the same endpoint goes through the relay.
	if err := far.Stop(); err != nil {
		t.Fatal(err)
	}
	silent, err := lc.Listen(ctx, "tcp", direct)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if err := w.Client.Delete(ctx, resource.Key{Kind: resource.KindAgent, Tenant: "ot", Scope: "far", Name: "far"}, "replaced"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.AgentProcess(ctx, "ot/far", "far-2", agentnode.Config{Direct: direct}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "greeted through the relay", func() bool { return greeted(ctx, endpoint) && via(near, w.RelayAddress) })
}

func greet(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = c.Write([]byte("hello"))
		c.Close()
	}
}

func greeted(ctx context.Context, addr string) bool {
	d := net.Dialer{Timeout: 2 * time.Second}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	b := make([]byte, 5)
	n, _ := c.Read(b)
	return string(b[:n]) == "hello"
}

func via(a *testworld.Agent, way string) bool {
	for _, t := range a.Status().Transport.Tunnels {
		if t.Via == way {
			return true
		}
	}
	return false
}

// TestPrivateLinkCertificate: the hub's certificate carries the privatelink name if asked, and not otherwise.
func TestPrivateLinkCertificate(t *testing.T) {
	s := standard(t)
	private := strings.Replace(testworld.HubName, ".", ".privatelink.", 1)
	roots, err := node.TrustFile(s.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	shake := func(name string) error {
		d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 3 * time.Second}, Config: &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS12}}
		c, err := d.DialContext(t.Context(), "tcp", netip.AddrPortFrom(s.HubEndpoint, testworld.MQTTPort).String())
		if err == nil {
			c.Close()
		}
		return err
	}
	if err := shake(testworld.HubName); err != nil {
		t.Fatalf("the public name: %v", err)
	}
	if shake(private) == nil {
		t.Fatal("the privatelink name is in the certificate unasked")
	}
	if err := s.Apply(t.Context(), fmt.Sprintf(`
apiVersion: isthmus/v1
kind: Service
metadata: {tenant: ot, network: ot-cloud, name: contoso}
spec:
  type: iothub
  hostName: contoso.azure-devices.net
  target: %s
  ports: [{port: 8883}, {port: 8443}]
  visibility: [it]
  autoApprove: [ot]
  publicNetworkAccess: Disabled
  proxyProtocol: true
  servedBy: hub-1
  privateLinkCertificate: true
`, s.HubDirect)); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the privatelink name is in the certificate", func() bool { return shake(private) == nil })
	if err := shake(testworld.HubName); err != nil {
		t.Errorf("the public name afterwards: %v", err)
	}
}
