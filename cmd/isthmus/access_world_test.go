package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/sshca/sshdtest"
	"github.com/isthmus-io/isthmus/agent"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/testworld"
)

// plant is a world with a machine that only dials out, and people who want to come in.
type plant struct {
	t     *testing.T
	world *testworld.World
	sshd  *sshdtest.Server
	web   string // what the target called web leads to
	bin   string // the folder with this program, as isthmus
}

const plantNouns = `
apiVersion: isthmus/v1
kind: Tenant
metadata: {name: ot}
---
apiVersion: isthmus/v1
kind: Network
metadata: {tenant: ot, name: plant-7}
spec: {addressRanges: [10.7.0.0/24]}
---
apiVersion: isthmus/v1
kind: AccessPolicy
metadata: {tenant: ot, name: default}
spec: {maxMinutes: 120, socks: true}
`

const plantTargets = `
apiVersion: isthmus/v1
kind: Target
metadata: {tenant: ot, network: plant-7, name: press-4-ssh}
spec: {agent: press-4, address: "$SSH", protocol: ssh, ssh: {logins: ["$LOGIN"], hostKeys: ["$KEY"]}}
---
apiVersion: isthmus/v1
kind: Target
metadata: {tenant: ot, network: plant-7, name: press-5-ssh}
spec: {agent: press-4, address: "$SSH", protocol: ssh, ssh: {logins: ["$LOGIN"]}}
---
apiVersion: isthmus/v1
kind: Target
metadata: {tenant: ot, network: plant-7, name: web}
spec: {agent: press-4, address: "$WEB"}
`

func newPlant(t *testing.T) *plant {
	t.Helper()
	for _, program := range []string{"ssh", "scp", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s on this machine", program)
		}
	}
	w, err := testworld.Start(t.Context(), testworld.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	p := &plant{t: t, world: w, bin: t.TempDir()}
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	copyProgram(t, me, filepath.Join(p.bin, "isthmus"))
	p.apply(plantNouns)
	if _, err := w.Agent(t.Context(), "ot/plant-7", "press-4", agent.Config{}); err != nil {
		t.Fatal(err)
	}
	// The tenant's authority is made with the first target, and sshd is told of it as machines are.
	p.apply(strings.NewReplacer("$SSH", "127.0.0.1:22", "$LOGIN", "root", "$KEY", "ssh-ed25519 AAAA", "$WEB", "127.0.0.1:80").Replace(plantTargets))
	authority, err := w.Client.SSHAuthority(t.Context(), "ot")
	if err != nil {
		t.Fatal(err)
	}
	p.sshd = sshdtest.Start(t, []string{authority.Users})
	p.web = startWeb(t)
	p.apply(strings.NewReplacer("$SSH", p.sshd.Address.String(), "$LOGIN", p.sshd.Login, "$KEY", p.sshd.HostKey, "$WEB", p.web).Replace(plantTargets))
	return p
}

// copyProgram makes a program of its own: one that is a link to another starts the other when it starts itself.
func copyProgram(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func startWeb(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "the press says hello") }), ReadHeaderTimeout: time.Second}
	var served sync.WaitGroup
	served.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() { _ = s.Close(); served.Wait() })
	return l.Addr().String()
}

func (p *plant) apply(text string) {
	p.t.Helper()
	if err := p.world.Apply(p.t.Context(), text); err != nil {
		p.t.Fatal(err)
	}
}

// human is a person at a machine of his own.
type human struct {
	p    *plant
	api  *client.Client
	home string
}

// person makes somebody, who logs in.
func (p *plant) person(name string, roles ...string) *human {
	p.t.Helper()
	who, err := p.world.Client.CreatePerson(p.t.Context(), client.PersonRequest{Tenant: "ot", Name: name, Roles: roles})
	if err != nil {
		p.t.Fatal(err)
	}
	secret, _, err := p.world.Client.CreatePersonToken(p.t.Context(), who.UID, "test", time.Hour)
	if err != nil {
		p.t.Fatal(err)
	}
	roots, err := os.ReadFile(p.world.CAFile)
	if err != nil {
		p.t.Fatal(err)
	}
	h := &human{p: p, home: p.t.TempDir()}
	if h.api, err = client.New(client.Config{Addresses: []string{p.world.RelayAddress}, Roots: roots, Token: secret}); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(h.api.Close)
	token := filepath.Join(h.home, "token")
	if err := os.WriteFile(token, []byte(secret), 0o600); err != nil {
		p.t.Fatal(err)
	}
	h.must("isthmus", "login", "--server", p.world.RelayAddress, "--ca-file", p.world.CAFile, "--token-file", token, "--name", "plant seven")
	return h
}

