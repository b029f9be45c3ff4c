package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/test/processes"
)

// TestAccess: people come into a machine that only dials out, with the programs they have, for as long as somebody else agreed to; and no longer.
func TestAccess(t *testing.T) {
	w := startWorkshop(t, "istha")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	t.Run("nothing comes in", func(t *testing.T) { w.nothingComesIn(ctx, t) })
	t.Run("who may", func(t *testing.T) { w.whoMay(ctx, t) })
	w.granted(ctx, "alice", "press-ssh", "--for", "1h")
	w.configure(ctx, t)
	t.Run("ssh", func(t *testing.T) { w.ssh(ctx, t) })
	t.Run("scp", func(t *testing.T) { w.scp(ctx, t) })
	t.Run("rsync", func(t *testing.T) { w.rsync(ctx, t) })
	t.Run("ansible", func(t *testing.T) { w.ansible(ctx, t) })
	t.Run("rdp and modbus", func(t *testing.T) { w.anything(ctx, t) })
	t.Run("ten at once", func(t *testing.T) { w.tenAtOnce(ctx, t) })
	t.Run("the relay dies", func(t *testing.T) { w.relayDies(ctx, t) })
	t.Run("revoked", func(t *testing.T) { w.revoked(ctx, t) })
	t.Run("disabled", func(t *testing.T) { w.disabled(ctx, t) })
	t.Run("recorded", func(t *testing.T) { w.recorded(ctx, t) })
	t.Run("break glass", func(t *testing.T) { w.breakGlass(ctx, t) })
	t.Run("expired", func(t *testing.T) { w.expired(ctx, t) })
	t.Run("audit", func(t *testing.T) { w.audited(ctx, t) })
	t.Run("expired without a control plane", func(t *testing.T) { w.expiredAlone(ctx, t) })
}

// nothingComesIn: the machine has no port that anybody could dial, and may itself dial one.
func (w *workshop) nothingComesIn(ctx context.Context, t *testing.T) {
	for _, port := range []string{"22", "443"} {
		if w.dialSite("laptop", "198.51.100.2:"+port) == nil {
			t.Errorf("the machine takes a connection to port %s", port)
		}
	}
	if w.dialSite("press", w.sites.RelayIP+":80") == nil {
		t.Error("the machine dials another port than the relay's")
	}
	_ = ctx
}

func (w *workshop) whoMay(ctx context.Context, t *testing.T) {
	if out, err := w.as(ctx, "alice", "ssh", "ot/plant-7/press-ssh", "--", "true"); err == nil || !strings.Contains(err.Error(), "isthmus access request") {
		t.Errorf("without a grant: %s, %v", out, err)
	}
	id := w.asked(ctx, "alice", "press-ssh")
	// bob is an approver and an operator; still nobody approves what he asked for himself.
	own := w.asked(ctx, "bob", "press-plc")
	for _, c := range []struct{ who, id, words string }{
		{"alice", id, "approver"}, {"bob", own, "nobody approves what he asked for himself"}, {"carol", id, "approver"}, {"mallory", id, "there is no"},
	} {
		if out, err := w.as(ctx, c.who, "access", "approve", c.id); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s approves: %s, %v", c.who, out, err)
		}
	}
	w.must(ctx, "bob", "access", "deny", id, "--reason", "not today")
	for _, args := range [][]string{{"get", "targets", "-o", "json"}, {"access", "list", "-o", "json"}, {"access", "sessions", "-o", "json"}} {
		out := w.must(ctx, "mallory", args...)
		if strings.Contains(out, "press") || strings.Contains(out, "alice") {
			t.Errorf("a foreign tenant sees by %v: %s", args, out)
		}
	}
	if _, err := w.as(ctx, "mallory", "access", "request", "ot/plant-7/press-ssh", "--reason", "let me in"); err == nil || !strings.Contains(err.Error(), "there is no Target") {
		t.Errorf("a foreign tenant asks: %v", err)
	}
	// A port that no target names is no way in for anybody: not for the administrator, whose token is nobody's, and not for who may have the others.
	if _, err := w.CLI(ctx, w.sites.Internet(), "", "access", "request", "ot/plant-7/press-ssh", "--reason", "I may everything"); err == nil || !strings.Contains(err.Error(), "only people") {
		t.Errorf("the administrator asks: %v", err)
	}
	if _, err := w.as(ctx, "alice", "access", "request", "ot/plant-7/press-8080", "--reason", "let me in"); err == nil || !strings.Contains(err.Error(), "there is no Target") {
		t.Errorf("a port without a name: %v", err)
	}
	if _, err := w.as(ctx, "alice", "access", "request", "ot/plant-7/press-ssh", "--reason", "let me in", "--for", "168h"); err == nil || !strings.Contains(err.Error(), "the policy of the target allows") {
		t.Errorf("a week: %v", err)
	}
}

