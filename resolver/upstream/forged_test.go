package upstream_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/resolver/upstream"
)

// forge sends what an attacker could, then the true answer.
func forge(change func(a *asked, m *dns.Msg) []byte) func(*asked) {
	return func(a *asked) {
		if a.network == "udp" {
			m := a.say("@ 60 IN A 192.0.2.66")
			if b := change(a, m); b != nil {
				a.write(b)
			}
		}
		a.ok()
	}
}

func packed(m *dns.Msg) []byte {
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// swapCase changes the case of every letter.
func swapCase(s string) string {
	return strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
			return c ^ 0x20
		}
		return c
	}, s)
}

func TestForgedAnswersAreNotTaken(t *testing.T) {
	for name, change := range map[string]func(a *asked, m *dns.Msg) []byte{
		"wrong identifier": func(_ *asked, m *dns.Msg) []byte { m.Id++; return packed(m) },
		"wrong name": func(_ *asked, m *dns.Msg) []byte {
			m.Question[0].Name = "x" + m.Question[0].Name
			return packed(m)
		},
		"wrong type":  func(_ *asked, m *dns.Msg) []byte { m.Question[0].Qtype = dns.TypeAAAA; return packed(m) },
		"wrong class": func(_ *asked, m *dns.Msg) []byte { m.Question[0].Qclass = dns.ClassCHAOS; return packed(m) },
		"wrong case": func(_ *asked, m *dns.Msg) []byte { // the question is asked again over TCP
			m.Question[0].Name = swapCase(m.Question[0].Name)
			return packed(m)
		},
		"no question": func(_ *asked, m *dns.Msg) []byte { m.Question = nil; return packed(m) },
		"two questions": func(_ *asked, m *dns.Msg) []byte {
			m.Question = append(m.Question, m.Question[0])
			return packed(m)
		},
		"a query":        func(a *asked, _ *dns.Msg) []byte { return a.raw },
		"another opcode": func(_ *asked, m *dns.Msg) []byte { m.Opcode = dns.OpcodeNotify; return packed(m) },
		"cut in a record": func(_ *asked, m *dns.Msg) []byte {
			b := packed(m)
			return b[:len(b)-20]
		},
		"more records than there are": func(_ *asked, m *dns.Msg) []byte {
			b := packed(m)
			b[7] = 200
			return b
		},
		"the question points into the header": func(_ *asked, m *dns.Msg) []byte {
			b := packed(m)
			return append(append(b[:12:12], 0xc0, 0x00), b[len(b)-4:]...)
		},
		"a record points at itself": func(_ *asked, m *dns.Msg) []byte {
			m.Answer, m.Extra = nil, nil
			b := packed(m)
			b[7] = 1
			return append(b, 0xc0, byte(len(b)), 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 66)
		},
		"two OPT records":  func(_ *asked, m *dns.Msg) []byte { m.Extra = append(m.Extra, m.Extra[0]); return packed(m) },
		"another's cookie": func(_ *asked, m *dns.Msg) []byte { return packed(withCookie(m, "00112233445566778899aabbccddeeff")) },
		"half a cookie":    func(a *asked, m *dns.Msg) []byte { return packed(withCookie(m, a.cookie()[:8])) },
		"a few bytes":      func(_ *asked, _ *dns.Msg) []byte { return []byte("hello") },
		"another port": func(a *asked, m *dns.Msg) []byte {
			c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(a.from))
			if err != nil {
				panic(err)
			}
			defer c.Close()
			_, _ = c.Write(packed(m))
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, nil, forge(change))
			w := start(t, upstream.Config{})
			w.must(w.Group([]upstream.Server{f.server()}), "bank.elsewhere.example", "bank.elsewhere.example. A 192.0.2.1")
			if name == "wrong case" != (f.count("tcp") == 1) {
				t.Errorf("asked %d times over TCP", f.count("tcp"))
			}
		})
	}
}

