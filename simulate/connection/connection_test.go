package connection_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/simulate/connection"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const host = "hub.azure-devices.net"

// sink keeps what it is told.
type sink struct {
	acks           chan uint16
	ended          chan error
	refused        chan refusal
	ready, renewed chan struct{}
}

type refusal struct {
	id    uint16
	err   error
	again bool
}

func newSink() *sink {
	return &sink{make(chan uint16, 1000), make(chan error, 1), make(chan refusal, 100), make(chan struct{}, 100), make(chan struct{}, 100)}
}

func (s *sink) Acknowledged(_ *connection.Conn, id uint16) { s.acks <- id }
func (s *sink) Refused(_ *connection.Conn, id uint16, err error, again bool) {
	s.refused <- refusal{id, err, again}
}
func (s *sink) Ready(*connection.Conn)              { s.ready <- struct{}{} }
func (s *sink) Renewed(*connection.Conn)            { s.renewed <- struct{}{} }
func (s *sink) Ended(_ *connection.Conn, err error) { s.ended <- err }

// server is TLS for the hub's name, with what a test makes of a connection.
type server struct {
	tls     *tls.Config
	roots   *x509.CertPool
	ln      net.Listener
	all     sync.WaitGroup
	clients *identity.Authority
}

func newServer(t testing.TB, handle func(*tls.Conn)) *server {
	t.Helper()
	s := &server{roots: x509.NewCertPool()}
	authority, _, err := identity.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s.clients = authority
	s.roots.AddCert(authority.Certificate())
	cert := s.issue(t, host)
	s.tls = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert}
	if s.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if handle != nil {
		s.all.Go(func() {
			for {
				c, err := s.ln.Accept()
				if err != nil {
					return
				}
				s.all.Go(func() {
					defer c.Close()
					handle(tls.Server(c, s.tls))
				})
			}
		})
	}
	t.Cleanup(func() { _ = s.ln.Close(); s.all.Wait() })
	return s
}