// configure writes the ssh_config that plain programs use.
func (w *workshop) configure(ctx context.Context, t *testing.T) {
	t.Helper()
	text := w.must(ctx, "alice", "access", "ssh-config")
	must(t, os.MkdirAll(filepath.Join(w.home("alice"), ".ssh"), 0o700))
	must(t, os.WriteFile(filepath.Join(w.home("alice"), ".ssh", "config"), []byte(text), 0o600))
}

// host is how plain programs name a target.
func host(target string) string { return "root@" + target + ".plant-7.ot.isthmus" }

// plainSSH is ssh's arguments: it looks for its configuration in the password database's home and not in HOME.
func (w *workshop) plainSSH() []string {
	return []string{"-F", filepath.Join(w.home("alice"), ".ssh", "config")}
}

func (w *workshop) ssh(ctx context.Context, t *testing.T) {
	out := w.must(ctx, "alice", "ssh", "root@ot/plant-7/press-ssh", "--", "echo from the press; exit 0")
	if strings.TrimSpace(out) != "from the press" {
		t.Errorf("%q", out)
	}
	var code interface{ ExitCode() int }
	if _, err := w.as(ctx, "alice", "ssh", "root@ot/plant-7/press-ssh", "--", "exit 42"); !errors.As(err, &code) || code.ExitCode() != 42 {
		t.Errorf("exit code: %v", err)
	}
	if out, err := w.shell(ctx, "alice", "ssh", append(w.plainSSH(), host("press-ssh"), "echo plainly")...); err != nil || !strings.Contains(out, "plainly") {
		t.Errorf("%v: %s", err, out)
	}
	// The certificate names the person, so the machine's own log does.
	if log := w.sshdLog(); !strings.Contains(log, `ID "alice of ot grant `) || strings.Contains(log, "Accepted password") {
		t.Errorf("the machine's log does not say who it was:\n%s", log)
	}
	// Who knows of no certificate is refused by sshd itself, though the way is open.
	if out, err := w.shell(ctx, "alice", "ssh", "-F", "none", "-o", "ProxyCommand=isthmus access proxy %h", "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no",
		"-o", "BatchMode=yes", host("press-ssh"), "true"); err == nil || !strings.Contains(out, "Permission denied") {
		t.Errorf("without a certificate: %v: %s", err, out)
	}
}

// noise makes a file of random bytes and returns its hash.
func noise(t *testing.T, path string, size int64) [32]byte {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	h := sha256.New()
	_, err = io.CopyN(io.MultiWriter(f, h), rand.NewChaCha8([32]byte{1}), size)
	must(t, err)
	return [32]byte(h.Sum(nil))
}

func hashOf(t *testing.T, path string) [32]byte {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	must(t, err)
	return [32]byte(h.Sum(nil))
}

