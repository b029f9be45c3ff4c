package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/test/processes"
)

// TestPrivatePath: one world, and in it everything the private path promises.
func TestPrivatePath(t *testing.T) {
	w := start(t, "isthp")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()

	t.Run("the sites cannot see each other", func(t *testing.T) {
		for _, c := range []struct{ from, to string }{
			{"plant7", "10.20.0.5:8883"}, {"plant7", "198.51.100.2:22"}, {"plant7", "198.51.100.6:443"}, {"otcloud", "198.51.100.2:8883"},
			{"plant7", w.sites.RelayIP + ":7444"}, // the control plane listens on the loopback of the relay's machine only
		} {
			if w.dialSite(c.from, c.to) == nil {
				t.Errorf("%s reaches %s", c.from, c.to)
			}
		}
	})

	t.Run("names", func(t *testing.T) {
		got := w.dig(ctx, "plant7", "contoso.azure-devices.net", "A")
		for _, want := range []string{"contoso.azure-devices.net. 10 IN CNAME contoso.privatelink.azure-devices.net.", "contoso.privatelink.azure-devices.net. 10 IN A 10.7.0.4", "status: NOERROR"} {
			if !strings.Contains(got, want) {
				t.Errorf("dig says\n%s\nwant %q in it", got, want)
			}
		}
		if got := w.dig(ctx, "plant7", "contoso.azure-devices.net", "AAAA"); !strings.Contains(got, "status: NOERROR") || strings.Contains(got, " IN AAAA ") {
			t.Errorf("AAAA must be NODATA:\n%s", got)
		}
		if got := w.dig(ctx, "plant7", "other.azure-devices.net", "A"); !strings.Contains(got, "status: REFUSED") {
			t.Errorf("a name nobody knows, without upstreams, must be refused:\n%s", got)
		}
	})

	t.Run("a thousand messages of the real SDK", func(t *testing.T) {
		file := w.device(ctx, "press-1")
		s := w.sender("plant7", file, "sdk", 1000, 50)
		sending, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		must(t, s.wait(sending, func(acked int, _ bool) bool { return acked == 1000 }))
		seen := map[string]int{}
		for _, e := range w.events(ctx) {
			if e.System["iothub-connection-device-id"] != "press-1" {
				continue
			}
			id := checkEvent(t, e, "sdk")
			seen[id]++
			if e.System["message-id"] != "sdk-"+id {
				t.Errorf("message %s has message-id %q", id, e.System["message-id"])
			}
		}
		for i := range 1000 {
			if n := seen[fmt.Sprint(i)]; n != 1 {
				t.Errorf("message %d arrived %d times", i, n)
			}
		}
	})

	t.Run("a device made with the real service SDK, through the endpoint", func(t *testing.T) {
		owner, err := w.CLI(ctx, w.sites.Name("otcloud"), "", "hub", "connection-string", "--policy", "registryReadWrite", "--data-dir", w.Data("hub-1"))
		must(t, err)
		file := filepath.Join(w.Dir, "owner.txt")
		must(t, os.WriteFile(file, []byte(owner), 0o600))
		cmd := w.node(ctx, "plant7", "registry.js", file, "press-7")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("azure-iothub: %v: %s", err, out)
		}
		made := filepath.Join(w.Dir, "press-7.txt")
		must(t, os.WriteFile(made, out, 0o600))
		s := w.sender("plant7", made, "made", 10, 1)
		must(t, s.wait(ctx, func(acked int, _ bool) bool { return acked == 10 }))
	})

	t.Run("pending passes nothing, and has no name", func(t *testing.T) {
		l := w.listen("otcloud", "10.20.0.6:4000")
		go echo(l, w.echoEnded)
		state := w.cli(ctx, "get", "endpoint", "it/it-cloud/historian", "-o", "json")
		if !strings.Contains(state, `"Pending"`) {
			t.Fatalf("the endpoint is not pending: %s", state)
		}
		if w.dialSite("itcloud", "10.7.0.4:4000") == nil {
			t.Error("a pending endpoint accepts connections")
		}
		if got := w.dig(ctx, "itcloud", "historian.plant.example", "A"); strings.Contains(got, "10.7.0.4") {
			t.Errorf("a pending endpoint has a name:\n%s", got)
		}
		if _, err := w.CLI(ctx, w.sites.Internet(), "", "endpoint", "approve", "it/it-cloud/historian", "--reason", "monthly reports"); err != nil {
			t.Fatal(err)
		}
		must(t, processes.Until(ctx, func() error { return w.pingOnce("itcloud", "10.7.0.4:4000") }))
		if got := w.dig(ctx, "itcloud", "historian.plant.example", "A"); !strings.Contains(got, "10.7.0.4") {
			t.Errorf("an approved endpoint has no name:\n%s", got)
		}
	})

	t.Run("reject mid-stream cuts within a second on both sides", func(t *testing.T) {
		w.cutBy(ctx, t, "reject")
		// Rejected may be approved again; Disconnected is final.
		w.cli(ctx, "endpoint", "approve", "it/it-cloud/historian", "--reason", "a misunderstanding")
		must(t, processes.Until(ctx, func() error { return w.pingOnce("itcloud", "10.7.0.4:4000") }))
		w.cutBy(ctx, t, "remove")
		if _, err := w.CLI(ctx, w.sites.Internet(), "", "endpoint", "approve", "it/it-cloud/historian", "--reason", "x"); err == nil || !strings.Contains(err.Error(), "final") {
			t.Errorf("approving a disconnected endpoint: %v", err)
		}
	})

	t.Run("the relay sees only ciphertext", func(t *testing.T) {
		w.plaintext(ctx, t)
	})

	t.Run("the public side is refused", func(t *testing.T) {
		file := w.device(ctx, "press-2")
		// The hub's own network: the name leads to the hub itself, past every endpoint.
		hosts := filepath.Join("/etc/netns", w.sites.Name("otcloud"))
		must(t, os.MkdirAll(hosts, 0o755))
		defer os.RemoveAll(hosts)
		must(t, os.WriteFile(filepath.Join(hosts, "hosts"), []byte("10.20.0.5 contoso.azure-devices.net\n"), 0o644))
		s := w.sender("otcloud", file, "public", 1, 1, "ONCE=1")
		err := s.wait(ctx, func(acked int, ended bool) bool { return acked > 0 })
		if err == nil || !strings.Contains(err.Error(), "UnauthorizedError") {
			t.Errorf("the SDK on the public side: %v", err)
		}
		out, _ := exec.CommandContext(ctx, "ip", "netns", "exec", w.sites.Name("otcloud"), "curl", "-sk", "--max-time", "5", "-D", "-",
			"https://contoso.azure-devices.net/devices/press-2?api-version=2021-04-12").CombinedOutput()
		if !bytes.Contains(out, []byte("401")) || !bytes.Contains(bytes.ToLower(out), []byte("iothub-errorcode")) {
			t.Errorf("HTTPS on the public side: %s", out)
		}
		// The same device through the endpoint is welcome.
		s = w.sender("plant7", file, "private", 1, 1)
		must(t, s.wait(ctx, func(acked int, _ bool) bool { return acked == 1 }))
	})
}

