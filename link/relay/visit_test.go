package relay

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

func TestSlowVisitorsAreClosed(t *testing.T) {
	h := serve(t, Config{FirstBytesTimeout: 30 * time.Millisecond, HandshakeTimeout: 30 * time.Millisecond}, clock.System{})
	preface := tunnel.Preface{Kind: tunnel.Pair}.Encode()
	hello := clientHello(t, tunnel.ALPNRelay)
	for name, first := range map[string][]byte{
		"nothing":                nil,
		"one byte of preface":    preface[:1],
		"most of a preface":      preface[:tunnel.PrefaceLen-1],
		"one byte of hello":      hello[:1],
		"most of a hello":        hello[:len(hello)-1],
		"a hello and no more":    hello,
		"neither TLS nor magic":  []byte("GET / HTTP/1.1\r\n\r\n"),
		"TLS record of nonsense": {0x16, 3, 1, 0, 4, 1, 2, 3, 4},
	} {
		t.Run(name, func(t *testing.T) {
			c := h.dial()
			if _, err := c.Write(first); err != nil {
				t.Fatal(err)
			}
			_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("the relay keeps it")
			}
		})
	}
	eventually(t, "all visitors have left", func() bool { return h.relay.Status().Visitors == 0 })
}

func TestMalformedPreface(t *testing.T) {
	h := serve(t, Config{}, clock.System{})
	for name, c := range map[string]struct {
		at   int
		to   byte
		want tunnel.Status
	}{
		"magic":    {7, '2', tunnel.StatusMalformed},
		"version":  {8, 2, tunnel.StatusVersion},
		"kind":     {9, 9, tunnel.StatusMalformed},
		"reserved": {11, 1, tunnel.StatusMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			b := tunnel.Preface{Kind: tunnel.Pair}.Encode()
			b[c.at] = c.to
			conn := h.dial()
			_, _ = conn.Write(append(b[:], make([]byte, 4096)...)) // unread bytes must not cost the client the status
			if s := h.status(conn); s != c.want {
				t.Fatalf("got %v", s)
			}
		})
	}
}

func TestControlPassesUntouched(t *testing.T) {
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	h := serve(t, Config{Control: control.Addr().String()}, clock.System{})
	sent := append(clientHello(t, "h2", "http/1.1"), "whatever follows"...)
	c := h.dial()
	_, _ = c.Write(sent)
	_ = c.CloseWrite()
	up, err := control.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	if got, err := io.ReadAll(up); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("the control plane got %d bytes of %d, %v", len(got), len(sent), err)
	}
	_, _ = up.Write([]byte("reply"))
	_ = up.Close()
	if got, err := io.ReadAll(c); err != nil || string(got) != "reply" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestControlInThisProcess(t *testing.T) {
	door := NewHandoff(&net.TCPAddr{})
	h := serve(t, Config{ControlHandler: door.Handle}, clock.System{})
	creds := h.ca.credentials(identity.ControlID(domain), time.Hour)
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "control "+r.URL.Path) }),
		TLSConfig: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return creds.ServerTLS(nil).GetCertificate(nil)
		}},
		ReadHeaderTimeout: time.Second,
	}
	done := make(chan error, 1)
	go func() { done <- srv.ServeTLS(door, "", "") }()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	resp, err := client.Get("https://" + h.address + "/v1/tenants")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if string(body) != "control /v1/tenants" {
		t.Fatalf("got %q", body)
	}
	client.CloseIdleConnections()
	_ = srv.Close()
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		t.Fatal(err)
	}
	eventually(t, "the visitor has left", func() bool { return h.relay.Status().Visitors == 0 })
}

func TestNoControl(t *testing.T) {
	h := serve(t, Config{}, clock.System{})
	c := h.dial()
	_, _ = c.Write(clientHello(t, "h2"))
	closed(t, c)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = dead.Close()
	h = serve(t, Config{Control: dead.Addr().String()}, clock.System{})
	c = h.dial()
	_, _ = c.Write(clientHello(t, "h2"))
	closed(t, c)
}

func TestConnectionsPerSource(t *testing.T) {
	h := serve(t, Config{MaxPerSource: 2}, clock.System{})
	one, two := h.dial(), h.dial()
	eventually(t, "both are in", func() bool { return h.relay.Status().Visitors == 2 })
	turnedAway(t, h)
	_ = one.Close()
	eventually(t, "one has left", func() bool { return h.relay.Status().Visitors == 1 })
	h.join(asker) // room again
	_ = two.Close()
}

func TestStrangersAreBounded(t *testing.T) {
	h := serve(t, Config{MaxStrangers: 1}, clock.System{})
	m := h.join(asker) // known, so it takes no stranger's place
	eventually(t, "nobody is strange", func() bool { return len(h.relay.strange) == 0 })
	first := h.dial()
	eventually(t, "one is strange", func() bool { return len(h.relay.strange) == 1 })
	turnedAway(t, h)
	_ = first.Close()
	m.send(tunnel.Ping{Token: 1})
	m.next()
}

func TestSources(t *testing.T) {
	for in, want := range map[string]string{
		"10.1.2.3":         "10.1.2.3",
		"::ffff:10.1.2.3":  "10.1.2.3",
		"2001:db8:1:2::77": "2001:db8:1:2::",
		"2001:db8:1:2:9::": "2001:db8:1:2::",
	} {
		if got := sourceOf(&net.TCPAddr{IP: net.ParseIP(in)}).String(); got != want {
			t.Errorf("%s counts as %s, want %s", in, got, want)
		}
	}
}

// clientHello is what crypto/tls sends first.
func clientHello(t testing.TB, alpn ...string) []byte {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	go func() {
		_ = tls.Client(b, &tls.Config{ServerName: "relay.example", NextProtos: alpn}).Handshake()
		_ = b.Close()
	}()
	buf := make([]byte, 16<<10)
	n, err := a.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// turnedAway checks that one more connection is closed at once.
func turnedAway(t *testing.T, h *house) {
	t.Helper()
	c, err := net.Dial("tcp", h.address)
	if err != nil {
		return // the reset was quicker than the dial
	}
	defer c.Close()
	closed(t, c)
}