func (w *workshop) scp(ctx context.Context, t *testing.T) {
	from, there, back := filepath.Join(w.Dir, "100mb"), filepath.Join(w.Dir, "100mb-there"), filepath.Join(w.Dir, "100mb-back")
	want := noise(t, from, 100<<20)
	begin := time.Now()
	if _, err := w.shell(ctx, "alice", "scp", append(w.plainSSH(), "-q", from, host("press-ssh")+":"+there)...); err != nil {
		t.Fatal(err)
	}
	up := time.Since(begin)
	if _, err := w.shell(ctx, "alice", "scp", append(w.plainSSH(), "-q", host("press-ssh")+":"+there, back)...); err != nil {
		t.Fatal(err)
	}
	if hashOf(t, there) != want || hashOf(t, back) != want {
		t.Error("what arrived is not what was sent")
	}
	t.Logf("100 MiB up in %s, down in %s", up, time.Since(begin)-up)
}

func (w *workshop) rsync(ctx context.Context, t *testing.T) {
	from, there := filepath.Join(w.Dir, "tree"), filepath.Join(w.Dir, "tree-there")
	must(t, os.MkdirAll(filepath.Join(from, "a"), 0o755))
	must(t, os.WriteFile(filepath.Join(from, "a", "b.txt"), []byte("tree"), 0o644))
	if _, err := w.shell(ctx, "alice", "rsync", "-a", "-e", "ssh "+strings.Join(w.plainSSH(), " "), from+"/", host("press-ssh")+":"+there+"/"); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(there, "a", "b.txt")); err != nil || string(b) != "tree" {
		t.Errorf("%q, %v", b, err)
	}
}

func (w *workshop) ansible(ctx context.Context, t *testing.T) {
	out, err := w.shell(ctx, "alice", "ansible", "all", "-i", host("press-ssh")+",", "-m", "ping", "--ssh-common-args", strings.Join(w.plainSSH(), " "),
		"-e", "ansible_python_interpreter=/usr/bin/python3", "-e", "ansible_remote_tmp="+filepath.Join(w.Dir, "ansible"))
	if err != nil || !strings.Contains(out, `"ping": "pong"`) {
		t.Errorf("%v: %s", err, out)
	}
}

// connected runs isthmus connect on the laptop until the test's end, and returns where it listens there.
func (w *workshop) connected(ctx context.Context, t *testing.T, who, target string) (address string) {
	t.Helper()
	l := w.listen("laptop", "127.0.0.1:0")
	address = l.Addr().String()
	l.Close()
	cmd := w.command(ctx, who, binary, "connect", "ot/plant-7/"+target, "--local", address)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("isthmus connect: %s", log.String())
		}
	})
	soon, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	must(t, processes.Until(soon, func() error {
		out, err := w.shell(soon, who, "ss", "-Hltn", "sport", "=", ":"+portOf(address))
		if err == nil && out == "" {
			err = errors.New("nobody listens")
		}
		return err
	}))
	return address
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

func (w *workshop) anything(ctx context.Context, t *testing.T) {
	w.startXRDP(ctx)
	go modbus(w.listen("press", "127.0.0.1:502"))
	w.granted(ctx, "alice", "press-rdp")
	w.granted(ctx, "alice", "press-plc")
	w.granted(ctx, "alice", "press-gone")
	rdp, err := w.dial("laptop", w.connected(ctx, t, "alice", "press-rdp"))
	must(t, err)
	defer rdp.Close()
	if protocol, err := shakeRDP(rdp); err != nil || protocol != 1 {
		t.Errorf("xrdp chose %d, %v; want TLS (1)", protocol, err)
	}
	plc, err := w.dial("laptop", w.connected(ctx, t, "alice", "press-plc"))
	must(t, err)
	defer plc.Close()
	if got, err := readRegisters(plc, 40, 3); err != nil || fmt.Sprint(got) != "[40 41 42]" {
		t.Errorf("%v, %v", got, err)
	}
	// One bad target harms no other.
	gone, err := w.dial("laptop", w.connected(ctx, t, "alice", "press-gone"))
	must(t, err)
	defer gone.Close()
	_ = gone.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := gone.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a target where nobody answers: %v", err)
	}
	if got, err := readRegisters(plc, 1, 1); err != nil || got[0] != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

