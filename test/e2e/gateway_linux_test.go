package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/test/processes"
)

// front is the one address that customers allow.
const front = "203.0.113.50"

const frontManifests = `
apiVersion: isthmus/v1
kind: Network
metadata: {tenant: ot, name: front}
spec: {addressRanges: [10.8.0.0/24]}
---
apiVersion: isthmus/v1
kind: PrivateEndpoint
metadata: {tenant: ot, network: front, name: hub}
spec: {service: ot/ot-cloud/contoso, requestMessage: the front door}
---
apiVersion: isthmus/v1
kind: Gateway
metadata: {tenant: ot, network: front, name: front}
spec:
  listeners:
    - {name: mqtt, port: 8883}
    - {name: web, port: 443}
    - {name: api, port: 4443}
  routes:
    - {names: [contoso.azure-devices.net], listeners: [mqtt], endpoint: hub}
    - {names: ["*.azure-devices.net"], listeners: [web], endpoint: hub, port: 8883}
    - {names: [contoso.azure-devices.net], listeners: [api], endpoint: hub, port: 443}
  limits: {drainSeconds: 5}
`

// allow is a customer's allowlist with one rule.
func allow(customer, rule string) string {
	return fmt.Sprintf("apiVersion: isthmus/v1\nkind: Allowlist\nmetadata: {tenant: ot, network: front, name: %s}\nspec:\n  owner: %s\n  rules: [%s]\n", customer, customer, rule)
}

// customer makes a site that can reach the front address and nothing else, and finds the hub's name there by its hosts file.
func (w *world) customer(ctx context.Context, site string) (address string) {
	w.t.Helper()
	must(w.t, w.sites.AddBehind(ctx, site, "127.0.0.1", front))
	must(w.t, os.WriteFile(filepath.Join("/etc/netns", w.sites.Name(site), "hosts"), []byte("127.0.0.1 localhost\n"+front+" contoso.azure-devices.net\n"), 0o644))
	return w.wan(ctx, site).String()
}

// handshake makes a TLS connection from a site to the front address, asking for name.
func (w *world) handshake(site, port, name string) error {
	c, err := w.dial(site, net.JoinHostPort(front, port))
	if err != nil {
		return err
	}
	defer c.Close()
	must(w.t, c.SetDeadline(time.Now().Add(5*time.Second)))
	return tls.Client(c, &tls.Config{ServerName: name, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}).Handshake()
}

