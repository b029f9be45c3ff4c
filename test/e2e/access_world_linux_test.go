package e2e

import (
	"bytes"
	"context"
	wire "encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/test/processes"
)

const accessManifests = `
apiVersion: isthmus/v1
kind: Tenant
metadata: {name: ot}
---
apiVersion: isthmus/v1
kind: Tenant
metadata: {name: elsewhere}
---
apiVersion: isthmus/v1
kind: Network
metadata: {tenant: ot, name: plant-7}
---
apiVersion: isthmus/v1
kind: AccessPolicy
metadata: {tenant: ot, name: default}
spec: {breakGlass: true, socks: true}
---
apiVersion: isthmus/v1
kind: AccessPolicy
metadata: {tenant: ot, name: recorded}
spec: {recording: Required}
---
apiVersion: isthmus/v1
kind: Target
metadata: {tenant: ot, network: plant-7, name: press-ssh}
spec: {agent: press-4, address: "127.0.0.1:22", protocol: ssh, ssh: {logins: [root]}}
---
apiVersion: isthmus/v1
kind: Target
metadata: {tenant: ot, network: plant-7, name: press-shell}
spec: {agent: press-4, address: "127.0.0.1:22", protocol: ssh, policy: recorded, ssh: {logins: [root]}}
---
apiVersion: isthmus/v1
kind: Target
metadata: {tenant: ot, network: plant-7, name: press-rdp}
spec: {agent: press-4, address: "127.0.0.1:3389", protocol: rdp}
---
apiVersion: isthmus/v1
kind: Target
metadata: {tenant: ot, network: plant-7, name: press-plc}
spec: {agent: press-4, address: "127.0.0.1:502"}
---
apiVersion: isthmus/v1
kind: Target
metadata: {tenant: ot, network: plant-7, name: press-gone}
spec: {agent: press-4, address: "127.0.0.1:9"}
`

// workshop is the deployment of the tests of access: server and relay in the internet; a machine called press that lets nothing in and may
// dial one port of one address; a laptop somewhere else.
type workshop struct {
	*world
	authority string // file with the public key of the tenant's SSH authority, as sshd reads it
	sshd      *exec.Cmd
}

func startWorkshop(t *testing.T, prefix string) *workshop {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	sites, err := processes.NewSites(ctx, prefix)
	t.Cleanup(func() { sites.Close() })
	must(t, err)
	for _, site := range []string{"press", "laptop"} {
		must(t, sites.Add(ctx, site, ""))
	}
	w := &workshop{world: &world{Deployment: processes.New(t.TempDir(), binary), t: t, sites: sites, roles: map[string]*processes.Process{}}}
	t.Cleanup(func() {
		w.Stop()
		if t.Failed() {
			t.Log(w.Logs())
		}
	})
	// What goes out of the machine goes to the relay's one port.
	for _, rule := range []string{
		"add chain inet site out { type filter hook output priority 0; policy drop; }", "add rule inet site out oif lo accept",
		"add rule inet site out ip daddr " + sites.RelayIP + " tcp dport 443 accept",
	} {
		ip(t, "netns", "exec", sites.Name("press"), "nft", rule)
	}
	inet, relay := sites.Internet(), sites.RelayIP+":443"
	w.control, err = w.StartControl(ctx, inet, "127.0.0.1:7444", relay)
	must(t, err)
	w.roles["server"] = w.control.Process
	w.apply(ctx, accessManifests)
	must(t, w.Join(ctx, inet, inet, "relay", "", "r1", "--address", relay, "--control", "127.0.0.1:7444"))
	w.run(ctx, "relay", inet, "the relay is ready", "relay", "run", "--data-dir", w.Data("r1"), "--listen", relay, "--control", "127.0.0.1:7444")
	token, err := w.JoinToken(ctx, inet, "agent", "ot/plant-7")
	must(t, err)
	small := processes.New(w.Dir, slim)
	t.Cleanup(small.Stop)
	_, err = small.CLI(ctx, sites.Name("press"), token, "join", "--data-dir", w.Data("press-4"), "--name", "press-4")
	must(t, err)
	w.roles["press-4"], err = small.Start("press-4", sites.Name("press"), nil, "run", "--data-dir", w.Data("press-4"))
	must(t, err)
	_, err = w.roles["press-4"].WaitLog(ctx, "the agent is ready")
	must(t, err)
	for name, roles := range map[string]string{"alice": "operator", "bob": "approver,operator", "carol": "auditor"} {
		w.person(ctx, "ot", name, roles)
	}
	w.person(ctx, "elsewhere", "mallory", "owner,operator,approver,auditor")
	w.authority = filepath.Join(w.Dir, "ssh_ca.pub")
	key, err := w.as(ctx, "alice", "access", "authority")
	must(t, err)
	must(t, os.WriteFile(w.authority, []byte(key), 0o644))
	w.startSSHD(ctx)
	return w
}

