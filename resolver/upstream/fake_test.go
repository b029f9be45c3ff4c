package upstream_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/resolver/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// asked is a query as a fake server got it.
type asked struct {
	*dns.Msg
	raw     []byte
	network string
	from    netip.AddrPort
	n       int // of its network, from 1
	write   func([]byte)
	fake    *fake
	hangUp  func() // ends a connection
}

// name is what was asked, as it was spelled.
func (a *asked) name() string { return a.Question[0].Name }

// say answers with records; rcode is from the message.
func (a *asked) say(records ...string) *dns.Msg {
	m := new(dns.Msg).SetReply(a.Msg)
	m.RecursionAvailable, m.Compress = true, true
	for _, s := range records {
		rr, err := dns.NewRR(strings.ReplaceAll(s, "@", a.name()))
		if err != nil {
			panic(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	if opt := a.IsEdns0(); opt != nil {
		m.SetEdns0(1232, opt.Do())
	}
	return m
}

// cookie is the cookie option of the query in hexadecimal, empty without.
func (a *asked) cookie() string {
	if opt := a.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if c, ok := o.(*dns.EDNS0_COOKIE); ok {
				return c.Cookie
			}
		}
	}
	return ""
}

// option is the data of an option of the query, nil without.
func (a *asked) option(code uint16) []byte {
	if opt := a.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if o.Option() != code {
				continue
			}
			switch o := o.(type) {
			case *dns.EDNS0_LOCAL:
				return o.Data
			case *dns.EDNS0_PADDING:
				return o.Padding
			}
		}
	}
	return nil
}

func withCookie(m *dns.Msg, cookie string) *dns.Msg {
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie})
	return m
}

func (a *asked) send(m *dns.Msg) {
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	a.write(b)
}

// ok answers with one address.
func (a *asked) ok() { a.send(a.say("@ 60 IN A 192.0.2.1")) }

// fake is a server on loopback, UDP and TCP on one port, that does what its script says. The script runs for one query at a time.
type fake struct {
	addr   netip.AddrPort
	udp    *net.UDPConn
	mu     sync.Mutex // guards the fields below
	script func(*asked)
	seen   map[string]int // by network
	ports  map[uint16]int // of UDP queries
	ids    map[uint16]int
	conns  int
	ended  int // connections
}

func (f *fake) does(script func(*asked)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script = script
}

// look runs while no script does.
func (f *fake) look(at func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at()
}

func (f *fake) count(network string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[network]
}

func (f *fake) server() upstream.Server { return upstream.Server{Address: f.addr} }

func (f *fake) handle(a *asked) {
	m := new(dns.Msg)
	if m.Unpack(a.raw) != nil || len(m.Question) != 1 {
		return
	}
	a.Msg, a.fake = m, f
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen[a.network]++
	a.n = f.seen[a.network]
	if a.network == "udp" {
		f.ports[a.from.Port()]++
		f.ids[m.Id]++
	}
	if f.script != nil {
		f.script(a)
	}
}

// newFake starts a server. conf makes TCP into TLS; nil leaves it.
func newFake(t testing.TB, conf *tls.Config, script func(*asked)) *fake {
	t.Helper()
	f := &fake{script: script, seen: map[string]int{}, ports: map[uint16]int{}, ids: map[uint16]int{}}
	var ln net.Listener
	for {
		var err error
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		f.addr = ln.Addr().(*net.TCPAddr).AddrPort()
		if f.udp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(f.addr)); err == nil {
			break
		}
		ln.Close() // the port is taken for UDP
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	all.Go(func() {
		buf := make([]byte, 65535)
		for {
			n, from, err := f.udp.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			f.handle(&asked{raw: append([]byte{}, buf[:n]...), network: "udp", from: from, write: func(b []byte) { _, _ = f.udp.WriteToUDPAddrPort(b, from) }})
		}
	})
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if conf != nil {
				c = tls.Server(c, conf)
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			f.mu.Lock()
			f.conns++
			f.mu.Unlock()
			all.Go(func() {
				defer f.look(func() { f.ended++ })
				defer c.Close()
				for {
					var size [2]byte
					if _, err := io.ReadFull(c, size[:]); err != nil {
						return
					}
					b := make([]byte, binary.BigEndian.Uint16(size[:]))
					if _, err := io.ReadFull(c, b); err != nil {
						return
					}
					f.handle(&asked{raw: b, network: "tcp", hangUp: func() { c.Close() }, write: func(b []byte) {
						_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
					}})
				}
			})
		}
	})
	t.Cleanup(func() {
		f.udp.Close()
		ln.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return f
}

// patient leaves connections on a busy machine the time they need: that is real, unlike the clock of the tries.
func patient(roots *x509.CertPool) upstream.Config {
	return upstream.Config{Roots: roots, Timeout: 30 * time.Second, QueryTimeout: time.Minute}
}

// world is a pool that runs, with a clock that stands still.
type world struct {
	*upstream.Pool
	t   testing.TB
	clk *clock.Fake
}

func start(t testing.TB, cfg upstream.Config) *world {
	t.Helper()
	w := &world{t: t, clk: clock.NewFake(time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC))}
	w.Pool = upstream.New(cfg, slog.New(slog.DiscardHandler), w.clk, nil)
	run(t, w.Pool)
	return w
}

func run(t testing.TB, p *upstream.Pool) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	<-p.Ready()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// question is for A of a name.
func question(t testing.TB, name string) upstream.Query {
	t.Helper()
	b, err := upstream.WireName(name)
	if err != nil {
		t.Fatal(err)
	}
	return upstream.Query{Name: b, Type: dns.TypeA}
}

// ask asks and returns what will be answered.
func (w *world) ask(g *upstream.Group, name string) <-chan upstream.Answer {
	w.t.Helper()
	got := make(chan upstream.Answer, 2)
	w.Ask(context.Background(), g, question(w.t, name), func(a upstream.Answer) {
		a.Message = slices.Clone(a.Message)
		got <- a
	})
	return got
}

// must asks and wants an answer with the records given.
func (w *world) must(g *upstream.Group, name, records string) upstream.Answer {
	w.t.Helper()
	a, err := w.Exchange(context.Background(), g, question(w.t, name))
	if err != nil {
		w.t.Fatalf("%s: %v", name, err)
	}
	if got := recordsOf(w.t, a); got != records {
		w.t.Fatalf("%s: got %q, want %q", name, got, records)
	}
	return a
}

// recordsOf is the answer section without TTLs, or the rcode when it is empty.
func recordsOf(t testing.TB, a upstream.Answer) string {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(a.Message); err != nil {
		t.Fatalf("the answer cannot be read: %v\n%s", err, hex.Dump(a.Message))
	}
	if len(m.Answer) == 0 {
		return dns.RcodeToString[int(a.RCode)]
	}
	var out []string
	for _, rr := range m.Answer {
		f := strings.Fields(rr.String())
		out = append(out, strings.Join(append([]string{strings.ToLower(f[0])}, f[3:]...), " "))
	}
	return strings.Join(out, ", ")
}