// cutBy keeps a flow of the office busy, decides, and checks that both ends of the flow are gone a second later at most.
func (w *world) cutBy(ctx context.Context, t *testing.T, decision string) {
	t.Helper()
	c, err := w.dial("itcloud", "10.7.0.4:4000")
	must(t, err)
	defer c.Close()
	cut := make(chan time.Time, 1)
	running := make(chan struct{})
	go func() {
		buf := make([]byte, 1024)
		for i := 0; ; i++ {
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			_, err := c.Write(buf)
			if err == nil {
				_, err = io.ReadFull(c, buf)
			}
			if err != nil {
				var ne net.Error
				if errors.As(err, &ne) && ne.Timeout() {
					t.Errorf("%s: the flow froze instead of being cut", decision)
				}
				cut <- time.Now()
				return
			}
			if i == 100 {
				close(running)
			}
		}
	}()
	<-running
	for len(w.echoEnded) > 0 { // of flows before this one
		<-w.echoEnded
	}
	before := time.Now()
	w.cli(ctx, "endpoint", decision, "it/it-cloud/historian", "--reason", "test")
	decided := time.Now()
	select {
	case at := <-cut:
		t.Logf("%s: cut %v after the command began, %v before it returned", decision, at.Sub(before).Round(time.Millisecond), decided.Sub(at).Round(time.Millisecond))
		if at.Sub(decided) > time.Second {
			t.Errorf("%s: the flow lived %v longer", decision, at.Sub(decided))
		}
	case <-time.After(2 * time.Second):
		t.Errorf("%s: the flow still lives", decision)
	}
	select {
	case at := <-w.echoEnded:
		if at.Sub(decided) > time.Second {
			t.Errorf("%s: the provider's side lived %v longer", decision, at.Sub(decided))
		}
	case <-time.After(2 * time.Second):
		t.Errorf("%s: the provider's side of the flow still lives", decision)
	}
	if w.pingOnce("itcloud", "10.7.0.4:4000") == nil {
		t.Errorf("%s: a new flow passes", decision)
	}
}