// TestGateway: customers in the internet reach a hub that is closed to it, through one address, and only those who may.
func TestGateway(t *testing.T) {
	w := start(t, "isthg")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	berlin, lab := w.customer(ctx, "berlin"), w.customer(ctx, "lab")
	w.apply(ctx, frontManifests)
	w.apply(ctx, allow("fabrikam", "{name: berlin, sources: ["+berlin+"/32], ports: [8883, 4443], names: [contoso.azure-devices.net]}"))
	for _, gw := range []string{"gw-1", "gw-2"} {
		must(t, w.sites.Add(ctx, gw, ""))
		must(t, w.Join(ctx, w.sites.Internet(), w.sites.Name(gw), "gateway", "ot/front", gw))
		w.run(ctx, gw, w.sites.Name(gw), "the gateway is ready", "gateway", "run", "--data-dir", w.Data(gw), "--ready-listen", ":8080", "--notice", "1s")
	}
	lb := w.balance(ctx, "gw-1", "gw-2")
	must(t, processes.Until(ctx, func() error { return lb.waitFor(2) }))
	must(t, processes.Until(ctx, func() error { return w.handshake("berlin", "8883", "contoso.azure-devices.net") }))
	why := func(source, name, port string) string {
		t.Helper()
		return w.cli(ctx, "gateway", "why", "--gateway", "ot/front/front", "--source", source, "--sni", name, "--port", port)
	}

	t.Run("messages of the real SDK", func(t *testing.T) {
		s := w.sender("berlin", w.device(ctx, "berlin-1"), "front", 300, 50)
		must(t, s.wait(ctx, func(acked int, _ bool) bool { return acked == 300 }))
		seen := map[string]bool{}
		for _, e := range w.events(ctx) {
			if e.System["iothub-connection-device-id"] == "berlin-1" {
				seen[checkEvent(t, e, "front")] = true
			}
		}
		if len(seen) != 300 {
			t.Errorf("%d of 300 messages are in the hub", len(seen))
		}
	})

	t.Run("the simulator, with proof", func(t *testing.T) {
		owner, err := w.CLI(ctx, w.sites.Name("otcloud"), "", "hub", "connection-string", "--policy", "iothubowner", "--data-dir", w.Data("hub-1"))
		must(t, err)
		file := filepath.Join(w.Dir, "owner.txt")
		must(t, os.WriteFile(file, []byte(owner), 0o600))
		out, err := w.CLI(ctx, w.sites.Name("berlin"), "", "simulate", "--connection-file", file, "--ca", filepath.Join(w.Dir, "server", "ca.pem"), "--address", front+":8883", "--api-address", front+":4443",
			"--create-devices", "--device-count", "200", "--device-prefix", "line", "--message-count", "20", "--intervals", "20", "--verify", "-o", "json")
		must(t, err)
		var result struct {
			Messages struct {
				Acknowledged int `json:"acknowledged"`
			} `json:"messages"`
		}
		must(t, json.Unmarshal([]byte(out), &result))
		t.Logf("%.600s", out)
		if result.Messages.Acknowledged != 4000 {
			t.Errorf("%d of 4000 messages were acknowledged", result.Messages.Acknowledged)
		}
	})

	t.Run("who may not, and why", func(t *testing.T) {
		for _, c := range []struct{ site, source, name, port, word string }{
			{"lab", lab, "contoso.azure-devices.net", "8883", "no-rule"},
			{"berlin", berlin, "contoso.azure-devices.net", "443", "no-rule"}, // the rule is for 8883
			{"berlin", berlin, "fabrikam.azure-devices.net", "8883", "no-rule"},
		} {
			if w.handshake(c.site, c.port, c.name) == nil {
				t.Errorf("%s reaches %s:%s", c.site, c.name, c.port)
			}
			if got := why(c.source, c.name, c.port); !strings.Contains(got, "refused") {
				t.Errorf("why does not tell of the refusal:\n%s", got)
			}
		}
		if got := why(berlin, "contoso.azure-devices.net", "8883"); !strings.Contains(got, "fabrikam") || !strings.Contains(got, "berlin") {
			t.Errorf("why does not name the rule:\n%s", got)
		}
		must(t, processes.Until(ctx, func() error {
			log := w.roles["gw-1"].Log() + w.roles["gw-2"].Log()
			if !strings.Contains(log, lab) {
				return fmt.Errorf("no gateway logged the refusal of %s", lab)
			}
			return nil
		}))
	})

	t.Run("an allowlist changes under open sessions", func(t *testing.T) {
		kept := w.sender("berlin", w.device(ctx, "berlin-2"), "kept", 0, 5)
		must(t, kept.more(ctx, 20))
		w.apply(ctx, allow("lab", "{name: lab, sources: ["+lab+"/32]}"))
		applied := time.Now()
		cut := w.sender("lab", w.device(ctx, "lab-1"), "cut", 0, 5)
		must(t, cut.more(ctx, 20))
		t.Logf("the lab's device sent through %v after the rule, its start included", time.Since(applied).Round(10*time.Millisecond))
		conn, err := w.dial("lab", front+":8883")
		must(t, err)
		defer conn.Close()
		session := tls.Client(conn, &tls.Config{ServerName: "contoso.azure-devices.net", InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
		must(t, session.Handshake())
		removed := time.Now()
		w.cli(ctx, "delete", "allowlist", "ot/front/lab", "--reason", "the test is over")
		must(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
		if _, err := session.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("the lab's session goes on: %v", err)
		}
		took := time.Since(removed)
		t.Logf("cut %v after the command began", took.Round(time.Millisecond))
		if took > time.Second {
			t.Errorf("the session was cut after %v", took)
		}
		before := cut.count()
		must(t, kept.more(ctx, 50))
		if n := cut.count(); n > before+5 {
			t.Errorf("the lab's device sent %d messages after its rule was gone", n-before)
		}
		kept.mu.Lock()
		defer kept.mu.Unlock()
		opened := 0
		for _, l := range kept.said {
			if strings.Contains(l, `"opened"`) {
				opened++
			}
			if strings.Contains(l, `"failed"`) || strings.Contains(l, `"error"`) {
				t.Errorf("the other session noticed: %s", l)
			}
		}
		if opened != 1 {
			t.Errorf("the other session was opened %d times", opened)
		}
		_ = kept.stdin.Close()
		_ = cut.cmd.Process.Kill()
	})

	t.Run("a rule ends by itself", func(t *testing.T) {
		ends := time.Now().Add(4 * time.Second)
		w.apply(ctx, allow("lab", fmt.Sprintf("{name: lab, sources: [%s/32], expires: %q}", lab, ends.UTC().Format(time.RFC3339Nano))))
		var conn net.Conn
		must(t, processes.Until(ctx, func() (err error) {
			if err := w.handshake("lab", "8883", "contoso.azure-devices.net"); err != nil {
				return err
			}
			conn, err = w.dial("lab", front+":8883")
			return err
		}))
		defer conn.Close()
		session := tls.Client(conn, &tls.Config{ServerName: "contoso.azure-devices.net", InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
		must(t, session.Handshake())
		must(t, conn.SetDeadline(ends.Add(5*time.Second)))
		if _, err := session.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("the session outlives its rule: %v", err)
		}
		if late := time.Since(ends); late < -time.Second || late > time.Second {
			t.Errorf("the session was cut %v after the rule's end", late)
		}
	})

	t.Run("one of two gateways is killed", func(t *testing.T) {
		var fleet []*sender
		for i := range 4 {
			s := w.sender("berlin", w.device(ctx, fmt.Sprintf("fleet-%d", i)), fmt.Sprintf("fleet%d", i), 0, 5)
			must(t, s.more(ctx, 10))
			fleet = append(fleet, s)
		}
		w.roles["gw-1"].Kill()
		must(t, processes.Until(ctx, func() error { return lb.waitFor(1) }))
		for range 50 {
			if err := w.handshake("berlin", "8883", "contoso.azure-devices.net"); err != nil {
				t.Fatalf("a new connection fails with one gateway left: %v", err)
			}
		}
		for _, s := range fleet {
			must(t, s.more(ctx, 50))
		}
		must(t, w.roles["gw-1"].Restart())
		must(t, processes.Until(ctx, func() error { return lb.waitFor(2) }))
		for i, s := range fleet {
			must(t, s.more(ctx, 20))
			_ = s.stdin.Close()
			must(t, s.wait(ctx, func(_ int, ended bool) bool { return ended }))
			stored := map[string]bool{}
			for _, e := range w.events(ctx) {
				if e.System["iothub-connection-device-id"] == fmt.Sprintf("fleet-%d", i) {
					stored[e.Properties["seq"]] = true
				}
			}
			for id := range s.acked {
				if !stored[id] {
					t.Errorf("fleet-%d: message %s was acknowledged and is not in the hub", i, id)
				}
			}
		}
	})

	t.Run("one of two gateways leaves", func(t *testing.T) {
		must(t, processes.Until(ctx, func() error { return lb.waitFor(2) }))
		leaving := w.roles["gw-2"]
		must(t, syscall.Kill(leaving.PID(), syscall.SIGTERM))
		made := 0
		for gone := false; !gone; made++ {
			if err := w.handshake("berlin", "8883", "contoso.azure-devices.net"); err != nil {
				t.Fatalf("connection %d fails while a gateway leaves: %v", made, err)
			}
			gone = strings.Contains(leaving.Log(), "draining connections") && lb.count() == 1
		}
		t.Logf("%d connections while it left, none failed", made)
		if made < 20 {
			t.Errorf("only %d connections were made meanwhile", made)
		}
	})
}
