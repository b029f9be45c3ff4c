package abuse

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/test/processes"
)

// slim is the small agent, built once by the first who asks.
var slim = sync.OnceValues(func() (string, error) { //nolint:gochecknoglobals // built once for the package
	if _, err := program(); err != nil {
		return "", err
	}
	return processes.Build(context.Background(), programDir, "isthmus-agent")
})

const shopManifests = `
apiVersion: isthmus/v1
kind: Tenant
metadata: {name: ot}
---
apiVersion: isthmus/v1
kind: Network
metadata: {tenant: ot, name: plant-7}
spec: {addressRanges: [%[1]s.0/24]}
---
apiVersion: isthmus/v1
kind: Network
metadata: {tenant: ot, name: cloud}
---
apiVersion: isthmus/v1
kind: AccessPolicy
metadata: {tenant: ot, name: default}
spec: {breakGlass: true, sessions: {each: 64}}
---
apiVersion: isthmus/v1
kind: AccessPolicy
metadata: {tenant: ot, name: recorded}
spec: {recording: Required}
---
apiVersion: isthmus/v1
kind: Service
metadata: {tenant: ot, network: cloud, name: historian}
spec: {type: tcp, hostName: historian.plant.example, target: 127.0.0.1, ports: [{port: %[2]s}], autoApprove: [ot]}
---
apiVersion: isthmus/v1
kind: PrivateEndpoint
metadata: {tenant: ot, network: plant-7, name: historian}
spec: {service: ot/cloud/historian}
---
apiVersion: isthmus/v1
kind: Target
metadata: {tenant: ot, network: plant-7, name: echo}
spec: {agent: press-4, address: "%[3]s"}
---
apiVersion: isthmus/v1
kind: Target
metadata: {tenant: ot, network: plant-7, name: elsewhere}
spec: {agent: press-5, address: "%[3]s"}
`

// shop is a deployment with a machine that people are let into: server, relay, and the machine's agent, through which telemetry goes as
// well, to a historian behind another agent.
type shop struct {
	*processes.Deployment
	t      testing.TB
	server *running
	relay  *running
	press  *running // the machine's agent
	admin  *client.Client
	roots  []byte

	address   string // of the API
	relayAt   string
	echo      string // what the target echo leads to
	telemetry string // the private endpoint, which leads to an echo as well
	people    int    // made by fresh
}

// sites makes shops that run at the same time differ in their addresses.
var sites struct { //nolint:gochecknoglobals // of the machine
	sync.Mutex
	n int
}

func loopback() string {
	sites.Lock()
	defer sites.Unlock()
	sites.n++
	return fmt.Sprintf("127.%d.%d", 100+os.Getpid()%100, sites.n)
}

// startShop starts everything. agent is what its agent runs with.
func startShop(t testing.TB, agent ...string) *shop {
	t.Helper()
	small, err := slim()
	must(t, err)
	p := &shop{Deployment: deployment(t), t: t, address: "127.0.0.1:" + freePort(t), relayAt: "127.0.0.1:" + freePort(t)}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(p.Logs())
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*patient)
	defer cancel()
	c, err := p.StartControl(ctx, "", p.address, p.address, "--private-webhooks")
	must(t, err)
	p.server = &running{c.Process, t}
	p.roots, err = os.ReadFile(filepath.Join(p.Dir, "server", "ca.pem"))
	must(t, err)
	p.admin = p.client(c.AdminToken)
	p.echo = echoing(t)
	historian, site := echoing(t), loopback()
	_, port, err := net.SplitHostPort(historian)
	must(t, err)
	p.apply(ctx, fmt.Sprintf(shopManifests, site, port, p.echo))
	must(t, p.Join(ctx, "", "", "relay", "", "r1", "--address", p.relayAt, "--control", p.address))
	p.relay, _ = after(t, p.Deployment, "the relay is ready", "relay", "relay", "run", "--data-dir", p.Data("r1"), "--listen", p.relayAt, "--control", p.address)
	token, err := p.JoinToken(ctx, "", "agent", "ot/plant-7")
	must(t, err)
	machine := processes.New(p.Dir, small)
	t.Cleanup(machine.Stop)
	_, err = machine.CLI(ctx, "", token, "join", "--data-dir", p.Data("press-4"), "--name", "press-4")
	must(t, err)
	p.press, _ = after(t, machine, "the agent is ready", "press-4", append([]string{"run", "--data-dir", p.Data("press-4")}, agent...)...)
	must(t, p.Join(ctx, "", "", "agent", "ot/cloud", "cloud"))
	after(t, p.Deployment, "the agent is ready", "cloud", "agent", "run", "--data-dir", p.Data("cloud"))
	p.telemetry = p.endpoint(ctx, "ot/plant-7/historian") + ":" + port
	await(t, "telemetry", p.reports)
	return p
}