// One who cannot see the queries must guess identifier and port together.
func TestPortsAndIdentifiersAreSpread(t *testing.T) {
	const n = 400
	for _, c := range []struct {
		name      string
		cfg       upstream.Config
		low, high int // ports used
	}{
		{"a fresh one each", upstream.Config{SocketUses: 1}, n - 15, n},
		{"in rounds", upstream.Config{Sockets: 4, SocketUses: 10}, 40, 44},
		{"as it comes", upstream.Config{}, 8, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, nil, (*asked).ok)
			w := start(t, c.cfg)
			g := w.Group([]upstream.Server{f.server()})
			for range n {
				w.must(g, "elsewhere.example", "elsewhere.example. A 192.0.2.1")
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if got := len(f.ports); got < c.low || got > c.high {
				t.Errorf("%d ports for %d questions, want %d to %d", got, n, c.low, c.high)
			}
			if got := len(f.ids); got < n-10 {
				t.Errorf("%d identifiers for %d questions", got, n)
			}
			for port := range f.ports {
				if port < 1<<15 {
					t.Errorf("port %d could be somebody's service", port)
				}
			}
		})
	}
}

func TestCaseIsMixed(t *testing.T) {
	seen := map[string]bool{}
	f := newFake(t, nil, func(a *asked) { seen[a.name()] = true; a.ok() })
	w := start(t, upstream.Config{})
	g := w.Group([]upstream.Server{f.server()})
	for range 20 {
		w.must(g, "hub.azure-devices.net", "hub.azure-devices.net. A 192.0.2.1")
	}
	f.look(func() {
		if len(seen) < 19 {
			t.Errorf("%d spellings in 20 questions", len(seen))
		}
	})
}

func TestServerThatDoesNotEchoCase(t *testing.T) {
	small := func(a *asked) {
		m := a.say("@ 60 IN A 192.0.2.1")
		m.Question[0].Name = strings.ToLower(a.name())
		a.send(m)
	}
	t.Run("over TCP neither", func(t *testing.T) {
		f := newFake(t, nil, small)
		w := start(t, upstream.Config{})
		g := w.Group([]upstream.Server{f.server()})
		for range 3 {
			w.must(g, "hub.azure-devices.net", "hub.azure-devices.net. A 192.0.2.1")
		}
		if udp, tcp := f.count("udp"), f.count("tcp"); udp != 3 || tcp != 1 {
			t.Errorf("asked %d times over UDP and %d over TCP, want 3 and 1", udp, tcp)
		}
		if st := g.Status()[0]; len(st.Notes) != 1 || !strings.Contains(st.Notes[0], "case") || !st.Healthy {
			t.Errorf("status %+v", st)
		}
		w.clk.Advance(2 * 3600e9)
		if st := g.Status()[0]; len(st.Notes) != 0 {
			t.Errorf("after two hours: %q", st.Notes)
		}
	})
	t.Run("without TCP", func(t *testing.T) {
		f := newFake(t, nil, func(a *asked) {
			if a.network == "tcp" {
				a.hangUp()
				return
			}
			small(a)
		})
		w := start(t, upstream.Config{})
		g := w.Group([]upstream.Server{f.server()})
		w.must(g, "hub.azure-devices.net", "hub.azure-devices.net. A 192.0.2.1")
		if st := g.Status()[0]; len(st.Notes) != 1 || !st.Healthy || st.Failures != 0 {
			t.Errorf("status %+v", st)
		}
	})
}

