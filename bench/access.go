package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	worldprocesses "github.com/isthmus-io/isthmus/test/processes"
)

var accessMetrics = []metric{ //nolint:gochecknoglobals // a constant table
	{"bulk1", "one session", "Gbit/s", false},
	{"bulk16", "16 sessions, sum", "Gbit/s", false},
	{"begin", "a session's first byte back, median", "µs", true},
	{"rtt", "a keystroke and its echo, median", "µs", true},
	{"rtt99", "a keystroke and its echo, p99", "µs", true},
	{"idleKiB", "memory per idle session, all processes", "KiB", true},
}

const idleSessions = 500

// measureAccess brings a subject up, takes every figure once, and takes it down.
func measureAccess(ctx context.Context, r *result, s subject, seconds float64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir, err := os.MkdirTemp("", "isthmus-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	target, stop, err := startServer(ctx)
	if err != nil {
		return err
	}
	defer stop()
	p := &processes{dir: dir, pids: map[string]func() int{}}
	defer p.stop()
	w, err := s.start(ctx, target, p)
	if err == nil {
		_, err = driveReady(ctx, w)
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, p.logs())
	}
	add := r.adder(s)
	before := sum(p.residentKiB())
	f, err := driveIdle(ctx, w, idleSessions, func() error {
		if len(p.residentKiB()) > 0 {
			add("idleKiB", float64(sum(p.residentKiB())-before)/idleSessions, figures{})
		}
		return nil
	})
	r.Errors[s.name()] += f.Errors
	if err != nil {
		return fmt.Errorf("%w\n%s", err, p.logs())
	}
	for _, m := range []struct {
		key, mode string
		flows     int
	}{{"bulk1", "bulk", 1}, {"bulk16", "bulk", 16}, {"rtt", "rtt", 1}} {
		f, err := driveOnce(ctx, w, m.mode, m.flows, seconds)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, p.logs())
		}
		switch m.key {
		case "bulk1", "bulk16":
			add(m.key, f.BitsPerSecond/1e9, f)
		case "rtt":
			add("rtt", f.MedianRTT, f)
			add("rtt99", f.P99RTT, figures{})
		}
	}
	took, err := firstBytes(ctx, w.addr)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, p.logs())
	}
	add("begin", took, figures{})
	return nil
}

// firstBytes begins sessions one after the other, and returns how long it took until the first byte was back: the median, in µs.
func firstBytes(ctx context.Context, addr string) (float64, error) {
	var took []float64
	for range 100 { // fewer than one person may begin at once
		begin := time.Now()
		c, err := dial(ctx, addr, 'e')
		if err != nil {
			return 0, err
		}
		_ = c.SetDeadline(begin.Add(10 * time.Second))
		if _, err = c.Write([]byte{1}); err == nil {
			_, err = io.ReadFull(c, make([]byte, 1))
		}
		c.Close()
		if err != nil {
			return 0, err
		}
		took = append(took, float64(time.Since(begin).Nanoseconds())/1000)
	}
	return median(took), nil
}

// isthmusAccess is a grant as in the field: control plane, relay, the machine's slim agent and the person's isthmus connect, each a process of
// its own; agent and person meet at the relay.
type isthmusAccess struct{ *binaries }

func (*isthmusAccess) name() string    { return "isthmus connect" }
func (*isthmusAccess) needs() []string { return []string{"go"} }

const accessManifests = `
apiVersion: isthmus/v1
kind: Tenant
metadata: {name: bench}
---
apiVersion: isthmus/v1
kind: Network
metadata: {tenant: bench, name: far}
---
apiVersion: isthmus/v1
kind: AccessPolicy
metadata: {tenant: bench, name: default}
spec: {approvals: 0, sessions: {each: 1000}}
---
apiVersion: isthmus/v1
kind: Target
metadata: {tenant: bench, network: far, name: load}
spec: {agent: far, address: "%s"}
`

func (s *isthmusAccess) start(ctx context.Context, target string, p *processes) (way, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	d, control, err := s.deploy(ctx, p, fmt.Sprintf(accessManifests, target), "far")
	if err != nil {
		return way{}, err
	}
	return s.person(ctx, d, control, p)
}

// person makes somebody, who asks and is let in at once, and starts his program.
func (s *isthmusAccess) person(ctx context.Context, d *worldprocesses.Deployment, control *worldprocesses.Control, p *processes) (way, error) {
	var secret string
	for _, args := range [][]string{{"person", "create", "alice", "--tenant", "bench", "--roles", "operator"}, {"person", "token", "alice", "--tenant", "bench"}} {
		out, err := d.CLI(ctx, "", "", args...)
		if err != nil {
			return way{}, err
		}
		secret = out
	}
	home := filepath.Join(p.dir, "alice")
	env := []string{"ISTHMUS_CONFIG=" + filepath.Join(home, "contexts.yaml"), "HOME=" + home, "XDG_CONFIG_HOME=" + filepath.Join(home, ".config")}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return way{}, err
	}
	isthmus := func(stdin string, args ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, s.main, args...)
		cmd.Env, cmd.Stdin = append(os.Environ(), env...), strings.NewReader(stdin)
		out, err := cmd.Output()
		if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // it comes as it is
			err = fmt.Errorf("isthmus %s: %w: %s", strings.Join(args, " "), err, exit.Stderr)
		}
		return out, err
	}
	if _, err := isthmus(secret, "login", "--server", control.Address, "--ca-file", filepath.Join(p.dir, "server", "ca.pem"), "--token-file", "-"); err != nil {
		return way{}, err
	}
	out, err := isthmus("", "access", "request", "bench/far/load", "--reason", "to see how fast it is", "-o", "json")
	if err != nil {
		return way{}, err
	}
	var g struct{ ID, State string }
	if err := json.Unmarshal(out, &g); err != nil || g.State != "Approved" {
		return way{}, fmt.Errorf("the grant is %s: %w", out, err)
	}
	local, err := freePort()
	if err != nil {
		return way{}, err
	}
	_, err = p.runEnv(context.WithoutCancel(ctx), env, "connect", s.main, "connect", "bench/far/load", "--local", local)
	return way{addr: local}, err
}

// sshHops is OpenSSH's local forwarding over two hops, as people reach a machine behind a bastion: what is carried is encrypted from end to end
// inside the connection to the bastion.
type sshHops struct{}

func (sshHops) name() string    { return "ssh -J -L" }
func (sshHops) needs() []string { return []string{"sshd", "ssh", "ssh-keygen"} }
func (sshHops) start(ctx context.Context, target string, p *processes) (way, error) {
	near, user, err := startSSHD(ctx, p, "bastion")
	if err != nil {
		return way{}, err
	}
	far, _, err := startSSHD(ctx, p, "machine")
	if err != nil {
		return way{}, err
	}
	entry, err := freePort()
	if err != nil {
		return way{}, err
	}
	config, err := p.file("ssh.conf", fmt.Sprintf("Host *\n  IdentityFile %s\n  IdentitiesOnly yes\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  ExitOnForwardFailure yes\n", user))
	if err != nil {
		return way{}, err
	}
	_, err = p.run(ctx, "ssh", "ssh", "-F", config, "-N", "-J", "127.0.0.1:"+portOf(near), "-L", entry+":"+target, "-p", portOf(far), "127.0.0.1")
	return way{addr: entry}, err
}
