package simulate_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

const stubHost = "stub.azure-devices.net"

// stub answers as a hub does and keeps nothing, so that what is measured is the simulator.
type stub struct {
	roots   *x509.CertPool
	caPEM   []byte
	tls     *tls.Config
	address string
	// answer decides on each message of a connection, counted from 1: whether to acknowledge it, and whether to go on.
	answer func(connection, message int, p *mqtt.Publish) (acknowledge, goOn bool)
	pings  atomic.Int32
	// forgets has it keep no bodies.
	forgets bool

	ln   net.Listener
	all  sync.WaitGroup
	mu   sync.Mutex // guards the fields below
	code mqtt.ReturnCode
	n    int
	open map[net.Conn]struct{}
	seen []string // bodies, where somebody asks
}

func newStub(t testing.TB) *stub {
	t.Helper()
	s := &stub{open: map[net.Conn]struct{}{}}
	authority, _, err := identity.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s.caPEM, s.roots = authority.CertificatePEM(), x509.NewCertPool()
	s.roots.AddCert(authority.Certificate())
	key, keyPEM, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := identity.NewRequest(key, "", stubHost)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := authority.IssueServer(csr, time.Now(), time.Hour, stubHost)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(pem, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	s.tls = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if s.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	s.address = s.ln.Addr().String()
	return s
}

// start serves MQTT until the test ends.
func (s *stub) start(t testing.TB) *stub {
	s.all.Go(func() {
		for {
			c, err := s.ln.Accept()
			if err != nil {
				return
			}
			s.all.Go(func() { s.serve(tls.Server(c, s.tls)) })
		}
	})
	t.Cleanup(s.stop)
	return s
}

func (s *stub) stop() {
	_ = s.ln.Close()
	s.cut()
	s.all.Wait()
}

// accept ends a time of refusals.
func (s *stub) accept() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code = mqtt.Accepted
}

// cut ends every connection.
func (s *stub) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		_ = c.Close()
	}
}

func (s *stub) serve(c net.Conn) {
	s.mu.Lock()
	s.open[c] = struct{}{}
	s.n++
	n := s.n
	s.mu.Unlock()
	defer func() {
		_ = c.Close()
		s.mu.Lock()
		delete(s.open, c)
		s.mu.Unlock()
	}()
	r := mqtt.NewReader(c, 1<<20)
	var p mqtt.Publish
	var out []byte
	for count := 0; ; {
		first, body, err := r.Next()
		if err != nil {
			return
		}
		out = out[:0]
		switch mqtt.TypeOf(first) {
		case mqtt.CONNECT:
			s.mu.Lock()
			code := s.code
			s.mu.Unlock()
			out, _ = mqtt.Connack{Code: code}.Append(out)
		case mqtt.PINGREQ:
			s.pings.Add(1)
			out, _ = mqtt.Bare(mqtt.PINGRESP).Append(out)
		case mqtt.PUBLISH:
			if mqtt.DecodePublish(first, body, &p) != nil {
				return
			}
			acknowledge, goOn := true, true
			if count++; s.answer != nil {
				s.mu.Lock()
				s.seen = append(s.seen, string(p.Payload))
				s.mu.Unlock()
				acknowledge, goOn = s.answer(n, count, &p)
			}
			if acknowledge {
				out, _ = mqtt.Ack{Of: mqtt.PUBACK, ID: p.ID}.Append(out)
			}
			if !goOn {
				_, _ = c.Write(out)
				return
			}
		case mqtt.DISCONNECT:
			return
		}
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

// startWebSocket serves MQTT over WebSocket until the test ends.
func (s *stub) startWebSocket(t testing.TB, protocols ...string) *stub {
	h := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/$iothub/websocket" || r.Host != stubHost || r.TLS.ServerName != stubHost {
			http.Error(w, "not here", http.StatusNotFound)
			return
		}
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: protocols})
		if err != nil {
			return
		}
		s.serve(websocket.NetConn(context.WithoutCancel(r.Context()), c, websocket.MessageBinary))
	})}
	s.all.Go(func() { _ = h.Serve(tls.NewListener(s.ln, s.tls)) })
	t.Cleanup(func() { _ = h.Close(); s.stop() })
	return s
}

// stubProcess makes TestMain serve instead of testing: then two processes have the memory and the open files.
const stubProcess = "ISTHMUS_SIMULATE_TEST_STUB"

// serveStub runs in the other process: it prints its address, writes its authority to a file, and ends with its standard input.
func serveStub(file string) {
	s := newStub(aside{})
	if err := os.WriteFile(file, s.caPEM, 0o600); err != nil {
		panic(err)
	}
	s.forgets = true
	switch strings.TrimSuffix(filepath.Base(file), ".pem") {
	case "mqtt-ws":
		s.startWebSocket(aside{}, "mqtt")
	case "amqp":
		s.startAMQP(aside{}, nil, nil)
	case "https":
		s.startHTTPS(aside{}, time.Hour, nil)
	default:
		s.start(aside{})
	}
	fmt.Println(s.address)
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// aside is a testing.TB outside a test.
type aside struct{ testing.TB }

func (aside) Helper()           {}
func (aside) Cleanup(func())    {}
func (aside) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// otherProcess starts a stub in a process of its own and returns its address and its authority's file.
func otherProcess(t testing.TB, protocol string) (address, ca string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ca = filepath.Join(t.TempDir(), protocol+".pem")
	cmd := exec.Command(self)
	cmd.Env, cmd.Stderr = append(os.Environ(), stubProcess+"="+ca), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line), ca
}