func TestCookies(t *testing.T) {
	const theirs = "a0a1a2a3a4a5a6a7"
	answer := func(a *asked, ip, cookie string) { a.send(withCookie(a.say("@ 60 IN A "+ip), cookie)) }
	f := newFake(t, nil, nil)
	w := start(t, upstream.Config{})
	g := w.Group([]upstream.Server{f.server()})
	var ours string
	f.does(func(a *asked) {
		ours = a.cookie()
		answer(a, "192.0.2.1", ours+theirs)
	})
	w.must(g, "a.example", "a.example. A 192.0.2.1")
	f.look(func() {
		if len(ours) != 16 || !g.Status()[0].Cookies {
			t.Fatalf("our cookie is %q, status %+v", ours, g.Status()[0])
		}
	})
	// The server's comes back, ours stays.
	f.does(func(a *asked) {
		if a.cookie() != ours+theirs {
			t.Errorf("the second question has the cookie %q", a.cookie())
		}
		answer(a, "192.0.2.1", ours+theirs)
	})
	w.must(g, "b.example", "b.example. A 192.0.2.1")
	// An answer without it is not taken from a server that sends them: the question goes over TCP.
	f.does(func(a *asked) {
		if a.network == "udp" {
			a.send(a.say("@ 60 IN A 192.0.2.66"))
			return
		}
		answer(a, "192.0.2.1", ours+theirs)
	})
	w.must(g, "c.example", "c.example. A 192.0.2.1")
	if f.count("tcp") != 1 || !g.Status()[0].Cookies {
		t.Errorf("asked %d times over TCP, status %+v", f.count("tcp"), g.Status()[0])
	}
	// FORMERR without EDNS does not take the cookie away either.
	f.does(func(a *asked) {
		if a.network == "udp" {
			m := a.say()
			m.Rcode, m.Extra = dns.RcodeFormatError, nil
			a.send(m)
			return
		}
		answer(a, "192.0.2.1", ours+theirs)
	})
	w.must(g, "d.example", "d.example. A 192.0.2.1")
	// BADCOOKIE brings a new one, which is used at once.
	const newer = "b0b1b2b3b4b5b6b7"
	before := f.count("udp")
	f.does(func(a *asked) {
		if a.cookie() != ours+newer {
			m := withCookie(a.say(), ours+newer)
			m.Rcode = dns.RcodeBadCookie
			a.send(m)
			return
		}
		answer(a, "192.0.2.1", ours+newer)
	})
	w.must(g, "e.example", "e.example. A 192.0.2.1")
	if n := f.count("udp") - before; n != 2 {
		t.Errorf("asked %d times over UDP, want 2", n)
	}
	// ... but once only: then it goes over TCP.
	f.does(func(a *asked) {
		m := withCookie(a.say("@ 60 IN A 192.0.2.1"), ours+newer)
		if a.network == "udp" {
			m.Rcode, m.Answer = dns.RcodeBadCookie, nil
		}
		a.send(m)
	})
	before = f.count("udp")
	w.must(g, "f.example", "f.example. A 192.0.2.1")
	if n := f.count("udp") - before; n != 2 {
		t.Errorf("asked %d times over UDP, want 2", n)
	}
	// A server that has ceased to send them says so over TCP, and is believed.
	f.does((*asked).ok)
	w.must(g, "g.example", "g.example. A 192.0.2.1")
	if g.Status()[0].Cookies {
		t.Error("it is still thought to send cookies")
	}
	tcp := f.count("tcp")
	w.must(g, "h.example", "h.example. A 192.0.2.1")
	if f.count("tcp") != tcp {
		t.Error("it is still asked over TCP")
	}
	// One that sends them at times only is not held to it, for an hour.
	f.does(func(a *asked) { answer(a, "192.0.2.1", ours+theirs) })
	w.must(g, "i.example", "i.example. A 192.0.2.1")
	f.does((*asked).ok)
	w.must(g, "j.example", "j.example. A 192.0.2.1")
	if st := g.Status()[0]; f.count("tcp") != tcp || st.Cookies || len(st.Notes) != 1 {
		t.Errorf("asked %d times over TCP, status %+v", f.count("tcp")-tcp, st)
	}
	w.clk.Advance(time.Hour)
	f.does(func(a *asked) { answer(a, "192.0.2.1", ours+theirs) })
	w.must(g, "k.example", "k.example. A 192.0.2.1")
	if st := g.Status()[0]; !st.Cookies || len(st.Notes) != 0 {
		t.Errorf("after an hour: %+v", st)
	}
}

// A port is not kept for long, however little it is used.
func TestPortsGrowOld(t *testing.T) {
	f := newFake(t, nil, (*asked).ok)
	w := start(t, upstream.Config{Sockets: 1, SocketUses: 1 << 30})
	g := group(w, f)
	ports := func() (n int) {
		w.must(g, "a.example", good)
		f.look(func() { n = len(f.ports) })
		return n
	}
	ports()
	for range 9 {
		w.clk.Advance(time.Second)
		if n := ports(); n != 1 {
			t.Fatalf("%d ports", n)
		}
	}
	w.clk.Advance(time.Second)
	eventually(t, func() bool { return ports() == 2 })
}

func TestEachServerHasItsOwnCookie(t *testing.T) {
	seen := map[string]bool{}
	w := start(t, upstream.Config{})
	for range 3 {
		var cookie string
		f := newFake(t, nil, func(a *asked) { cookie = a.cookie(); a.ok() })
		w.must(w.Group([]upstream.Server{f.server()}), "a.example", "a.example. A 192.0.2.1")
		f.look(func() { seen[cookie] = true })
	}
	if len(seen) != 3 {
		t.Errorf("three servers saw %d cookies", len(seen))
	}
}
