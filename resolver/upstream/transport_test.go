package upstream_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resolver/upstream"
)

func TestTheQueryOnTheWire(t *testing.T) {
	var got *asked
	f := newFake(t, nil, func(a *asked) { got = a; a.ok() })
	w := start(t, upstream.Config{Token: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}})
	g := group(w, f)
	for _, c := range []struct {
		cd, ad, do bool
		via        []byte
	}{{}, {cd: true}, {ad: true}, {do: true}, {via: bytes.Repeat([]byte{9}, 16)}, {via: make([]byte, 1000)}} {
		q := question(t, "a.example")
		q.CD, q.AD, q.DO, q.Via = c.cd, c.ad, c.do, c.via
		if _, err := w.Exchange(context.Background(), g, q); err != nil {
			t.Fatal(err)
		}
		f.look(func() {
			opt := got.IsEdns0()
			if got.CheckingDisabled != c.cd || got.AuthenticatedData != c.ad || !got.RecursionDesired || opt == nil || opt.Do() != c.do || opt.UDPSize() != 1232 {
				t.Errorf("%+v: got %v", c, got.Msg)
			}
			via := got.option(upstream.LoopOption)
			want := append(append([]byte{}, c.via[:min(len(c.via), 120)]...), 1, 2, 3, 4, 5, 6, 7, 8)
			if !bytes.Equal(via, want) || !upstream.HasToken(via, w.Token()) || upstream.HasToken(via, [8]byte{8}) {
				t.Errorf("the loop option has %x, want %x", via, want)
			}
			if len(got.raw) > 512 || got.option(dns.EDNS0PADDING) != nil {
				t.Errorf("%d bytes", len(got.raw))
			}
		})
	}
}

func TestLongestQuestion(t *testing.T) {
	label := strings.Repeat("x", 63) + "."
	name := label + label + label + strings.Repeat("y", 61)
	f := newFake(t, nil, func(a *asked) { a.send(withCookie(a.say(), a.cookie()[:16]+strings.Repeat("ab", 32))) })
	w := start(t, upstream.Config{})
	for range 2 { // the second with the longest cookie
		q := question(t, name)
		q.Via = make([]byte, 120)
		if _, err := w.Exchange(context.Background(), group(w, f), q); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := upstream.WireName(name + "y"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a name of 256 bytes: %v", err)
	}
}

func TestServersThatKnowLess(t *testing.T) {
	formerr := func(a *asked, opt bool) {
		m := a.say()
		m.Rcode = dns.RcodeFormatError
		if !opt {
			m.Extra = nil
		}
		a.send(m)
	}
	for _, c := range []struct {
		name          string
		script        func(*asked)
		first, second int // queries over UDP for the first question, and for the second
		note          string
	}{
		{"no EDNS, FORMERR", func(a *asked) {
			if a.IsEdns0() != nil {
				formerr(a, false)
				return
			}
			a.ok()
		}, 3, 1, "EDNS"},
		{"no EDNS, FORMERR without the question", func(a *asked) {
			if a.IsEdns0() != nil {
				a.write([]byte{a.raw[0], a.raw[1], 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0})
				return
			}
			a.ok()
		}, 3, 1, "EDNS"},
		{"no EDNS, NOTIMP", func(a *asked) {
			if a.IsEdns0() != nil {
				m := a.say()
				m.Rcode, m.Extra = dns.RcodeNotImplemented, nil
				a.send(m)
				return
			}
			a.ok()
		}, 2, 1, "EDNS"},
		{"no options it does not know", func(a *asked) {
			if a.option(upstream.LoopOption) != nil {
				formerr(a, true)
				return
			}
			a.ok()
		}, 2, 1, "loops"},
		{"no options it does not know, without OPT", func(a *asked) {
			if a.option(upstream.LoopOption) != nil {
				formerr(a, false)
				return
			}
			a.ok()
		}, 2, 1, "loops"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, nil, c.script)
			w := start(t, upstream.Config{})
			g := group(w, f)
			w.must(g, "a.example", good)
			if n := f.count("udp"); n != c.first {
				t.Errorf("the first question took %d queries, want %d", n, c.first)
			}
			w.must(g, "a.example", good)
			if n := f.count("udp") - c.first; n != c.second {
				t.Errorf("the second question took %d queries, want %d", n, c.second)
			}
			if st := g.Status()[0]; len(st.Notes) != 1 || !strings.Contains(st.Notes[0], c.note) {
				t.Errorf("notes %q", st.Notes)
			}
		})
	}
	t.Run("nothing at all", func(t *testing.T) {
		f := newFake(t, nil, func(a *asked) { formerr(a, false) })
		w := start(t, upstream.Config{})
		g := group(w, f)
		w.must(g, "a.example", "FORMERR")
		if st := g.Status()[0]; len(st.Notes) != 0 {
			t.Errorf("notes %q", st.Notes)
		}
	})
	t.Run("EDNS is tried again", func(t *testing.T) {
		f := newFake(t, nil, func(a *asked) {
			if a.IsEdns0() != nil {
				formerr(a, false)
				return
			}
			a.ok()
		})
		w := start(t, upstream.Config{})
		g := group(w, f)
		w.must(g, "a.example", good)
		w.clk.Advance(15 * time.Minute)
		f.does((*asked).ok)
		w.must(g, "a.example", good)
		if st := g.Status()[0]; len(st.Notes) != 0 || f.count("udp") != 4 {
			t.Errorf("notes %q after %d queries", st.Notes, f.count("udp"))
		}
	})
}

