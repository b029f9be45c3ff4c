package processes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/sas"
)

// Host names of what a hub process of StartHub serves: two hubs of two tenants' services and a provisioning service.
const (
	Contoso  = "contoso.azure-devices.net"
	Fabrikam = "fabrikam.azure-devices.net"
	Fleet    = "fleet.azure-devices-provisioning.net"
)

const hubManifests = `
apiVersion: isthmus/v1
kind: Tenant
metadata: {name: ot}
---
apiVersion: isthmus/v1
kind: Network
metadata: {tenant: ot, name: ot-cloud}
---
apiVersion: isthmus/v1
kind: Service
metadata: {tenant: ot, network: ot-cloud, name: contoso}
spec: {type: iothub, hostName: contoso.azure-devices.net, target: 127.0.0.1, servedBy: hub-1}
---
apiVersion: isthmus/v1
kind: Service
metadata: {tenant: ot, network: ot-cloud, name: fabrikam}
spec: {type: iothub, hostName: fabrikam.azure-devices.net, target: 127.0.0.1, servedBy: hub-1}
---
apiVersion: isthmus/v1
kind: Service
metadata: {tenant: ot, network: ot-cloud, name: fleet}
spec: {type: dps, hostName: fleet.azure-devices-provisioning.net, target: 127.0.0.1, servedBy: hub-1}
`

// Hub is a hub process whose public side is open on two loopback addresses, and what clients need to reach it.
type Hub struct {
	*Process
	Control *Control
	DataDir string
	MQTT    string // host:port
	HTTPS   string // host:port
	AMQP    string // host:port
	CAFile  string
	Roots   *x509.CertPool
}

// StartHub starts a control plane and a hub process that serves Contoso, Fabrikam and Fleet to everybody, and returns when all three show
// their certificates. more are further arguments of `isthmus hub serve`. The working directory needs no root.
func (d *Deployment) StartHub(ctx context.Context, more ...string) (*Hub, error) {
	var at [4]string
	for i := range at {
		var err error
		if at[i], err = FreePort(ctx); err != nil {
			return nil, err
		}
	}
	control, err := d.StartControl(ctx, "", at[0], at[0])
	if err != nil {
		return nil, err
	}
	if _, err := d.CLI(ctx, "", hubManifests, "apply", "-f", "-"); err != nil {
		return nil, err
	}
	if err := d.Join(ctx, "", "", "hub", "ot/ot-cloud", "hub-1"); err != nil {
		return nil, err
	}
	h := &Hub{Control: control, DataDir: d.Data("hub-1"), MQTT: at[1], HTTPS: at[2], AMQP: at[3], CAFile: filepath.Join(d.Dir, "server", "ca.pem"), Roots: x509.NewCertPool()}
	pem, err := os.ReadFile(h.CAFile)
	if err != nil {
		return nil, err
	}
	h.Roots.AppendCertsFromPEM(pem)
	args := append([]string{"hub", "serve", "--data-dir", h.DataDir, "--mqtt", h.MQTT, "--https", h.HTTPS, "--amqp", h.AMQP}, more...)
	if h.Process, err = d.Start("hub", "", nil, args...); err != nil {
		return nil, err
	}
	return h, h.Ready(ctx)
}

// Ready waits until every name is served.
func (h *Hub) Ready(ctx context.Context) error {
	if _, err := h.WaitLog(ctx, "the hub is ready"); err != nil {
		return err
	}
	for _, name := range []string{Contoso, Fabrikam, Fleet} {
		if err := Until(ctx, func() error {
			dialer := tls.Dialer{Config: h.TLS(name)}
			c, err := dialer.DialContext(ctx, "tcp", h.HTTPS)
			if err != nil {
				return err
			}
			return c.Close()
		}); err != nil {
			return fmt.Errorf("%s: %w\n%s", name, err, h.Log())
		}
	}
	return nil
}

// TLS is how a client of one of the names connects.
func (h *Hub) TLS(name string) *tls.Config {
	return &tls.Config{RootCAs: h.Roots, ServerName: name, MinVersion: tls.VersionTLS12}
}

// Local returns the API of one of the hubs through the process's socket. The caller closes it.
func (h *Hub) Local(name string) (*hubclient.Client, error) {
	return hubclient.New(hubclient.Config{Socket: hubclient.Socket(h.DataDir), Hub: name}, clock.System{})
}

// Client returns the API of one of the hubs over HTTPS, for its owner. The caller closes it.
func (h *Hub) Client(ctx context.Context, name string) (*hubclient.Client, error) {
	owner, err := h.Policy(ctx, name, "iothubowner")
	if err != nil {
		return nil, err
	}
	return hubclient.New(hubclient.Config{Connection: owner, Address: h.HTTPS, Roots: h.Roots}, clock.System{})
}

// Policy returns the connection string of a policy of one of the hubs.
func (h *Hub) Policy(ctx context.Context, name, policy string) (sas.ConnectionString, error) {
	local, err := h.Local(name)
	if err != nil {
		return sas.ConnectionString{}, err
	}
	defer local.Close()
	text, err := local.PolicyConnectionString(ctx, policy, "primary")
	if err != nil {
		return sas.ConnectionString{}, err
	}
	return sas.ParseConnectionString(strings.TrimSpace(text))
}

// Terminate asks the process to end as systemd does, and waits.
func (p *Process) Terminate(ctx context.Context) error {
	p.mu.Lock()
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("%s did not end: %w\n%s", p.Role, ctx.Err(), p.Log())
	}
	if !cmd.ProcessState.Success() {
		return errors.New(p.Role + " ended with " + cmd.ProcessState.String())
	}
	return nil
}

// DialTLS connects to a door of the process from a source address, 127.0.0.1 when it is empty.
func (h *Hub) DialTLS(ctx context.Context, source, at string, cfg *tls.Config) (*tls.Conn, error) {
	d := net.Dialer{Timeout: 30 * time.Second}
	if source != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(source)}
	}
	c, err := (&tls.Dialer{NetDialer: &d, Config: cfg}).DialContext(ctx, "tcp", at)
	if err != nil {
		return nil, err
	}
	return c.(*tls.Conn), nil
}