func (s *server) issue(t testing.TB, name string) tls.Certificate {
	t.Helper()
	key, keyPEM, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := identity.NewRequest(key, "", name)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := s.clients.IssueServer(csr, time.Now(), time.Hour, name)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(pem, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (s *server) way(change func(*connection.Config)) *connection.Way {
	cfg := connection.Config{Host: host, Address: s.ln.Addr().String(), Roots: s.roots}
	if change != nil {
		change(&cfg)
	}
	return connection.New(cfg)
}

// welcome answers CONNECT and returns it with the reader.
func welcome(c net.Conn) (*mqtt.Connect, *mqtt.Reader) {
	r := mqtt.NewReader(c, 1<<20)
	first, body, err := r.Next()
	if err != nil {
		return nil, nil
	}
	p, err := mqtt.Decode(first, body)
	if err != nil {
		return nil, nil
	}
	b, _ := mqtt.Connack{}.Append(nil)
	_, _ = c.Write(b)
	return p.(*mqtt.Connect), r
}

func hello() connection.Hello {
	return connection.Hello{Device: "press 1", Token: "SharedAccessSignature x", KeepAlive: 240}
}

func TestWhatTheHubSees(t *testing.T) {
	type seen struct {
		connect *mqtt.Connect
		state   tls.ConnectionState
		packets []string
	}
	got := make(chan seen, 1)
	s := newServer(t, func(c *tls.Conn) {
		connect, r := welcome(c)
		now := seen{connect: connect, state: c.ConnectionState()}
		for {
			first, body, err := r.Next()
			if err != nil {
				got <- now
				return
			}
			p, _ := mqtt.Decode(first, body)
			text := mqtt.TypeOf(first).String()
			if p, ok := p.(*mqtt.Publish); ok {
				text = fmt.Sprintf("%s %s %s %d %d %t", text, p.Topic, p.Payload, p.ID, p.QoS, p.Dup)
				b, _ := mqtt.Ack{Of: mqtt.PUBACK, ID: p.ID}.Append(nil)
				_, _ = c.Write(b)
			}
			now.packets = append(now.packets, text)
		}
	})
	k := newSink()
	c, err := s.way(nil).Open(t.Context(), hello(), k)
	if err != nil {
		t.Fatal(err)
	}
	for id, dup := range map[uint16]bool{7: true} {
		if err := c.Publish("press 1", []byte("a=b&c"), []byte("body"), id, dup); err != nil {
			t.Fatal(err)
		}
	}
	if id := <-k.acks; id != 7 || c.Heard().IsZero() {
		t.Errorf("acknowledged %d, heard %v", id, c.Heard())
	}
	if err := c.Ping(); err != nil {
		t.Fatal(err)
	}
	c.Close()
	<-c.Done()
	if err := <-k.ended; fault.KindOf(err) != fault.Unavailable {
		t.Errorf("ended with %v", err)
	}
	now := <-got
	if x := now.connect; x.ClientID != "press 1" || x.UserName != host+"/press 1/?api-version=2021-04-12&DeviceClientType=isthmus-simulate" || string(x.Password) != "SharedAccessSignature x" || x.KeepAlive != 240 || !x.CleanSession {
		t.Errorf("%+v", x)
	}
	if now.state.ServerName != host {
		t.Errorf("asked for %s", now.state.ServerName)
	}
	if text := strings.Join(now.packets, "; "); text != "PUBLISH devices/press 1/messages/events/a=b&c body 7 1 true; PINGREQ; DISCONNECT" {
		t.Errorf("%s", text)
	}
	if err := c.Publish("press 1", nil, nil, 8, false); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("after Close: %v", err)
	}
}

func TestSessionsAreResumedButNotWithCertificates(t *testing.T) {
	states := make(chan tls.ConnectionState, 1)
	s := newServer(t, func(c *tls.Conn) {
		_, r := welcome(c)
		states <- c.ConnectionState()
		if r != nil {
			_, _, _ = r.Next()
		}
	})
	way, cert := s.way(nil), s.issue(t, "press-1")
	for i, step := range []struct {
		certificate *tls.Certificate
		resumed     bool
	}{{nil, false}, {nil, true}, {&cert, false}, {&cert, false}, {nil, true}} {
		h := hello()
		if h.Certificate = step.certificate; h.Certificate != nil {
			h.Token = ""
		}
		c, err := way.Open(t.Context(), h, newSink())
		if err != nil {
			t.Fatal(err)
		}
		st := <-states
		if st.DidResume != step.resumed || (len(st.PeerCertificates) == 1) != (step.certificate != nil) {
			t.Errorf("step %d: resumed %t, %d certificates", i, st.DidResume, len(st.PeerCertificates))
		}
		c.Close()
		<-c.Done()
	}
}

// Whatever the pieces it comes in, what the hub sends is read: acknowledgements count, anything else is passed over.
func TestReadingAtEveryCut(t *testing.T) {
	var stream []byte
	add := func(p mqtt.Packet) { stream, _ = p.Append(stream) }
	add(mqtt.Ack{Of: mqtt.PUBACK, ID: 1})
	add(mqtt.Bare(mqtt.PINGRESP))
	add(&mqtt.Publish{Topic: []byte("devices/d/messages/devicebound/x"), Payload: bytes.Repeat([]byte{0x40, 2, 0, 9}, 100)})
	add(mqtt.Ack{Of: mqtt.PUBACK, ID: 0x0203})
	add(&mqtt.Suback{ID: 5, Codes: []byte{0}})
	add(mqtt.Ack{Of: mqtt.PUBACK, ID: 65535})
	for cut := 1; cut < len(stream); cut += 1 + cut/40 {
		s := newServer(t, func(c *tls.Conn) {
			_, r := welcome(c)
			_, _ = c.Write(stream[:cut])
			_, _ = c.Write(stream[cut:])
			_, _, _ = r.Next()
		})
		k := newSink()
		c, err := s.way(nil).Open(t.Context(), hello(), k)
		if err != nil {
			t.Fatal(err)
		}
		if a, b, d := <-k.acks, <-k.acks, <-k.acks; a != 1 || b != 0x0203 || d != 65535 {
			t.Errorf("cut at %d: %d, %d, %d", cut, a, b, d)
		}
		c.Close()
		<-c.Done()
	}
}

func TestNoMQTTEndsTheConnection(t *testing.T) {
	for name, bad := range map[string][]byte{"a length without end": {0x40, 0xff, 0xff, 0xff, 0xff, 0xff}, "a short acknowledgement": {0x40, 1, 7}} {
		s := newServer(t, func(c *tls.Conn) {
			_, r := welcome(c)
			_, _ = c.Write(bad)
			_, _, _ = r.Next()
		})
		k := newSink()
		if _, err := s.way(nil).Open(t.Context(), hello(), k); err != nil {
			t.Fatal(err)
		}
		if err := <-k.ended; !strings.Contains(fault.Message(err), "the hub sent") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	answer := func(b ...byte) func(*tls.Conn) {
		return func(c *tls.Conn) {
			r := mqtt.NewReader(c, 1<<20)
			if _, _, err := r.Next(); err == nil {
				_, _ = c.Write(b)
			}
		}
	}
	for name, c := range map[string]struct {
		handle func(*tls.Conn)
		change func(*connection.Config)
		hello  func(*connection.Hello)
		kind   fault.Kind
		says   string
	}{
		"refused":         {answer(0x20, 2, 0, 5), nil, nil, fault.Unauthenticated, "the hub refused the device with CONNACK code 5"},
		"busy":            {answer(0x20, 2, 0, 3), nil, nil, fault.Unavailable, "cannot serve the device now"},
		"no CONNACK":      {answer(0xd0, 0, 0, 0), nil, nil, fault.Unavailable, "the hub answered CONNECT with PINGRESP"},
		"no answer":       {answer(), nil, nil, fault.Unavailable, "the hub closed the connection without an answer"},
		"nobody there":    {nil, func(c *connection.Config) { c.Address = "127.0.0.1:1" }, nil, fault.Unavailable, host + " at 127.0.0.1:1 cannot be reached"},
		"no name":         {nil, func(c *connection.Config) { c.Address, c.Host = "", "hub.invalid" }, nil, fault.Unavailable, "the name of hub.invalid cannot be looked up"},
		"no name to dial": {nil, func(c *connection.Config) { c.Address = "hub.invalid:8883" }, nil, fault.Unavailable, "cannot be looked up"},
		"another name":    {answer(), func(c *connection.Config) { c.Host = "other.example.net" }, nil, fault.Unauthenticated, "the certificate of other.example.net at 127.0.0.1"},
		"no trust":        {answer(), func(c *connection.Config) { c.Roots = x509.NewCertPool() }, nil, fault.Unauthenticated, "is not trusted"},
		"not our address": {answer(), func(c *connection.Config) {
			c.Sources = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::1")}
		}, nil, fault.Exhausted, "no local port is left for this hub, or the source address"},
		"a long id": {answer(), nil, func(h *connection.Hello) { h.Device = strings.Repeat("x", 70_000) }, fault.Invalid, "too long"},
		"silence":   {func(c *tls.Conn) { r := mqtt.NewReader(c, 1<<20); _, _, _ = r.Next(); _, _, _ = r.Next() }, func(c *connection.Config) { c.Timeout = 50 * time.Millisecond }, nil, fault.Timeout, "did not answer CONNECT in time"},
	} {
		s := newServer(t, c.handle)
		h := hello()
		if c.hello != nil {
			c.hello(&h)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, err := s.way(c.change).Open(ctx, h, newSink())
		cancel()
		if fault.KindOf(err) != c.kind || !strings.Contains(fault.Message(err), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSourcesTakeTurns(t *testing.T) {
	seen := make(chan string, 10)
	s := newServer(t, func(c *tls.Conn) {
		h, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		seen <- h
		if _, r := welcome(c); r != nil {
			_, _, _ = r.Next()
		}
	})
	way := s.way(func(c *connection.Config) {
		c.Sources = []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3"), netip.MustParseAddr("192.0.2.1")}
	})
	count := map[string]int{}
	for range 6 {
		c, err := way.Open(t.Context(), hello(), newSink())
		if err != nil {
			t.Skipf("this system has one address of 127.0.0.0/8: %v", err)
		}
		count[<-seen]++
		c.Cut()
		<-c.Done()
	}
	if count["127.0.0.2"]+count["127.0.0.3"] != 6 || count["127.0.0.2"] < 2 || count["127.0.0.3"] < 2 {
		t.Errorf("%v", count)
	}
}

func TestWebSocket(t *testing.T) {
	var path, protocol string
	s := newServer(t, nil)
	serve := func(subprotocols ...string) *http.Server {
		return &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if path = r.Host + r.URL.Path; r.URL.Path != "/$iothub/websocket" {
				http.Redirect(w, r, "https://elsewhere.example.net/", http.StatusFound)
				return
			}
			ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: subprotocols})
			if err != nil {
				return
			}
			protocol = ws.Subprotocol()
			c := websocket.NetConn(context.WithoutCancel(r.Context()), ws, websocket.MessageBinary)
			defer c.Close()
			_, reader := welcome(c)
			if reader == nil {
				return
			}
			for {
				first, body, err := reader.Next()
				if err != nil || mqtt.TypeOf(first) != mqtt.PUBLISH {
					return
				}
				var p mqtt.Publish
				_ = mqtt.DecodePublish(first, body, &p)
				b, _ := mqtt.Ack{Of: mqtt.PUBACK, ID: p.ID}.Append(nil)
				_, _ = c.Write(b)
			}
		})}
	}
	h := serve("mqtt")
	s.all.Go(func() { _ = h.Serve(tls.NewListener(s.ln, s.tls)) })
	defer h.Close()
	k := newSink()
	way := s.way(func(c *connection.Config) { c.Protocol = connection.MQTTWebSocket })
	c, err := way.Open(t.Context(), hello(), k)
	if err != nil {
		t.Fatal(err)
	}
	for id := range uint16(50) {
		if err := c.Publish("press 1", nil, bytes.Repeat([]byte("x"), int(id)*100), id+1, false); err != nil {
			t.Fatal(err)
		}
		if got := <-k.acks; got != id+1 {
			t.Errorf("%d acknowledged", got)
		}
	}
	if path != host+"/$iothub/websocket" || protocol != "mqtt" {
		t.Errorf("asked for %s by %s", path, protocol)
	}
	c.Close()
	<-c.Done()
	if err := <-k.ended; err == nil {
		t.Error("ended without a reason")
	}
}

func TestNoWebSocketThere(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		says   string
	}{
		"a web server":      {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "it answered 404 Not Found"},
		"a redirection":     {"HTTP/1.1 302 Found\r\nLocation: https://elsewhere.example.net/\r\nContent-Length: 0\r\n\r\n", "it answered 302 Found"},
		"another protocol":  {"SSH-2.0-x\r\n\r\n", "does not speak WebSocket"},
		"nothing to be had": {"", "does not speak WebSocket"},
	} {
		s := newServer(t, func(conn *tls.Conn) {
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = conn.Write([]byte(c.answer))
		})
		_, err := s.way(func(c *connection.Config) { c.Protocol = connection.MQTTWebSocket }).Open(t.Context(), hello(), newSink())
		if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Message(err), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheContextEndsOpening(t *testing.T) {
	inside := make(chan struct{})
	s := newServer(t, func(c *tls.Conn) {
		r := mqtt.NewReader(c, 1<<20)
		_, _, _ = r.Next()
		close(inside)
		_, _, _ = r.Next()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-inside; cancel() }()
	if _, err := s.way(nil).Open(ctx, hello(), newSink()); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// BenchmarkOpen connects, TLS and MQTT, and cuts; both ends are in this process. A way of its own for each connection has no session to
// resume.
func BenchmarkOpen(b *testing.B) {
	s := newServer(b, func(c *tls.Conn) {
		if _, r := welcome(c); r != nil {
			_, _, _ = r.Next()
		}
	})
	for _, resumed := range []bool{true, false} {
		b.Run(map[bool]string{true: "resumed", false: "full"}[resumed], func(b *testing.B) {
			way := s.way(nil)
			b.ReportAllocs()
			for b.Loop() {
				if !resumed {
					way = s.way(nil)
				}
				c, err := way.Open(b.Context(), hello(), newSink())
				if err != nil {
					b.Fatal(err)
				}
				c.Cut()
				<-c.Done()
			}
		})
	}
}