func manyRecords() (records []string, want string) {
	var all []string
	for i := range 200 {
		records = append(records, fmt.Sprintf("@ 60 IN A 192.0.2.%d", i))
		all = append(all, fmt.Sprintf("a.example. A 192.0.2.%d", i))
	}
	return records, strings.Join(all, ", ")
}

func TestCutAnswers(t *testing.T) {
	records, want := manyRecords()
	cut := func(a *asked) {
		m := a.say(records...)
		if a.network == "udp" {
			m.Truncate(512)
		}
		a.send(m)
	}
	f := newFake(t, nil, cut)
	w := start(t, upstream.Config{})
	g := group(w, f)
	for range 3 {
		if a := w.must(g, "a.example", want); a.Truncated {
			t.Error("it is said to be cut")
		}
	}
	if f.conns != 1 || f.count("tcp") != 3 {
		t.Errorf("%d questions over %d connections", f.count("tcp"), f.conns)
	}
	// In the middle of a record.
	f.does(func(a *asked) {
		b := packed(a.say(records...))
		if a.network == "udp" {
			b = b[:500]
			b[2] |= 2
		}
		a.write(b)
	})
	w.must(g, "a.example", want)
	// Larger than was asked for, and not marked.
	f.does(func(a *asked) { a.send(a.say(append(records, records...)...)) })
	before := f.count("tcp")
	w.must(g, "a.example", want+", "+want)
	if f.count("tcp") == before {
		t.Error("not asked over TCP")
	}
	// Without TCP the part is better than nothing, and marked.
	f.does(func(a *asked) {
		if a.network == "tcp" {
			a.hangUp()
			return
		}
		cut(a)
	})
	a, err := w.Exchange(context.Background(), g, question(t, "a.example"))
	if err != nil || !a.Truncated || len(a.Message) > 512 {
		t.Errorf("answer of %d bytes, truncated %v, err %v", len(a.Message), a.Truncated, err)
	}
	if st := g.Status()[0]; !st.Healthy {
		t.Errorf("status %+v", st)
	}
}

// authority makes a certificate for names and addresses, and who vouches for it.
func authority(t testing.TB, names ...string) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, roots
}

