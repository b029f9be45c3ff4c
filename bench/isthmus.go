package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	worldprocesses "github.com/isthmus-io/isthmus/test/processes"
)

// binaries are this repository's programs, built once.
type binaries struct {
	dir        string
	main, slim string
	events     string // the load on Azure's libraries
	noEvents   bool   // it could not be built
}

func (b *binaries) build(ctx context.Context) error {
	if b.main != "" {
		return nil
	}
	err := b.folder()
	if err != nil {
		return err
	}
	flags := []string{"-trimpath", "-buildvcs=false", "-ldflags", "-s -w"}
	if b.slim, err = worldprocesses.Build(ctx, b.dir, "isthmus-agent", flags...); err != nil {
		return err
	}
	b.main, err = worldprocesses.Build(ctx, b.dir, "isthmus", flags...)
	return err
}

func (b *binaries) folder() (err error) {
	if b.dir == "" {
		b.dir, err = os.MkdirTemp("", "isthmus-bench-bin-")
	}
	return err
}

func (b *binaries) close() {
	if b.dir != "" {
		_ = os.RemoveAll(b.dir)
	}
}

// isthmus is the private path as in the field: control plane, relay and two slim agents, each its own process; the client dials a
// private endpoint, and the agents meet at the relay, because neither listens.
type isthmus struct{ *binaries }

func (*isthmus) name() string    { return "isthmus" }
func (*isthmus) needs() []string { return []string{"go"} }

func (s *isthmus) sizes() map[string]int64 {
	out := map[string]int64{}
	for _, b := range []string{s.main, s.slim} {
		if info, err := os.Stat(b); err == nil {
			out[filepath.Base(b)] = info.Size()
		}
	}
	return out
}

const benchManifests = `
apiVersion: isthmus/v1
kind: Tenant
metadata: {name: bench}
---
apiVersion: isthmus/v1
kind: Network
metadata: {tenant: bench, name: near}
spec: {addressRanges: [127.200.7.0/24]}
---
apiVersion: isthmus/v1
kind: Network
metadata: {tenant: bench, name: far}
---
apiVersion: isthmus/v1
kind: Service
metadata: {tenant: bench, network: far, name: load}
spec: {type: tcp, hostName: load.bench.example, target: %s, ports: [{port: %s}], autoApprove: [bench]}
---
apiVersion: isthmus/v1
kind: PrivateEndpoint
metadata: {tenant: bench, network: near, name: load}
spec: {service: bench/far/load}
`

func (s *isthmus) start(ctx context.Context, target string, p *processes) (way, error) {
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return way{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, _, err := s.deploy(ctx, p, fmt.Sprintf(benchManifests, host, port), "near", "far"); err != nil {
		return way{}, err
	}
	return way{addr: net.JoinHostPort("127.200.7.4", port)}, nil
}

// deploy brings up a control plane, a relay and a slim agent for each of the networks named, which are the tenant bench's.
func (b *binaries) deploy(ctx context.Context, p *processes, manifests string, networks ...string) (*worldprocesses.Deployment, *worldprocesses.Control, error) {
	if err := b.build(ctx); err != nil {
		return nil, nil, err
	}
	d := worldprocesses.New(p.dir, b.main)
	p.undo = append(p.undo, d.Stop)
	relay, err := worldprocesses.FreePort(ctx)
	if err != nil {
		return nil, nil, err
	}
	control, err := d.StartControl(ctx, "", "127.0.0.1:0", relay)
	if err != nil {
		return nil, nil, err
	}
	if _, err := d.CLI(ctx, "", manifests, "apply", "-f", "-"); err != nil {
		return nil, nil, err
	}
	track := func(role string, pr *worldprocesses.Process, ready string, err error) error {
		if err != nil {
			return err
		}
		p.pids[role] = pr.PID
		_, err = pr.WaitLog(ctx, ready)
		return err
	}
	if err := d.Join(ctx, "", "", "relay", "", "relay", "--address", relay, "--control", control.Address); err != nil {
		return nil, nil, err
	}
	pr, err := d.Start("relay", "", nil, "relay", "run", "--data-dir", d.Data("relay"), "--listen", relay, "--control", control.Address)
	if err := track("relay", pr, "the relay is ready", err); err != nil {
		return nil, nil, err
	}
	for _, a := range networks {
		if err := d.Join(ctx, "", "", "agent", "bench/"+a, a); err != nil {
			return nil, nil, err
		}
		slim := worldprocesses.New(p.dir, b.slim)
		p.undo = append(p.undo, slim.Stop)
		pr, err := slim.Start(a, "", nil, "run", "--data-dir", d.Data(a))
		if err := track(a, pr, "the agent is ready", err); err != nil {
			return nil, nil, err
		}
	}
	return d, control, nil
}