func (w *workshop) tenAtOnce(ctx context.Context, t *testing.T) {
	address := w.connected(ctx, t, "alice", "press-plc")
	var all sync.WaitGroup
	problems := make(chan error, 20)
	for i := range 10 {
		all.Go(func() {
			c, err := w.dial("laptop", address)
			if err != nil {
				problems <- err
				return
			}
			defer c.Close()
			for n := range uint16(100) {
				got, err := readRegisters(c, n*10+uint16(i), 2)
				if err != nil || got[1] != n*10+uint16(i)+1 {
					problems <- fmt.Errorf("session %d: %v, %w", i, got, err)
					return
				}
			}
		})
		all.Go(func() {
			if out, err := w.shell(ctx, "alice", "ssh", append(w.plainSSH(), host("press-ssh"), fmt.Sprintf("echo %d", i))...); err != nil || !strings.Contains(out, fmt.Sprint(i)) {
				problems <- fmt.Errorf("ssh %d: %w", i, err)
			}
		})
	}
	all.Wait()
	close(problems)
	for err := range problems {
		t.Error(err)
	}
}

// relayDies: a session ends when the way is lost, and the grant stays: the next connection finds a new way by itself.
func (w *workshop) relayDies(ctx context.Context, t *testing.T) {
	address := w.connected(ctx, t, "alice", "press-plc")
	c, err := w.dial("laptop", address)
	must(t, err)
	defer c.Close()
	if _, err := readRegisters(c, 1, 1); err != nil {
		t.Fatal(err)
	}
	// A transfer is under way, and will not end by itself.
	busy := w.command(ctx, "alice", "ssh", append(w.plainSSH(), "-o", "BatchMode=yes", host("press-ssh"), "echo under way; cat /dev/zero")...)
	flood, err := busy.StdoutPipe()
	must(t, err)
	must(t, busy.Start())
	_, err = io.ReadFull(flood, make([]byte, 1<<20))
	must(t, err)
	w.roles["relay"].Kill()
	if n, err := io.Copy(io.Discard, flood); err != nil || busy.Wait() == nil {
		t.Errorf("the transfer ended after %d bytes more as if all were well: %v", n, err)
	}
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the relay is dead, and the session lives: %v", err)
	}
	must(t, w.roles["relay"].Restart())
	soon, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	begin := time.Now()
	must(t, processes.Until(soon, func() error {
		c, err := w.dial("laptop", address)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = readRegisters(c, 1, 1)
		return err
	}))
	t.Logf("a new way after %s", time.Since(begin))
}

// cutAfter tells how long after done was called the connection ended.
func cutAfter(t *testing.T, c net.Conn, done func()) time.Duration {
	t.Helper()
	ended := make(chan time.Time, 1)
	_ = c.SetReadDeadline(time.Time{})
	go func() {
		_, _ = io.Copy(io.Discard, c)
		ended <- time.Now()
	}()
	done()
	begin := time.Now()
	select {
	case at := <-ended:
		return at.Sub(begin)
	case <-time.After(10 * time.Second):
		t.Error("the session was not cut within ten seconds")
		return 10 * time.Second
	}
}

func (w *workshop) plcSession(ctx context.Context, t *testing.T, more ...string) (id string, c net.Conn) {
	t.Helper()
	for _, g := range w.grants(ctx, "alice") {
		if g.Target == "ot/plant-7/press-plc" && g.State == "Approved" {
			w.must(ctx, "alice", "access", "revoke", g.ID, "--reason", "done")
		}
	}
	id = w.granted(ctx, "alice", "press-plc", more...)
	c, err := w.dial("laptop", w.connected(ctx, t, "alice", "press-plc"))
	must(t, err)
	t.Cleanup(func() { c.Close() })
	if _, err := readRegisters(c, 1, 1); err != nil {
		t.Fatal(err)
	}
	return id, c
}

