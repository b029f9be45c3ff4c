package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/test/processes"
)

// TestReadme does what the README tells a reader to do, on the machines it names: three sites and a relay that are network namespaces.
// A TLS server plays the hub that the reader has.
func TestReadme(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	sites, err := processes.NewSites(ctx, "isthr")
	t.Cleanup(func() { sites.Close() })
	must(t, err)
	dir := t.TempDir()
	w := &world{Deployment: processes.New(dir, binary), t: t, sites: sites}
	for _, site := range []string{"laptop", "cloud", "plant"} {
		must(t, sites.Add(ctx, site, "127.0.0.1"))
		hosts := "127.0.0.1 localhost\n" + sites.RelayIP + " relay.example.net\n"
		if site == "cloud" {
			hosts += "10.20.0.5 contoso.azure-devices.net\n" // reachable from here only
		}
		must(t, os.WriteFile(filepath.Join("/etc/netns", sites.Name(site), "hosts"), []byte(hosts), 0o644))
		ns := sites.Name(site)
		ip(t, "-n", ns, "link", "add", "lan", "type", "veth", "peer", "name", "lan-end")
		ip(t, "-n", ns, "link", "set", "lan", "up")
		ip(t, "-n", ns, "link", "set", "lan-end", "up")
	}
	ip(t, "-n", sites.Name("plant"), "addr", "add", "10.7.0.2/24", "dev", "lan")
	ip(t, "-n", sites.Name("cloud"), "addr", "add", "10.20.0.5/32", "dev", "lan")
	certificate := azure(t, w)

	var running []*processes.Process
	t.Cleanup(func() {
		for _, p := range running {
			p.Kill()
		}
		if t.Failed() {
			t.Log(w.Logs())
		}
	})
	fingerprint := ""
	for _, step := range readmeSteps(t) {
		machine, args := step.machine, strings.ReplaceAll(step.command, "FINGERPRINT", fingerprint)
		ns := sites.Name(machine)
		if machine == "relay" {
			ns = sites.Internet()
		}
		words := split(args)
		long := words[0] == "isthmus" && (words[1] == "server" || len(words) > 2 && words[2] == "run")
		switch {
		case words[0] == "nslookup":
			var out string
			must(t, processes.Until(ctx, func() error {
				out = w.dig(ctx, machine, "@"+words[2], words[1])
				if !strings.Contains(out, " IN A 10.7.0.4") {
					return fmt.Errorf("the name does not lead to the endpoint:\n%s", out)
				}
				return nil
			}))
		case long:
			p, err := w.startAt(machine, ns, words[1:])
			must(t, err)
			running = append(running, p)
			if words[1] != "server" {
				_, err := p.WaitLog(ctx, "the agent is ready")
				must(t, err)
				continue
			}
			line, err := p.WaitLog(ctx, "administrator token:")
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, "admin.token"), []byte(strings.TrimSpace(line[strings.Index(line, ":")+1:])+"\n"), 0o600))
			line, err = p.WaitLog(ctx, "Fingerprint")
			must(t, err)
			fingerprint = line[strings.LastIndex(line, " ")+1:]
			_, err = p.WaitLog(ctx, "the relay is ready")
			must(t, err)
		default:
			out, err := w.cliAt(ctx, machine, ns, words[1:])
			t.Logf("%s$ %s\n%s", machine, args, out)
			must(t, err)
		}
	}

	// The device's own TLS goes through untouched: it sees the hub's certificate and no other.
	c, err := w.dial("plant", "10.7.0.4:8883")
	must(t, err)
	defer c.Close()
	tc := tls.Client(c, &tls.Config{ServerName: "contoso.azure-devices.net", InsecureSkipVerify: true})
	must(t, tc.HandshakeContext(ctx))
	if got := tc.ConnectionState().PeerCertificates[0].Raw; string(got) != string(certificate) {
		t.Error("the device sees another certificate than the hub's")
	}
}

type readmeStep struct{ machine, command string }

func readmeSteps(t *testing.T) (steps []readmeStep) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	must(t, err)
	_, rest, ok := strings.Cut(string(text), "```console\n")
	block, _, ok2 := strings.Cut(rest, "```")
	if !ok || !ok2 {
		t.Fatal("the README has no console block")
	}
	for l := range strings.Lines(block) {
		machine, command, ok := strings.Cut(strings.TrimSpace(l), "$ ")
		if !ok {
			t.Fatalf("README: %q is no MACHINE$ COMMAND", l)
		}
		steps = append(steps, readmeStep{machine, command})
	}
	if len(steps) < 10 {
		t.Fatalf("the README has only %d steps", len(steps))
	}
	return steps
}

// split cuts a command into words, with double quotes as a shell has them.
func split(s string) (words []string) {
	var b strings.Builder
	quoted := false
	for _, r := range s {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ' ' && !quoted:
			words = append(words, b.String())
			b.Reset()
		default:
			b.WriteRune(r)
		}
	}
	return append(words, b.String())
}

// startAt runs a long command with the machine's own default directories.
func (w *world) startAt(machine, ns string, args []string) (*processes.Process, error) {
	return w.Start(machine, ns, nil, w.own(machine, args)...)
}

func (w *world) cliAt(ctx context.Context, machine, ns string, args []string) (string, error) {
	for i, a := range args { // files stand in the test's directory; examples in the checkout
		if strings.HasSuffix(a, ".join") || strings.HasSuffix(a, ".token") {
			args[i] = filepath.Join(w.Dir, a)
		}
		if strings.HasPrefix(a, "examples/") {
			args[i] = filepath.Join("../..", a)
		}
	}
	return w.CLI(ctx, ns, "", w.own(machine, args)...)
}

// own adds what machines have apart in real life: each its own data directory.
func (w *world) own(machine string, args []string) []string {
	if args[0] == "server" || args[0] == "agent" {
		return append(args, "--data-dir", filepath.Join(w.Dir, "data-"+machine))
	}
	return args
}

// azure plays the hub that exists already: TLS on 8883 in the cloud site. It returns its certificate.
func azure(t *testing.T, w *world) []byte {
	t.Helper()
	cert := selfSigned(t, "contoso.azure-devices.net")
	l := w.listen("cloud", "10.20.0.5:8883")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func(c net.Conn) {
				defer c.Close()
				_ = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}}).HandshakeContext(context.Background())
				_, _ = c.Read(make([]byte, 1))
			}(c)
		}
	}()
	return cert.Certificate[0]
}
