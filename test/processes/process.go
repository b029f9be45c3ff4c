package processes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Deployment starts processes of one binary and keeps their directories and logs under Dir.
type Deployment struct {
	Dir    string
	Binary string
	// Env is further environment of whatever runs in a network namespace, by the namespace's name. Set it before anything runs there.
	Env map[string][]string

	mu      sync.Mutex // guards running
	running []*Process
}

// New makes a deployment under dir with a binary that Build made, or any other isthmus.
func New(dir, binary string) *Deployment { return &Deployment{Dir: dir, Binary: binary} }

// Build compiles cmd/isthmus into dir and returns the path. The working directory must be inside the module.
func Build(ctx context.Context, dir, command string, flags ...string) (string, error) {
	out := filepath.Join(dir, filepath.Base(command))
	args := append(append([]string{"build"}, flags...), "-o", out, "github.com/isthmus-io/isthmus/cmd/"+command)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, text)
	}
	return out, nil
}

// Process is one running role.
type Process struct {
	Role string

	d     *Deployment
	netns string
	env   []string
	args  []string

	mu   sync.Mutex // guards the fields below
	cmd  *exec.Cmd
	log  *watchedLog
	done chan struct{}
}

// Start runs the binary with args, in a network namespace unless netns is empty. Its output goes to Dir/ROLE.log.
func (d *Deployment) Start(role, netns string, env []string, args ...string) (*Process, error) {
	p := &Process{Role: role, d: d, netns: netns, env: env, args: args}
	if err := p.start(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.running = append(d.running, p)
	d.mu.Unlock()
	return p, nil
}

func (d *Deployment) command(ctx context.Context, netns string, env, args []string) *exec.Cmd {
	name := d.Binary
	if netns != "" {
		args = append([]string{"netns", "exec", netns, name}, args...)
		name = "ip"
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(append(os.Environ(), "HOME="+d.Dir, "XDG_CONFIG_HOME="+filepath.Join(d.Dir, "config")), slices.Concat(d.Env[netns], env)...)
	dieWithParent(cmd)
	return cmd
}

func (p *Process) start() error {
	f, err := os.OpenFile(filepath.Join(p.d.Dir, p.Role+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cmd := p.d.command(context.Background(), p.netns, p.env, p.args)
	log := &watchedLog{file: f, changed: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		f.Close()
		return err
	}
	done := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.log, p.done = cmd, log, done
	p.mu.Unlock()
	go func() {
		_ = cmd.Wait()
		f.Close()
		close(done)
		log.wake()
	}()
	return nil
}

// PID returns the process id, that of the binary itself also inside a namespace.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid // `ip netns exec` replaces itself
}

// Kill sends SIGKILL and waits for the end.
func (p *Process) Kill() {
	p.mu.Lock()
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	_ = cmd.Process.Kill()
	<-done
}

// Interrupt asks the process to end as Ctrl-C does, and waits.
func (p *Process) Interrupt(ctx context.Context) error {
	p.mu.Lock()
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	_ = cmd.Process.Signal(os.Interrupt)
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s did not end: %w\n%s", p.Role, ctx.Err(), p.Log())
	}
}

// Restart starts a killed process again, with the same arguments and a log that goes on.
func (p *Process) Restart() error { return p.start() }

// Log returns what the running instance has printed so far.
func (p *Process) Log() string {
	p.mu.Lock()
	log := p.log
	p.mu.Unlock()
	return log.text()
}

// WaitLog returns the first line holding text that the running instance prints, or has printed.
func (p *Process) WaitLog(ctx context.Context, text string) (string, error) {
	p.mu.Lock()
	log, done := p.log, p.done
	p.mu.Unlock()
	for {
		changed := log.next()
		for line := range strings.Lines(log.text()) {
			if strings.Contains(line, text) && strings.HasSuffix(line, "\n") {
				return strings.TrimSpace(line), nil
			}
		}
		select {
		case <-changed:
		case <-done:
			if strings.Contains(log.text(), text) {
				continue
			}
			return "", fmt.Errorf("%s ended without printing %q:\n%s", p.Role, text, log.text())
		case <-ctx.Done():
			return "", fmt.Errorf("%s did not print %q: %w\n%s", p.Role, text, ctx.Err(), log.text())
		}
	}
}

// Stop kills everything.
func (d *Deployment) Stop() {
	d.mu.Lock()
	running := d.running
	d.running = nil
	d.mu.Unlock()
	for _, p := range running {
		p.Kill()
	}
}

// Logs returns the last part of every process's log, for a failure's report.
func (d *Deployment) Logs() string {
	var b strings.Builder
	files, _ := filepath.Glob(filepath.Join(d.Dir, "*.log"))
	for _, f := range files {
		text, _ := os.ReadFile(f)
		fmt.Fprintf(&b, "--- %s\n%s\n", filepath.Base(f), text[max(0, len(text)-3000):])
	}
	return b.String()
}

// CLI runs one command to its end and returns its standard output; stdin may be empty.
func (d *Deployment) CLI(ctx context.Context, netns, stdin string, args ...string) (string, error) {
	cmd := d.command(ctx, netns, nil, args)
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("isthmus %s: %w: %s", strings.Join(args, " "), err, errOut.String())
	}
	return out.String(), nil
}

// Until calls check until it succeeds or ctx ends, and then returns its last error. It is for conditions which only another
// process's answer can show; a log line is better where there is one.
func Until(ctx context.Context, check func() error) error {
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// watchedLog keeps what it is given in a file and in memory, and tells when there is more.
type watchedLog struct {
	mu      sync.Mutex // guards the fields below
	file    io.Writer
	buf     bytes.Buffer
	changed chan struct{}
}

func (l *watchedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(b)
	close(l.changed)
	l.changed = make(chan struct{})
	return l.file.Write(b)
}

func (l *watchedLog) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *watchedLog) next() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func (l *watchedLog) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
