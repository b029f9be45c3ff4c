package conformance

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

const debian = "Debian's mosquitto-clients"

// mosquitto runs mosquitto's own clients, which find the hub by its name through a SOCKS proxy.
type mosquitto struct {
	*hubtest.World
	t     *testing.T
	proxy string
}

func withMosquitto(t *testing.T, w *hubtest.World) *mosquitto {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { proxied(c, w.MQTT) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		all.Wait()
	})
	return &mosquitto{w, t, ln.Addr().String()}
}

// proxied is one connection of a SOCKS 5 proxy (RFC 1928) for which every name is one address.
func proxied(c net.Conn, address string) {
	defer c.Close()
	head := make([]byte, 2)
	if _, err := io.ReadFull(c, head); err != nil {
		return
	}
	if _, err := io.CopyN(io.Discard, c, int64(head[1])); err != nil { // methods
		return
	}
	_, _ = c.Write([]byte{5, 0})
	request := make([]byte, 5) // version, CONNECT, 0, a name, its length
	if _, err := io.ReadFull(c, request); err != nil || request[3] != 3 {
		return
	}
	if _, err := io.CopyN(io.Discard, c, int64(request[4])+2); err != nil {
		return
	}
	_, _ = c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	up, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer up.Close()
	go func() {
		_, _ = io.Copy(up, c)
		_ = up.Close()
	}()
	_, _ = io.Copy(c, up)
}

// command is mosquitto_pub or mosquitto_sub of a device; secret is its password, and goes where nobody sees it.
func (m *mosquitto) command(program, id, secret string, args ...string) *exec.Cmd {
	m.t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		m.t.Fatalf("%s is not on PATH: run make deps", program)
	}
	dir := m.t.TempDir()
	config := "--cafile " + m.CAFile + "\n-h " + hubtest.Contoso + "\n-p 8883\n-i " + id + "\n-u " + hubtest.Contoso + "/" + id + "/?api-version=2021-04-12\n"
	if secret != "" {
		config += "-P " + secret + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, program), []byte(config), 0o600); err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	m.t.Cleanup(cancel)
	c := exec.CommandContext(ctx, path, append(args, "--proxy", "socks5h://"+m.proxy)...)
	c.Env = append(os.Environ(), "XDG_CONFIG_HOME="+dir)
	return c
}

// publishes runs mosquitto_pub to its end.
func (m *mosquitto) publishes(id, secret string, args ...string) (string, error) {
	m.t.Helper()
	out, err := m.command("mosquitto_pub", id, secret, args...).CombinedOutput()
	return string(out), err
}

func TestMosquittoPublishes(t *testing.T) {
	w := start(t, hubtest.Options{})
	m, d := withMosquitto(t, w), w.Device(hubtest.Contoso, "d")
	token := w.Token(hubtest.Contoso, d)
	self := w.Certificate("anything", false)
	w.ThumbprintDevice(hubtest.Contoso, "certified", self)
	cert, key := w.PEM(self)
	for _, c := range []struct {
		cases      []string
		name       string
		id, secret string
		args       []string
		properties map[string]string
	}{
		{[]string{"C01", "C15"}, "QoS 1", "d", token, []string{"-q", "1", "-t", "devices/d/messages/events/unit=%C2%B0C"}, map[string]string{"unit": "°C"}},
		{[]string{"C15"}, "QoS 0", "d", token, []string{"-t", "devices/d/messages/events/"}, nil},
		{[]string{"C19"}, "RETAIN", "d", token, []string{"-q", "1", "-r", "-t", "devices/d/messages/events/k=v"}, map[string]string{"k": "v", "mqtt-retain": "true"}},
		{[]string{"C03"}, "a certificate", "certified", "", []string{"-q", "1", "--cert", cert, "--key", key, "-t", "devices/certified/messages/events/"}, nil},
		{[]string{"C15"}, "TLS 1.2", "d", token, []string{"-q", "1", "--tls-version", "tlsv1.2", "-t", "devices/d/messages/events/"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, id := range c.cases {
				covers(t, id, debian)
			}
			if out, err := m.publishes(c.id, c.secret, append(c.args, "-m", "with "+c.name)...); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			e := eventOf(t, w, "with "+c.name)
			if e.System["iothub-connection-device-id"] != c.id || len(e.Properties)+len(c.properties) > 0 && !maps.Equal(e.Properties, c.properties) {
				t.Errorf("%v %v, want %v", e.System, e.Properties, c.properties)
			}
		})
	}
	t.Run("wrong password", func(t *testing.T) {
		covers(t, "C05", debian)
		out, err := m.publishes("d", w.Token(hubtest.Contoso, w.Device(hubtest.Contoso, "other")), "-q", "1", "-t", "devices/d/messages/events/", "-m", "x")
		if err == nil || !strings.Contains(out, "not authorised") {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("a foreign topic", func(t *testing.T) {
		covers(t, "C18", debian)
		c := m.command("mosquitto_pub", "d", token, "-q", "1", "-t", "plant/7/temperature", "-m", "x")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the refusal", func() bool { return len(w.Server.Refusals()) > 1 }) // it would try for ever
		_ = c.Process.Kill()
		_ = c.Wait()
	})
}

func TestMosquittoSubscribes(t *testing.T) {
	o := sending(t)
	m, d := withMosquitto(t, o.World), o.Device(hubtest.Contoso, "d")
	token := o.Token(hubtest.Contoso, d)
	hears := func(t *testing.T, n string, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		c := m.command("mosquitto_sub", "d", token, append(args, "-q", "1", "-t", "devices/d/messages/devicebound/#", "-C", n, "-F", "%q %r %t %p")...)
		c.Stdout, c.Stderr = &out, os.Stderr
		if err := c.Run(); err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
		return out.String()
	}
	t.Run("C21", func(t *testing.T) {
		covers(t, "C21", debian)
		o := o.in(t)
		if _, err := o.api.SendCommand(t.Context(), "d", hubclient.Command{MessageID: "one", Ack: hub.AckFull, Properties: map[string]string{"k": "°C"}, Body: []byte("hello")}); err != nil {
			t.Fatal(err)
		}
		got := hears(t, "1")
		if !strings.HasPrefix(got, "1 0 devices/d/messages/devicebound/%24.to=%2Fdevices%2Fd%2Fmessages%2Fdevicebound&%24.mid=one") || !strings.HasSuffix(got, "&k=%C2%B0C hello\n") {
			t.Errorf("it hears %s", got)
		}
		o.became(map[string]string{"one": "Success"})
	})
	t.Run("C25 with its old session", func(t *testing.T) {
		covers(t, "C25", debian)
		o := o.in(t)
		o.sent("d", "first")
		hears(t, "1", "-c")
		o.became(map[string]string{"first": "Success"})
		o.sent("d", "second", "third")
		// It goes before it has read what SUBSCRIBE is answered with, and the network then may lose what it said last.
		if got := hears(t, "2", "-c"); strings.Count(got, "\n") != 2 || !strings.HasSuffix(got, " third\n") {
			t.Errorf("it hears %s", got)
		}
	})
}