func (w *world) pingOnce(site, addr string) error {
	c, err := w.dial(site, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	if _, err := c.Write([]byte("ping")); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 4))
	return err
}

// plaintext sends a marker through a tcp service, which adds no encryption of its own, while packets are captured both at the relay
// and behind the provider's agent. The marker must be in the second capture, or the search proves nothing, and not in the first.
func (w *world) plaintext(ctx context.Context, t *testing.T) {
	secret := make([]byte, 24)
	_, _ = rand.Read(secret)
	marker := []byte("MARKER-" + hex.EncodeToString(secret))
	stop := map[string]func() []byte{}
	for name, c := range map[string][2]string{"relay": {w.sites.Internet(), "any"}, "provider": {w.sites.Name("otcloud"), "lo"}} {
		stop[name] = w.capture(ctx, t, c[0], c[1])
	}
	c, err := w.dial("plant7", "10.7.0.5:4000")
	must(t, err)
	defer c.Close()
	sent := 0
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	for range 200 {
		msg := append(bytes.Repeat([]byte{'.'}, 500), marker...)
		_, err := c.Write(msg)
		must(t, err)
		_, err = io.ReadFull(c, msg)
		must(t, err)
		sent += 2 * len(msg)
	}
	atRelay, atProvider := stop["relay"](), stop["provider"]()
	if n := bytes.Count(atProvider, marker); n < 200 {
		t.Errorf("the capture behind the provider's agent holds the marker %d times: the search proves nothing", n)
	}
	if len(atRelay) < sent {
		t.Errorf("the capture at the relay has %d bytes, fewer than the %d that passed", len(atRelay), sent)
	}
	if n := bytes.Count(atRelay, marker); n != 0 {
		t.Errorf("the marker passed the relay %d times in the clear", n)
	}
}

// capture runs tcpdump in a namespace until the returned function is called, which returns the raw capture.
func (w *world) capture(ctx context.Context, t *testing.T, netns, dev string) func() []byte {
	t.Helper()
	file := filepath.Join(w.Dir, netns+".pcap")
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", netns, "tcpdump", "-U", "-s", "0", "-B", "65536", "-Z", "root", "-i", dev, "-w", file, "tcp")
	errOut, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	buf := make([]byte, 4096)
	var said []byte
	for !bytes.Contains(said, []byte("listening on")) {
		n, err := errOut.Read(buf)
		if err != nil {
			t.Fatalf("tcpdump: %v: %s", err, said)
		}
		said = append(said, buf[:n]...)
	}
	return func() []byte {
		_ = cmd.Process.Signal(os.Interrupt)
		rest, _ := io.ReadAll(errOut)
		_ = cmd.Wait()
		if !bytes.Contains(rest, []byte("0 packets dropped by kernel")) {
			t.Logf("tcpdump: %s", rest)
		}
		text, err := os.ReadFile(file)
		must(t, err)
		return text
	}
}

// dig asks the site's resolver with the real dig and returns what it prints, with white space made single.
func (w *world) dig(ctx context.Context, site, name, typ string) string {
	out, _ := exec.CommandContext(ctx, "ip", "netns", "exec", w.sites.Name(site), "dig", "+tries=1", "+time=3", name, typ).CombinedOutput()
	var b strings.Builder
	for l := range strings.Lines(string(out)) {
		b.WriteString(strings.Join(strings.Fields(l), " "))
		b.WriteByte('\n')
	}
	return b.String()
}

// echo serves until the listener closes, and tells when each connection ended.
func echo(l net.Listener, ended chan<- time.Time) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(c, c)
			c.Close()
			select {
			case ended <- time.Now():
			default:
			}
		}()
	}
}
