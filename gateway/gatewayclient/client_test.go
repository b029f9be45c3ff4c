package gatewayclient_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/gateway"
	"github.com/isthmus-io/isthmus/gateway/decide"
	"github.com/isthmus-io/isthmus/gateway/gatewayclient"
	"github.com/isthmus-io/isthmus/localsocket"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// socketDir is short: a socket's path may have some 100 bytes.
func socketDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "gw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func client(t *testing.T, dir string) *gatewayclient.Client {
	c := gatewayclient.New(dir)
	t.Cleanup(c.Close)
	return c
}

func TestAGatewayIsAsked(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // a port that nobody else was given
	if err != nil {
		t.Fatal(err)
	}
	at := ln.Addr().(*net.TCPAddr).AddrPort()
	_ = ln.Close()
	dir := socketDir(t)
	g := gateway.New(gateway.Config{Dir: dir, Workers: 1}, nil, slog.New(slog.DiscardHandler), clock.System{}, nil)
	g.Set([]plan.Gateway{{
		ID: "ot/cloud/front", Name: "ot/cloud/front", Listeners: []resource.GatewayListener{{Name: "mqtt", Address: at.Addr(), Port: at.Port()}},
		Groups: []resource.TargetGroup{{Name: "hub", Targets: []string{"127.0.0.1:1"}, Health: resource.Health{Check: resource.CheckNone}}},
		Routes: []plan.GatewayRoute{{Group: "hub"}},
		Allowlists: []plan.Allowlist{{Name: "ot/cloud/fabrikam", Rules: []resource.AllowRule{
			{Name: "berlin", Sources: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}},
		}}},
	}})
	ran := make(chan error, 1)
	go func() { ran <- g.Run(t.Context()) }()
	select {
	case <-g.Ready():
	case err := <-ran:
		t.Fatal(err)
	}
	c, ctx := client(t, dir), t.Context()

	s, err := c.Status(ctx)
	for tick := time.NewTicker(time.Millisecond); err != nil && fault.KindOf(err) == fault.Unavailable; s, err = c.Status(ctx) {
		select { // a gateway is ready a moment before it answers people
		case <-tick.C:
		case err := <-ran:
			t.Fatal(err)
		}
	}
	if err != nil || s.Phase != "serving" || len(s.Gateways) != 1 || s.Gateways[0].Rules != 1 || len(s.Groups) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	in := decide.Question{Source: netip.MustParseAddr("203.0.113.9"), Port: at.Port(), Name: "a.example", Listener: "mqtt"}
	x, err := c.Why(ctx, "", in)
	if err != nil || !x.Allowed || x.Name != "a.example" || x.Listener != "mqtt" || x.Port != at.Port() || x.Most == 0 || len(x.Targets) != 1 {
		t.Errorf("%+v, %v", x, err)
	}
	x, err = c.Why(ctx, "ot/cloud/front", decide.Question{Source: netip.MustParseAddr("2001:db8::1")})
	if err != nil || x.Allowed || x.Reason != string(decide.NoRule) {
		t.Errorf("%+v, %v", x, err)
	}
	if _, err = c.Why(ctx, "ot/cloud/other", in); fault.KindOf(err) != fault.NotFound || fault.Next(err) == "" || !strings.Contains(fault.Message(err), "ot/cloud/other") {
		t.Errorf("%v", err)
	}

	if conn, err := net.Dial("tcp", at.String()); err == nil { // from 127.0.0.1, which no rule has: it is reset, now or in a moment
		_, _ = conn.Read(make([]byte, 1))
		_ = conn.Close()
	}
	r, err := c.Refusals(ctx, 5)
	if err != nil || len(r.Recent) != 1 || r.Recent[0].Source != netip.MustParseAddr("127.0.0.1") || len(r.Counts) != 1 || len(r.Culprits) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err = c.Refusals(ctx, -1); fault.KindOf(err) != fault.Invalid {
		t.Errorf("%v", err)
	}

	for _, d := range []time.Duration{-1, time.Millisecond, 25 * time.Hour} {
		if _, err := c.Drain(ctx, d); fault.KindOf(err) != fault.Invalid || fault.Next(err) == "" {
			t.Errorf("%v: %v", d, err)
		}
	}
	if n, err := c.Drain(ctx, 2*time.Second); err != nil || n > 1 { // the one that was reset may be counted yet
		t.Fatalf("%d, %v", n, err)
	}
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if _, err := c.Status(ctx); fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Next(err), dir) {
		t.Errorf("%v", err)
	}
}

// An agent that carries gateways answers people, and is not taken over from.
func TestAGatewayInALargerProcess(t *testing.T) {
	dir := socketDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ran := make(chan error, 1)
	g := gateway.New(gateway.Config{Admin: dir, Workers: 1}, nil, slog.New(slog.DiscardHandler), clock.System{}, nil)
	go func() { ran <- g.Run(ctx) }()
	c := client(t, dir)
	_, err := c.Status(ctx)
	for tick := time.NewTicker(time.Millisecond); err != nil; _, err = c.Status(ctx) {
		select {
		case <-tick.C:
		case err := <-ran:
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}

func TestNobodyOrSomebodyElseAnswers(t *testing.T) {
	missing := filepath.Join(socketDir(t), "nothing")
	if _, err := client(t, missing).Status(t.Context()); fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Message(err), "no data directory "+missing) {
		t.Errorf("%v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client(t, missing).Status(gone); fault.KindOf(err) != fault.Timeout {
		t.Errorf("%v", err)
	}
	for name, answer := range map[string]struct {
		code int
		body string
	}{"no JSON": {200, "<html>"}, "no words": {500, "oops"}, "elsewhere": {404, "{}"}} {
		t.Run(name, func(t *testing.T) {
			dir := socketDir(t)
			ln, err := localsocket.Listen(gatewayclient.Socket(dir))
			if err != nil {
				t.Fatal(err)
			}
			srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(answer.code)
				_, _ = w.Write([]byte(answer.body))
			})}
			done := make(chan struct{})
			go func() { defer close(done); _ = srv.Serve(ln) }()
			defer func() { _ = srv.Close(); <-done }()
			if _, err := client(t, dir).Status(t.Context()); fault.KindOf(err) != fault.Unavailable || fault.Message(err) == "" {
				t.Errorf("%v", err)
			}
		})
	}
}