func TestOneConnectionForAll(t *testing.T) {
	conf, roots := authority(t, "dns.example", "127.0.0.1")
	for _, c := range []struct {
		transport upstream.Transport
		conf      *tls.Config
	}{{upstream.TCP, nil}, {upstream.TLS, conf}} {
		t.Run(string(c.transport), func(t *testing.T) {
			// Answers come in the order the server likes: here the last first.
			var held []*asked
			f := newFake(t, c.conf, func(a *asked) {
				if a.network != "tcp" {
					t.Errorf("asked over %s", a.network)
				}
				if n := len(a.raw); c.transport == upstream.TLS && (n%128 != 0 || a.option(dns.EDNS0PADDING) == nil || a.cookie() != "") {
					t.Errorf("a query of %d bytes, cookie %q", n, a.cookie())
				}
				if held = append(held, a); len(held) < 10 {
					return
				}
				for len(held) > 0 {
					held[len(held)-1].ok()
					held = held[:len(held)-1]
				}
			})
			w := start(t, patient(roots))
			g := w.Group([]upstream.Server{{Address: f.addr, Transport: c.transport, Name: "dns.example"}})
			var got []<-chan upstream.Answer
			for i := range 10 {
				got = append(got, w.ask(g, string(rune('a'+i))+".example"))
			}
			for i, ch := range got {
				a := <-ch
				if a.Err != nil {
					t.Fatal(a.Err)
				}
				if want := string(rune('a'+i)) + ".example. A 192.0.2.1"; recordsOf(t, a) != want {
					t.Errorf("got %q, want %q", recordsOf(t, a), want)
				}
			}
			f.does((*asked).ok)
			w.must(g, "a.example", good)
			f.look(func() {
				if f.conns != 1 {
					t.Errorf("%d connections", f.conns)
				}
			})
			// The server closes it while a question is on its way: asked again on another.
			f.does(func(a *asked) {
				if a.n == 12 {
					a.hangUp()
					return
				}
				a.ok()
			})
			w.must(g, "a.example", good)
			if st := g.Status()[0]; st.Failures != 0 || f.conns != 2 {
				t.Errorf("%d connections, status %+v", f.conns, st)
			}
			// Idle for long enough, it is closed; the next question opens another.
			f.does((*asked).ok)
			w.clk.Advance(11 * time.Second)
			w.clk.Advance(2 * time.Second)
			eventually(t, func() bool {
				w.must(g, "a.example", good)
				w.clk.Advance(11 * time.Second)
				n := 0
				f.look(func() { n = f.conns })
				return n > 2
			})
		})
	}
}

func TestConnectionsThatFail(t *testing.T) {
	conf, roots := authority(t, "dns.example", "127.0.0.1")
	wrong, _ := authority(t, "dns.example")
	old := conf.Clone()
	old.MaxVersion = tls.VersionTLS11
	second := newFake(t, nil, (*asked).ok)
	for _, c := range []struct {
		name   string
		conf   *tls.Config
		server upstream.Server
		script func(*asked)
	}{
		{"another name", conf, upstream.Server{Transport: upstream.TLS, Name: "other.example"}, (*asked).ok},
		{"nobody vouches", wrong, upstream.Server{Transport: upstream.TLS, Name: "dns.example"}, (*asked).ok},
		{"TLS 1.1", old, upstream.Server{Transport: upstream.TLS}, (*asked).ok},
		{"hangs up at once", nil, upstream.Server{Transport: upstream.TCP}, func(a *asked) { a.hangUp() }},
		{"no DNS", nil, upstream.Server{Transport: upstream.TCP}, func(a *asked) { a.write([]byte("HTTP/1.0 400 Bad Request\r\n\r\n")) }},
		{"another question", nil, upstream.Server{Transport: upstream.TCP}, func(a *asked) {
			m := a.say()
			m.Question[0].Name = "b.example."
			a.send(m)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, c.conf, c.script)
			w := start(t, patient(roots))
			c.server.Address = f.addr
			g := w.Group([]upstream.Server{c.server, second.server()})
			w.must(g, "a.example", good)
			if st := g.Status(); st[0].Healthy || st[0].Failures != 1 || !st[1].Healthy {
				t.Errorf("status %+v", st)
			}
		})
	}
	t.Run("the address is the name", func(t *testing.T) {
		f := newFake(t, conf, (*asked).ok)
		w := start(t, patient(roots))
		w.must(w.Group([]upstream.Server{{Address: f.addr, Transport: upstream.TLS}}), "a.example", good)
	})
	t.Run("silence", func(t *testing.T) {
		f, came := silent(t)
		w := start(t, upstream.Config{})
		g := w.Group([]upstream.Server{{Address: f.addr, Transport: upstream.TCP}, second.server()})
		got := w.ask(g, "a.example")
		<-came
		w.clk.Advance(try)
		if a := <-got; a.Err != nil {
			t.Fatal(a.Err)
		}
		if st := g.Status(); st[0].Healthy {
			t.Errorf("status %+v", st)
		}
		eventually(t, func() bool { // the connection may be what is dead: the next question gets another
			ended := 0
			f.look(func() { ended = f.ended })
			return ended == 1
		})
	})
}