// person makes somebody, and logs him in at his own place with a token of his own.
func (w *workshop) person(ctx context.Context, tenant, name, roles string) {
	w.t.Helper()
	inet := w.sites.Internet()
	_, err := w.CLI(ctx, inet, "", "person", "create", name, "--tenant", tenant, "--roles", roles)
	must(w.t, err)
	secret, err := w.CLI(ctx, inet, "", "person", "token", name, "--tenant", tenant)
	must(w.t, err)
	must(w.t, os.MkdirAll(w.home(name), 0o700))
	out, err := w.personal(ctx, name, []string{"login", "--server", w.sites.RelayIP + ":443", "--ca-file", filepath.Join(w.Dir, "server", "ca.pem"), "--token-file", "-"}, secret)
	if err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
}

func (w *workshop) home(name string) string { return filepath.Join(w.Dir, "home-"+name) }

// command prepares a program on the laptop as one of its users, with isthmus on PATH.
func (w *workshop) command(ctx context.Context, who, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", w.sites.Name("laptop"), program}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+w.home(who), "XDG_CONFIG_HOME="+filepath.Join(w.home(who), ".config"), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"),
		"ANSIBLE_HOME="+filepath.Join(w.home(who), ".ansible"), "LC_ALL=C.UTF-8")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// personal runs isthmus on the laptop as somebody, and returns what it wrote to standard output; the error has what went to the other.
func (w *workshop) personal(ctx context.Context, who string, args []string, stdin string) (string, error) {
	cmd := w.command(ctx, who, binary, args...)
	var out, problems bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &problems
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: isthmus %s: %w: %s", who, strings.Join(args, " "), err, problems.String())
	}
	return out.String(), nil
}

func (w *workshop) as(ctx context.Context, who string, args ...string) (string, error) {
	return w.personal(ctx, who, args, "")
}

// must runs isthmus as somebody and fails the test when that fails.
func (w *workshop) must(ctx context.Context, who string, args ...string) string {
	w.t.Helper()
	out, err := w.as(ctx, who, args...)
	must(w.t, err)
	return out
}

