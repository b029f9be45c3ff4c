package agentnode_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/testworld"
)

const recordedNouns = `
apiVersion: isthmus/v1
kind: AccessPolicy
metadata: {tenant: ot, name: default}
spec: {recording: Required}
---
apiVersion: isthmus/v1
kind: Target
metadata: {tenant: ot, network: plant-7, name: shell}
spec: {agent: press-4, protocol: ssh, address: "%s", ssh: {logins: [service]}}
`

// machine is an SSH server that trusts the tenant's authority, answers every command, and tells as whom people log in.
type machine struct {
	net.Listener
	mu     sync.Mutex
	logins []string
}

func newMachine(t *testing.T, authority string) *machine {
	trusted := publicKey(t, authority)
	checker := &ssh.CertChecker{IsUserAuthority: func(k ssh.PublicKey) bool { return string(k.Marshal()) == string(trusted.Marshal()) }}
	cfg := &ssh.ServerConfig{PublicKeyCallback: checker.Authenticate}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	host, err := ssh.NewSignerFromKey(key)
	must(t, err)
	cfg.AddHostKey(host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	m := &machine{Listener: l}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { m.serve(c, cfg) })
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return m
}

func (m *machine) serve(c net.Conn, cfg *ssh.ServerConfig) {
	conn, channels, requests, err := ssh.NewServerConn(c, cfg)
	if err != nil {
		c.Close()
		return
	}
	m.mu.Lock()
	m.logins = append(m.logins, conn.User())
	m.mu.Unlock()
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { ssh.DiscardRequests(requests) })
	for n := range channels {
		ch, requests, err := n.Accept()
		if err != nil {
			return
		}
		all.Go(func() {
			for r := range requests {
				_ = r.Reply(r.Type == "exec", nil)
				if r.Type == "exec" {
					_, _ = io.WriteString(ch, "answer of the machine\n")
					_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{7}))
					_ = ch.Close()
				}
			}
		})
	}
}

func publicKey(t *testing.T, line string) ssh.PublicKey {
	t.Helper()
	k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	must(t, err)
	return k
}

// certified is alice's key with a certificate for the grant.
func certified(t *testing.T, ctx context.Context, alice *testworld.Person, grant string) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	plain, err := ssh.NewSignerFromKey(key)
	must(t, err)
	c, err := alice.SSHCertificate(ctx, grant, string(ssh.MarshalAuthorizedKey(plain.PublicKey())), "service")
	must(t, err)
	signer, err := ssh.NewCertSigner(publicKey(t, c.Certificate).(*ssh.Certificate), plain)
	must(t, err)
	return signer
}

// What a person does by SSH is recorded on the agent, told and sent to the control plane, and can be replayed from there.
func TestARecordedSession(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := newPlant(t, ctx, clock.System{})
	authority, err := p.world.Client.SSHAuthority(ctx, "ot")
	must(t, err)
	m := newMachine(t, authority.Users)
	must(t, p.world.Apply(ctx, fmt.Sprintf(recordedNouns, m.Addr())))
	p.start()
	g, err := p.alice.LetIn(ctx, client.GrantRequest{Target: "ot/plant-7/shell", For: time.Hour}, p.bob)
	must(t, err)
	p.dialer, _, err = p.alice.Dialer(ctx)
	must(t, err)
	c, err := p.dialer.Dial(ctx, g.ID)
	must(t, err)
	must(t, c.SetDeadline(time.Now().Add(patient)))
	hosts := publicKey(t, authority.Hosts)
	checker := &ssh.CertChecker{IsHostAuthority: func(k ssh.PublicKey, _ string) bool { return string(k.Marshal()) == string(hosts.Marshal()) }}
	conn, channels, requests, err := ssh.NewClientConn(c, "shell.plant-7.ot.isthmus:22", &ssh.ClientConfig{
		User: "service", Auth: []ssh.AuthMethod{ssh.PublicKeys(certified(t, ctx, p.alice, g.ID))}, HostKeyCallback: checker.CheckHostKey,
		HostKeyAlgorithms: []string{ssh.CertAlgoED25519v01},
	})
	must(t, err)
	shell := ssh.NewClient(conn, channels, requests)
	s, err := shell.NewSession()
	must(t, err)
	out, err := s.Output("show me")
	if exit, ok := err.(*ssh.ExitError); !ok || exit.ExitStatus() != 7 || string(out) != "answer of the machine\n" { //nolint:errorlint // as the library has it
		t.Fatalf("%q, %v", out, err)
	}
	shell.Close()
	m.mu.Lock()
	if got := strings.Join(m.logins, " "); got != "service" {
		t.Errorf("logged in as %q", got)
	}
	m.mu.Unlock()

	soon, stop := context.WithTimeout(ctx, patient)
	defer stop()
	for {
		list, err := p.bob.Sessions(soon, client.SessionFilter{})
		if err == nil && len(list) == 1 && list[0].Recording {
			if l := list[0]; l.Login != "service" || len(l.Commands) != 1 || l.Commands[0] != "show me" {
				t.Errorf("%+v", l)
			}
			content, sealed, err := p.bob.Recording(soon, list[0].ID)
			must(t, err)
			b, err := io.ReadAll(content)
			content.Close()
			if err != nil || sealed || !strings.Contains(string(b), "answer of the machine") || !strings.Contains(string(b), "show me") {
				t.Errorf("%q, %v", b, err)
			}
			break
		}
		select {
		case <-soon.Done():
			t.Fatalf("%+v, %v", list, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	if w := p.agent.Problems(); len(w) != 0 {
		t.Errorf("%q", w)
	}
}
