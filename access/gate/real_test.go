package gate_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/access/gate"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// echo listens where a target leads, and gives back all it gets, in the end.
func echo(t testing.TB, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l
}

func TestAddressesAreDialled(t *testing.T) {
	tcp := echo(t, "tcp", "127.0.0.1:0").Addr().String()
	_, port, _ := net.SplitHostPort(tcp)
	socket := filepath.Join(t.TempDir(), "s")
	echo(t, "unix", socket)
	for name, c := range map[string]struct {
		address string
		allow   []string
	}{
		"tcp":              {tcp, nil},
		"a name":           {"localhost:" + port, []string{"127.0.0.0/8"}},
		"an allowed name":  {"localhost:" + port, []string{"localhost"}},
		"an allowed port":  {tcp, []string{"127.0.0.1:" + port}},
		"a socket":         {"unix:" + socket, nil},
		"an allowed place": {"unix:" + socket, []string{"unix:" + filepath.Dir(socket) + "/"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newRealWorld(t, gate.Config{Allow: c.allow})
			p := w.target()
			p.Address = c.address
			w.gate.Set([]plan.Target{p})
			content := bytes.Repeat([]byte("over and over"), 100_000)
			s := w.open("grant-1")
			go func() {
				_, _ = s.Write(content)
				_ = s.CloseWrite()
			}()
			got, err := io.ReadAll(s)
			if err != nil || !bytes.Equal(got, content) {
				t.Fatalf("%d bytes of %d: %v", len(got), len(content), err)
			}
			r := w.journal.wait(1)
			if r.End != session.EndClosed || r.Sent != uint64(len(content)) || r.Received != uint64(len(content)) || r.To != c.address {
				t.Errorf("%+v", r)
			}
			if p := w.gate.Problems(); len(p) > 0 {
				t.Error(p)
			}
		})
	}
}

func TestAddressesThatCannotBeDialled(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	closed := l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(closed)
	for name, c := range map[string]struct {
		address, words string
		allow          []string
		end            session.End
		code           tunnel.ResetCode
	}{
		"nobody there":      {closed, "refuses connections", nil, session.Unreachable, tunnel.ResetTargetClosed},
		"no socket":         {"unix:/nonexistent/s", "no such file", nil, session.Unreachable, tunnel.ResetUnreachable},
		"another address":   {"localhost:" + port, "address that the target's name stands for", []string{"192.0.2.0/24"}, session.NotAllowedHere, tunnel.ResetRefused},
		"nothing allowed":   {closed, "own settings", []string{}, session.NotAllowedHere, tunnel.ResetRefused},
		"a wrong pattern":   {closed, "own settings", []string{"10.0.0.0/99"}, session.NotAllowedHere, tunnel.ResetRefused},
		"an unknown device": {"", "leads to no devices", nil, session.Unreachable, tunnel.ResetUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			w := newRealWorld(t, gate.Config{Allow: c.allow})
			good := w.target()
			good.ID, good.Address, good.Grants = "target-2", echo(t, "tcp", "127.0.0.1:0").Addr().String(), []plan.Grant{w.grant("grant-2", alice)}
			p := w.target()
			p.Address = c.address
			if p.Address == "" {
				p.Device = &plan.TargetDevice{Device: "press-4", Stream: "ssh"}
			}
			w.gate.Set([]plan.Target{p, good})
			if reset := w.refused("grant-1"); reset.Code != c.code || !strings.Contains(reset.Message, c.words) {
				t.Error(reset)
			}
			if r := w.journal.wait(0); r.End != c.end || r.Check() != nil {
				t.Errorf("%+v", r)
			}
			if len(w.gate.Problems()) == 0 != (len(c.allow) == 0 && c.allow != nil) {
				t.Error(w.gate.Problems())
			}
			if c.allow != nil {
				return
			}
			// One that does not work harms no other.
			s := w.open("grant-2")
			send(t, s, "x")
			expect(t, s, "x")
			// What leaves the plan is no problem any more.
			w.gate.Set([]plan.Target{good})
			if p := w.gate.Problems(); len(p) > 0 {
				t.Error(p)
			}
		})
	}
}

// A machine that breaks is a reset for the person, and the other way round.
func TestABreakIsABreak(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	w := newRealWorld(t, gate.Config{})
	p := w.target()
	p.Address = l.Addr().String()
	w.gate.Set([]plan.Target{p})
	for i, person := range []bool{false, true} {
		s := w.open("grant-1")
		send(t, s, "x")
		m, err := l.Accept()
		must(t, err)
		expect(t, m, "x")
		if person {
			s.Reset(tunnel.ResetPeer, "")
			if _, err := m.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
				t.Error("the machine reads", err)
			}
		} else {
			_ = m.(*net.TCPConn).SetLinger(0)
			_ = m.Close()
			cut(t, s)
		}
		_ = m.Close()
		if r := w.journal.wait(2*i + 1); r.End != session.EndBroken {
			t.Errorf("%+v", r)
		}
	}
	if w.metric("sessions_total", "broken") != 2 {
		t.Error("not counted")
	}
}