type grantLine struct{ ID, Target, State string }

func (w *workshop) grants(ctx context.Context, who string) []grantLine {
	w.t.Helper()
	var list struct{ Items []grantLine }
	out := w.must(ctx, who, "access", "list", "--all", "-o", "json")
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	return list.Items
}

func (w *workshop) revoked(ctx context.Context, t *testing.T) {
	id, c := w.plcSession(ctx, t)
	took := cutAfter(t, c, func() { w.must(ctx, "bob", "access", "revoke", id, "--reason", "enough") })
	t.Logf("revoked: cut %s after the command returned", took)
	if took > time.Second {
		t.Errorf("the session lived %s longer", took)
	}
}

func (w *workshop) disabled(ctx context.Context, t *testing.T) {
	_, c := w.plcSession(ctx, t)
	other, err := w.dial("laptop", w.connected(ctx, t, "alice", "press-rdp"))
	must(t, err)
	defer other.Close()
	if _, err := shakeRDP(other); err != nil {
		t.Fatal(err)
	}
	const plc = `
apiVersion: isthmus/v1
kind: Target
metadata: {tenant: ot, network: plant-7, name: press-plc}
spec: {agent: press-4, address: "127.0.0.1:502", state: %s}
`
	took := cutAfter(t, c, func() { w.apply(ctx, fmt.Sprintf(plc, "Disabled")) })
	t.Logf("disabled: cut %s after the command returned", took)
	if took > time.Second {
		t.Errorf("the session lived %s longer", took)
	}
	_ = other.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if _, err := other.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("disabling one target harmed another: %v", err)
	}
	w.apply(ctx, fmt.Sprintf(plc, "Enabled"))
}

func (w *workshop) breakGlass(ctx context.Context, t *testing.T) {
	w.must(ctx, "alice", "access", "break-glass", "ot/plant-7/press-ssh", "--reason", "the press is on fire")
	if out := w.must(ctx, "alice", "ssh", "root@ot/plant-7/press-ssh", "--", "echo in"); strings.TrimSpace(out) != "in" {
		t.Errorf("%q", out)
	}
	if line, err := w.roles["server"].WaitLog(ctx, "kind=BreakGlass"); err != nil || !strings.Contains(line, "level=WARN") {
		t.Errorf("%q, %v", line, err)
	}
}

func (w *workshop) expired(ctx context.Context, t *testing.T) {
	begin := time.Now()
	_, c := w.plcSession(ctx, t, "--for", "12s")
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	_, err := io.Copy(io.Discard, c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the grant is over, and the session lives")
	}
	if took := time.Since(begin); took < 10*time.Second || took > 17*time.Second {
		t.Errorf("a grant of 12 s held for %s", took)
	}
}

// expiredAlone: nobody has to tell the machine that a grant is over.
func (w *workshop) expiredAlone(ctx context.Context, t *testing.T) {
	begin := time.Now()
	_, c := w.plcSession(ctx, t, "--for", "15s")
	w.roles["server"].Kill()
	if _, err := readRegisters(c, 5, 1); err != nil {
		t.Errorf("without a control plane the session is gone: %v", err)
	}
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	_, err := io.Copy(io.Discard, c)
	took := time.Since(begin)
	if errors.Is(err, os.ErrDeadlineExceeded) || took > 20*time.Second || took < 12*time.Second {
		t.Errorf("a grant of 15 s held for %s without a control plane: %v", took, err)
	}
	t.Logf("ended after %s", took)
	must(t, w.roles["server"].Restart())
	// What happened meanwhile is told afterwards.
	soon, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	must(t, processes.Until(soon, func() error {
		out, err := w.as(soon, "carol", "access", "sessions", "-o", "json")
		if err == nil && !strings.Contains(out, `"expired"`) {
			err = errors.New("the end of the session has not arrived")
		}
		return err
	}))
}