func (p *shop) apply(ctx context.Context, manifests string) {
	p.t.Helper()
	_, err := p.CLI(ctx, "", manifests, "apply", "-f", "-")
	must(p.t, err)
}

func (p *shop) endpoint(ctx context.Context, path string) (address string) {
	p.t.Helper()
	key, err := resource.ParseKey(resource.KindPrivateEndpoint, path)
	must(p.t, err)
	await(p.t, "the endpoint's address", func() error {
		o, err := p.admin.Get(ctx, key)
		if err != nil {
			return err
		}
		a := o.(*resource.PrivateEndpoint).Status.Address
		if !a.IsValid() {
			return errors.New("it has none")
		}
		address = a.String()
		return nil
	})
	return address
}

// client asks the API with a token.
func (p *shop) client(token string) *client.Client {
	p.t.Helper()
	c, err := client.New(client.Config{Addresses: []string{p.address}, Roots: p.roots, Token: token})
	must(p.t, err)
	p.t.Cleanup(c.Close)
	return c
}

// echoing says back what it is told, until the test ends.
func echoing(t testing.TB) (address string) {
	t.Helper()
	return answering(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
}

// answering has each connection answered in a goroutine, until the test ends.
func answering(t testing.TB, answer func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var mu sync.Mutex // guards open
	open := map[net.Conn]struct{}{}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = struct{}{}
			mu.Unlock()
			all.Go(func() {
				answer(c)
				_ = c.Close()
				mu.Lock()
				delete(open, c)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return l.Addr().String()
}

// reports is a machine that sends a measurement, over a connection of its own, and waits until it is there.
func (p *shop) reports() error {
	c, err := net.DialTimeout("tcp", p.telemetry, 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	return echoed(c, 200)
}

// echoed sends n bytes and reads them again.
func echoed(c net.Conn, n int) error {
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	sent, got := bytes.Repeat([]byte("x"), n), make([]byte, n)
	failed := make(chan error, 1)
	go func() { _, err := c.Write(sent); failed <- err }()
	_, err := io.ReadFull(c, got)
	if err != nil {
		_ = c.SetDeadline(time.Unix(1, 0))
	}
	return errors.Join(err, <-failed)
}

// audited returns the tenant's whole log, after its chain was verified.
func (p *shop) audited() (all []client.AuditRecord) {
	p.t.Helper()
	ctx := p.t.Context()
	must(p.t, p.admin.VerifyAudit(ctx))
	for last := int64(0); ; {
		list, err := p.admin.Audit(ctx, client.AuditFilter{Tenant: "ot", After: last, Limit: 1000})
		must(p.t, err)
		if len(list) == 0 {
			return all
		}
		all, last = append(all, list...), list[len(list)-1].Sequence
	}
}

// said counts records that hold all the texts, as they are written out.
func said(records []client.AuditRecord, texts ...string) (n int) {
records:
	for _, r := range records {
		b, _ := json.Marshal(r)
		for _, text := range texts {
			if !strings.Contains(string(b), text) {
				continue records
			}
		}
		n++
	}
	return n
}
