package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// subject is one way from the load's client to its server.
type subject interface {
	// name stands in the table; needs lists the programs it takes from PATH.
	name() string
	needs() []string
	// start brings the way up to the load's server and returns where its client dials. Processes it starts are put into p.
	start(ctx context.Context, target string, p *processes) (way, error)
}

// way is where the load's client dials, and in which network namespace ("" is ours).
type way struct{ addr, netns string }

// processes are what one subject runs; stop ends them all.
type processes struct {
	dir     string // for configuration, keys and logs
	running []*process
	pids    map[string]func() int // of processes that somebody else starts and stops
	ending  []func()              // before they are killed
	undo    []func()
}

type process struct {
	role string
	cmd  *exec.Cmd
}

func (p *processes) run(ctx context.Context, role, program string, args ...string) (*process, error) {
	return p.runEnv(ctx, nil, role, program, args...)
}

func (p *processes) runEnv(ctx context.Context, env []string, role, program string, args ...string) (*process, error) {
	log, err := os.Create(filepath.Join(p.dir, role+".log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), env...)
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	log.Close()
	pr := &process{role, cmd}
	p.running = append(p.running, pr)
	return pr, nil
}

func (p *processes) file(name, text string) (string, error) {
	path := filepath.Join(p.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

func (p *processes) stop() {
	for _, f := range p.ending {
		f()
	}
	for _, pr := range p.running {
		_ = pr.cmd.Process.Kill()
	}
	for _, pr := range p.running {
		_ = pr.cmd.Wait()
	}
	for i := len(p.undo) - 1; i >= 0; i-- {
		p.undo[i]()
	}
	p.running, p.ending, p.undo = nil, nil, nil
}

// logs returns the end of every log, for the error a person reads.
func (p *processes) logs() string {
	var b strings.Builder
	files, _ := filepath.Glob(filepath.Join(p.dir, "*.log"))
	for _, f := range files {
		text, _ := os.ReadFile(f)
		fmt.Fprintf(&b, "--- %s\n%s\n", filepath.Base(f), text[max(0, len(text)-1500):])
	}
	return b.String()
}

// residentKiB sums the resident memory of the subject's processes.
func (p *processes) residentKiB() map[string]int {
	out := map[string]int{}
	for _, pr := range p.running {
		out[pr.role] = residentKiB(pr.cmd.Process.Pid)
	}
	for role, pid := range p.pids {
		out[role] = residentKiB(pid())
	}
	return out
}

// freePort asks the kernel for a loopback port nobody has.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func portOf(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

// waitReady dials until one byte comes back through the way.
func waitReady(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var last error
	for ctx.Err() == nil {
		_, last = rtt(ctx, addr, time.Millisecond)
		if last == nil {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("nothing came through %s within 30 s: %w", addr, last)
}

// cpuSeconds sums the processor time of the subject's processes.
func (p *processes) cpuSeconds() float64 {
	t := 0.0
	for _, pr := range p.running {
		t += cpuSeconds(pr.cmd.Process.Pid)
	}
	return t
}