// shell runs another program on the laptop as somebody, and returns all it wrote.
func (w *workshop) shell(ctx context.Context, who, program string, args ...string) (string, error) {
	cmd := w.command(ctx, who, program, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// granted lets somebody in: he asks, bob approves, and the grant's id comes back.
func (w *workshop) granted(ctx context.Context, who, target string, more ...string) string {
	w.t.Helper()
	id := w.asked(ctx, who, target, more...)
	w.must(ctx, "bob", "access", "approve", id)
	return id
}

func (w *workshop) asked(ctx context.Context, who, target string, more ...string) string {
	w.t.Helper()
	out := w.must(ctx, who, append([]string{"access", "request", "ot/plant-7/" + target, "--reason", "the press squeaks", "-o", "json"}, more...)...)
	var g struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal([]byte(out), &g); err != nil || g.ID == "" {
		w.t.Fatalf("%v: %s", err, out)
	}
	return g.ID
}

// startSSHD starts the machine's own sshd, which knows nothing of Isthmus but the public key of the tenant's authority.
func (w *workshop) startSSHD(ctx context.Context) {
	w.t.Helper()
	dir := filepath.Join(w.Dir, "sshd")
	must(w.t, os.MkdirAll(dir, 0o700))
	must(w.t, os.MkdirAll("/run/sshd", 0o755))
	key := filepath.Join(dir, "host_key")
	if out, err := exec.CommandContext(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		w.t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	config := filepath.Join(dir, "sshd_config")
	must(w.t, os.WriteFile(config, []byte(strings.Join([]string{
		"Port 22", "ListenAddress 127.0.0.1", "HostKey " + key, "TrustedUserCAKeys " + w.authority, "AuthorizedKeysFile none", "PasswordAuthentication no",
		"KbdInteractiveAuthentication no", "PermitRootLogin prohibit-password", "UsePAM no", "StrictModes no", "PidFile none", "MaxStartups 100", "MaxSessions 100",
		"Subsystem sftp internal-sftp", "LogLevel VERBOSE",
	}, "\n")+"\n"), 0o600))
	log, err := os.Create(filepath.Join(w.Dir, "sshd.log"))
	must(w.t, err)
	w.t.Cleanup(func() { log.Close() })
	w.sshd = exec.Command("ip", "netns", "exec", w.sites.Name("press"), "/usr/sbin/sshd", "-D", "-e", "-f", config)
	w.sshd.Stdout, w.sshd.Stderr = log, log
	must(w.t, w.sshd.Start())
	w.t.Cleanup(func() {
		_ = w.sshd.Process.Kill()
		_ = w.sshd.Wait()
	})
	must(w.t, processes.Until(ctx, func() error { return w.dialSite("press", "127.0.0.1:22") }))
}

// sshdLog is what the machine's sshd wrote.
func (w *workshop) sshdLog() string {
	text, err := os.ReadFile(filepath.Join(w.Dir, "sshd.log"))
	must(w.t, err)
	return string(text)
}

// startXRDP starts Debian's xrdp on the machine.
func (w *workshop) startXRDP(ctx context.Context) {
	w.t.Helper()
	text, err := os.ReadFile("/etc/xrdp/xrdp.ini")
	must(w.t, err)
	config := filepath.Join(w.Dir, "xrdp.ini")
	ini := strings.Replace(string(text), "\nport=3389\n", "\nport=tcp://127.0.0.1:3389\n", 1)
	ini = strings.Replace(ini, "LogFile=xrdp.log", "LogFile="+filepath.Join(w.Dir, "xrdp.log"), 1)
	must(w.t, os.WriteFile(config, []byte(ini), 0o600))
	cmd := exec.Command("ip", "netns", "exec", w.sites.Name("press"), "/usr/sbin/xrdp", "--nodaemon", "--config", config)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	must(w.t, cmd.Start())
	w.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if w.t.Failed() {
			w.t.Logf("xrdp: %s", log.String())
		}
	})
	must(w.t, processes.Until(ctx, func() error { return w.dialSite("press", "127.0.0.1:3389") }))
}

// modbus is a small server that has the number of a register in it (MODBUS Application Protocol 1.1b3, 6.3; TCP: Messaging Guide 1.0b, 3.1).
func modbus(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			for {
				var ask [12]byte
				if _, err := io.ReadFull(c, ask[:]); err != nil || ask[7] != 3 {
					return
				}
				first, count := wire.BigEndian.Uint16(ask[8:]), wire.BigEndian.Uint16(ask[10:])
				answer := append(ask[:4:4], 0, byte(3+2*count), ask[6], 3, byte(2*count))
				for i := range count {
					answer = wire.BigEndian.AppendUint16(answer, first+i)
				}
				if _, err := c.Write(answer); err != nil {
					return
				}
			}
		}()
	}
}

// readRegisters asks a Modbus server for registers.
func readRegisters(c net.Conn, first, count uint16) ([]uint16, error) {
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	ask := []byte{0, 7, 0, 0, 0, 6, 1, 3}
	ask = wire.BigEndian.AppendUint16(wire.BigEndian.AppendUint16(ask, first), count)
	if _, err := c.Write(ask); err != nil {
		return nil, err
	}
	answer := make([]byte, 9+2*int(count))
	if _, err := io.ReadFull(c, answer); err != nil {
		return nil, err
	}
	var out []uint16
	for i := range int(count) {
		out = append(out, wire.BigEndian.Uint16(answer[9+2*i:]))
	}
	return out, nil
}

// shakeRDP begins a connection as a client that wants TLS does, and tells what the server chose ([MS-RDPBCGR] 2.2.1.1 and 2.2.1.2).
func shakeRDP(c net.Conn) (protocol uint32, err error) {
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	ask := []byte{3, 0, 0, 19, 14, 0xe0, 0, 0, 0, 0, 0, 1, 0, 8, 0, 3, 0, 0, 0}
	if _, err := c.Write(ask); err != nil {
		return 0, err
	}
	var answer [19]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return 0, err
	}
	if answer[5] != 0xd0 || answer[11] != 2 {
		return 0, fmt.Errorf("no connection confirm with a negotiation response: % x", answer)
	}
	return wire.LittleEndian.Uint32(answer[15:]), nil
}