// letIn asks for a target and has it approved.
func (h *human) letIn(approver *human, target string) string {
	h.p.t.Helper()
	g, err := h.api.RequestAccess(h.p.t.Context(), client.GrantRequest{Target: target, Reason: "test", For: time.Hour})
	if err != nil {
		h.p.t.Fatal(err)
	}
	if _, err := approver.api.DecideGrant(h.p.t.Context(), g.ID, "approve", "", 0); err != nil {
		h.p.t.Fatal(err)
	}
	return g.ID
}

// command is a program at the person's machine.
func (h *human) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	if name == "isthmus" {
		name = filepath.Join(h.p.bin, name)
	}
	c := exec.CommandContext(ctx, name, args...)
	c.Env = append(os.Environ(), "HOME="+h.home, "PATH="+h.p.bin+":"+os.Getenv("PATH"), "ISTHMUS_CONFIG="+filepath.Join(h.home, "config dir", "contexts.yaml"), "SSH_AUTH_SOCK=", "GORACE=atexit_sleep_ms=0")
	return c
}

// try runs a program and returns what it printed, errors among it, and its exit code.
func (h *human) try(name string, args ...string) (string, int) {
	h.p.t.Helper()
	out, err := h.command(h.p.t.Context(), name, args...).CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if err != nil && !ok {
		h.p.t.Fatal(err)
	}
	if exit != nil {
		return string(out), exit.ExitCode()
	}
	return string(out), 0
}

func (h *human) must(name string, args ...string) string {
	h.p.t.Helper()
	out, code := h.try(name, args...)
	if code != 0 {
		h.p.t.Fatalf("%s %s: code %d\n%s", name, strings.Join(args, " "), code, out)
	}
	return out
}

func TestPeopleComeIn(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no sshd like this one")
	}
	p := newPlant(t)
	alice, bob := p.person("alice@example.net", "operator"), p.person("bob@example.net", "approver")

	t.Run("without a grant it says what to type", func(t *testing.T) {
		out, code := alice.try("isthmus", "ssh", "plant-7/press-4-ssh")
		if code != 1 || !strings.Contains(out, "isthmus access request ot/plant-7/press-4-ssh --reason") {
			t.Errorf("code %d\n%s", code, out)
		}
		if strings.Count(out, "\n") != 2 {
			t.Errorf("not two lines:\n%s", out)
		}
	})
	t.Run("it asks and waits", func(t *testing.T) {
		c := alice.command(t.Context(), "isthmus", "ssh", "plant-7/press-4-ssh", "--reason", "ticket 4711", "--", "echo let in; exit 7")
		var out lockedText
		c.Stdout, c.Stderr = &out, &out
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		id := ""
		awaitThat(t, "bob sees the request", func() bool {
			list, err := bob.api.Grants(t.Context(), client.GrantFilter{Open: true})
			if err != nil || len(list) == 0 {
				return false
			}
			id = list[0].ID
			return true
		})
		if _, err := bob.api.DecideGrant(t.Context(), id, "approve", "", 0); err != nil {
			t.Fatal(err)
		}
		err := c.Wait()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 7 || !strings.Contains(out.String(), "let in\n") {
			t.Fatalf("%v\n%s\nsshd:\n%s", err, out.String(), p.sshd.Log())
		}
		if !strings.Contains(p.sshd.Log(), "alice@example.net of ot grant "+id) {
			t.Errorf("sshd does not know who came:\n%s", p.sshd.Log())
		}
	})
	t.Run("scp and ssh by ssh_config", func(t *testing.T) {
		config := filepath.Join(alice.home, "ssh.conf")
		if err := os.WriteFile(config, []byte(alice.must("isthmus", "access", "ssh-config")), 0o600); err != nil {
			t.Fatal(err)
		}
		host := "press-4-ssh.plant-7.ot.isthmus"
		if out := alice.must("ssh", "-F", config, "-o", "BatchMode=yes", host, "echo here"); !strings.HasSuffix(out, "here\n") {
			t.Errorf("got %q", out)
		}
		content := make([]byte, 4<<20)
		_, _ = rand.Read(content)
		there := filepath.Join(t.TempDir(), "there")
		here := filepath.Join(t.TempDir(), "here")
		back := filepath.Join(t.TempDir(), "back")
		if err := os.WriteFile(here, content, 0o600); err != nil {
			t.Fatal(err)
		}
		alice.must("scp", "-q", "-F", config, "-o", "BatchMode=yes", here, host+":"+there)
		alice.must("scp", "-q", "-F", config, "-o", "BatchMode=yes", host+":"+there, back)
		got, err := os.ReadFile(back)
		if err != nil || sha256.Sum256(got) != sha256.Sum256(content) {
			t.Errorf("%d bytes came back, %v", len(got), err)
		}
		// What ssh makes of the lines, as it says itself.
		settings := alice.must("ssh", "-G", "-F", config, host)
		for _, want := range []string{"user " + p.sshd.Login, "identitiesonly yes", "stricthostkeychecking true", "updatehostkeys false"} {
			if !strings.Contains(settings, want+"\n") {
				t.Errorf("ssh -G lacks %q:\n%s", want, settings)
			}
		}
		out, code := alice.try("ssh", "-F", config, "-o", "BatchMode=yes", "web.plant-7.ot.isthmus", "true")
		if code != 255 || !strings.Contains(out, "alice@example.net of ot is not let into ot/plant-7/web") {
			t.Errorf("code %d\n%s", code, out)
		}
	})
	t.Run("a key that is not the machine's", func(t *testing.T) {
		_, other := sshdtest.Key(t)
		line := other.Type() + " AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
		p.apply(strings.NewReplacer("$SSH", p.sshd.Address.String(), "$LOGIN", p.sshd.Login, "$KEY", line, "$WEB", p.web).Replace(plantTargets))
		alice.must("isthmus", "access", "certificate", "ot/plant-7/press-4-ssh") // by the pass that was kept
		_ = os.Remove(filepath.Join(alice.folder(t), "pass.json"))
		if out, code := alice.try("isthmus", "ssh", "plant-7/press-4-ssh", "--", "-o", "BatchMode=yes", "true"); code != 255 || !strings.Contains(out, "Host key verification failed") {
			t.Errorf("code %d\n%s", code, out)
		}
		p.apply(strings.NewReplacer("$SSH", p.sshd.Address.String(), "$LOGIN", p.sshd.Login, "$KEY", p.sshd.HostKey, "$WEB", p.web).Replace(plantTargets))
		_ = os.Remove(filepath.Join(alice.folder(t), "pass.json"))
		alice.must("isthmus", "ssh", "plant-7/press-4-ssh", "--", "true")
	})
	t.Run("a machine of which nothing is known", func(t *testing.T) {
		alice.letIn(bob, "ot/plant-7/press-5-ssh")
		if out := alice.must("isthmus", "ssh", "plant-7/press-5-ssh", "--", "echo once"); !strings.HasSuffix(out, "once\n") {
			t.Errorf("got %q", out)
		}
		seen, err := os.ReadFile(filepath.Join(alice.folder(t), "ssh", "press-5-ssh.plant-7.ot.isthmus", "seen_hosts"))
		if err != nil || !strings.Contains(string(seen), strings.Fields(p.sshd.HostKey)[1]) {
			t.Errorf("%q, %v", seen, err)
		}
		alice.must("isthmus", "ssh", "plant-7/press-5-ssh", "--", "-o", "BatchMode=yes", "true")
	})
	web := alice.letIn(bob, "ot/plant-7/web")
	t.Run("any port, listening here", func(t *testing.T) {
		stop, first := alice.starts(t, "isthmus", "connect", "plant-7/web", "plant-7/press-4-ssh=0", "-o", "json")
		var doc struct {
			Listeners []struct{ Target, Address, Grant string }
		}
		if err := json.Unmarshal([]byte(first), &doc); err != nil || len(doc.Listeners) != 2 {
			t.Fatalf("%v in %s", err, first)
		}
		if l := doc.Listeners[0]; l.Target != "ot/plant-7/web" || l.Grant != web {
			t.Errorf("%+v", l)
		}
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if out, err := exec.Command("curl", "-sS", "--max-time", "10", "http://"+doc.Listeners[0].Address+"/").CombinedOutput(); err != nil || string(out) != "the press says hello" {
					t.Errorf("%q, %v", out, err)
				}
			})
		}
		all.Wait()
		stop()
	})
	t.Run("SOCKS", func(t *testing.T) {
		stop, first := alice.starts(t, "isthmus", "socks", "plant-7", "--local", "127.0.0.1:0", "-o", "json")
		var doc struct {
			Address string
			Targets []string
		}
		if err := json.Unmarshal([]byte(first), &doc); err != nil || len(doc.Targets) != 3 {
			t.Fatalf("%v in %s", err, first)
		}
		_, port, _ := net.SplitHostPort(p.web)
		for _, name := range []string{"web", "web.plant-7", "web.plant-7.ot", "web.plant-7.ot.isthmus"} {
			if out, err := exec.Command("curl", "-sS", "--max-time", "10", "--socks5-hostname", doc.Address, "http://"+name+":"+port+"/").CombinedOutput(); err != nil || string(out) != "the press says hello" {
				t.Errorf("%s: %q, %v", name, out, err)
			}
		}
		for _, no := range []string{"web:1", p.web, "example.org:" + port} { // another port, a loopback address, and what is no target
			if out, err := exec.Command("curl", "-sS", "--max-time", "10", "--socks5-hostname", doc.Address, "http://"+no+"/").CombinedOutput(); err == nil {
				t.Errorf("%s: %q", no, out)
			}
		}
		stop()
	})
	t.Run("while the control plane is away", func(t *testing.T) {
		if err := p.world.Server().Stop(); err != nil {
			t.Fatal(err)
		}
		if out := alice.must("isthmus", "ssh", "plant-7/press-4-ssh", "--", "echo still"); !strings.HasSuffix(out, "still\n") {
			t.Errorf("got %q", out)
		}
		if out, code := alice.try("isthmus", "ssh", "plant-7/press-9-ssh"); code != 1 {
			t.Errorf("code %d: %s", code, out)
		}
		if err := p.world.Server().Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("recorded, with the host's certificate", func(t *testing.T) {
		p.apply(strings.Replace(plantNouns, "socks: true", "socks: true, recording: Required", 1))
		awaitThat(t, "the agent has the host's certificate", func() bool {
			out, code := alice.try("isthmus", "ssh", "plant-7/press-4-ssh", "--", "-o", "BatchMode=yes", "echo on record")
			return code == 0 && strings.HasSuffix(out, "on record\n")
		})
		known, err := os.ReadFile(filepath.Join(alice.folder(t), "ssh", "press-4-ssh.plant-7.ot.isthmus", "known_hosts"))
		if err != nil || !strings.HasPrefix(string(known), "@cert-authority press-4-ssh.plant-7.ot.isthmus ssh-ed25519 ") || strings.Count(string(known), "\n") != 1 {
			t.Errorf("%q, %v", known, err)
		}
		p.apply(plantNouns)
		awaitThat(t, "the machine's own key counts again", func() bool {
			out, code := alice.try("isthmus", "ssh", "plant-7/press-4-ssh", "--", "-o", "BatchMode=yes", "echo off record")
			return code == 0 && strings.HasSuffix(out, "off record\n")
		})
	})
	t.Run("another grant than that of the pass", func(t *testing.T) {
		ids, err := alice.api.Grants(t.Context(), client.GrantFilter{Mine: true, Open: true, Target: "ot/plant-7/press-4-ssh"})
		if err != nil || len(ids) != 1 {
			t.Fatalf("%v, %v", ids, err)
		}
		if _, err := bob.api.DecideGrant(t.Context(), ids[0].ID, "revoke", "a new one comes", 0); err != nil {
			t.Fatal(err)
		}
		out, code := "", 0
		awaitThat(t, "the agent has heard of it, and the control plane says who it was", func() bool {
			out, code = alice.try("isthmus", "access", "proxy", "ot/plant-7/press-4-ssh")
			return strings.Contains(out, "Revoked by bob@example.net of ot")
		})
		if code != 1 || strings.Count(out, "\n") != 1 || !strings.Contains(out, "next: ") {
			t.Errorf("code %d, not in one line:\n%s", code, out)
		}
		alice.letIn(bob, "ot/plant-7/press-4-ssh")
		c := alice.command(t.Context(), "isthmus", "access", "proxy", "ot/plant-7/press-4-ssh")
		c.Stdin = strings.NewReader("SSH-2.0-x\r\n")
		if out, err := c.Output(); !strings.HasPrefix(string(out), "SSH-2.0-OpenSSH") {
			t.Errorf("%q, %v", out, err)
		}
		if out := alice.must("isthmus", "ssh", "plant-7/press-4-ssh", "--", "echo again"); !strings.HasSuffix(out, "again\n") {
			t.Errorf("got %q", out)
		}
	})
	t.Run("the grant is taken back", func(t *testing.T) {
		c := alice.command(t.Context(), "isthmus", "connect", "plant-7/web", "-o", "json")
		var out, words lockedText
		c.Stdout, c.Stderr = &out, &words
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		awaitThat(t, "it listens", func() bool { return strings.HasSuffix(out.String(), "}\n") })
		var doc struct{ Listeners []struct{ Address string } }
		if err := json.Unmarshal([]byte(out.String()), &doc); err != nil {
			t.Fatal(err)
		}
		held, err := net.Dial("tcp", doc.Listeners[0].Address)
		if err != nil {
			t.Fatal(err)
		}
		defer held.Close()
		_, _ = io.WriteString(held, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := held.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if _, err := bob.api.DecideGrant(t.Context(), web, "revoke", "the work is done", 0); err != nil {
			t.Fatal(err)
		}
		err = c.Wait()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 || !strings.Contains(words.String(), "error: the grant "+web+" for ot/plant-7/web was revoked by bob@example.net of ot: the work is done\nnext: ") {
			t.Errorf("%v: %s", err, words.String())
		}
	})
	t.Run("nothing that others may read", func(t *testing.T) {
		err := filepath.WalkDir(alice.folder(t), func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err == nil && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
			b, _ := os.ReadFile(path)
			token, _ := os.ReadFile(filepath.Join(alice.home, "token"))
			if bytes.Contains(b, bytes.TrimSpace(token)) {
				t.Errorf("%s holds the token", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		folder := alice.folder(t)
		alice.must("isthmus", "context", "remove", "plant seven")
		if _, err := os.Stat(folder); !os.IsNotExist(err) {
			t.Errorf("the pass outlives its context: %v", err)
		}
	})
}

// folder is where the pass and the keys are.
func (h *human) folder(t *testing.T) string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(h.home, "config dir", "access", "context-*"))
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	return list[0]
}

// starts begins a program that goes on, and returns what ends it and the document it printed first.
func (h *human) starts(t *testing.T, name string, args ...string) (stop func(), first string) {
	t.Helper()
	c := h.command(t.Context(), name, args...)
	var out, errs lockedText
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	awaitThat(t, "it prints", func() bool { return strings.HasSuffix(out.String(), "}\n") })
	return func() {
		_ = c.Process.Signal(os.Interrupt)
		if err := c.Wait(); err != nil {
			t.Errorf("%v: %s", err, errs.String())
		}
	}, out.String()
}

// lockedText is what a process writes while a test reads.
type lockedText struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// awaitThat waits for what another process does.
func awaitThat(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(20 * time.Second); !ok(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("it did not come to pass: %s", what)
		}
	}
}
