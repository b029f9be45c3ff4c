package carry

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/wire/clienthello"
	"github.com/isthmus-io/isthmus/wire/proxyproto"
)

// However a hello comes cut, it is understood once, and the target gets the same bytes.
func TestHelloCutAnywhere(t *testing.T) {
	hello := clientHello(t, "Hub.Example.", "mqtt", "h2")
	each(t, func(t *testing.T, cfg Config) {
		w := newWorld(t, cfg, &Entrance{TLS: true}, nil)
		target := newTarget(t, echo)
		w.gate.set(func() {
			w.gate.choose = func(h Hello) (Way, *Refusal) {
				if !h.TLS || h.ServerName != "hub.example" || !slices.Equal(h.ALPN(), []string{"mqtt", "h2"}) || !h.Offers("h2") || h.Offers("h3") {
					t.Errorf("hello %+v, %v", h, h.ALPN())
				}
				return Way{Target: target}, nil
			}
		})
		for cut := 1; cut <= len(hello); cut++ {
			c := w.dial()
			_, _ = c.Write(hello[:cut])
			if cut < len(hello) {
				w.until("the first part was heard", func(s Stats) bool { return s.Opening == 1 && s.Accepted == uint64(cut) })
			}
			exchangeRest(t, c, hello, hello[cut:])
			c.Close()
			w.endsWith(ReasonClosed)
		}
		c := w.dial()
		for _, b := range hello {
			_, _ = c.Write([]byte{b})
		}
		exchangeRest(t, c, hello, nil)
	})
}

// exchangeRest sends the rest and expects all of it back.
func exchangeRest(t *testing.T, c io.ReadWriteCloser, all, rest []byte) {
	t.Helper()
	_, _ = c.Write(rest)
	_ = c.(interface{ CloseWrite() error }).CloseWrite()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, all) {
		t.Fatalf("got %d of %d bytes back, %v", len(got), len(all), err)
	}
}

func TestBadHellos(t *testing.T) {
	hello := clientHello(t, "a.example")
	long := append([]byte{22, 3, 1, 0x40, 0}, make([]byte, 0x4000)...)
	long[5], long[6], long[7] = 1, 0, 0xea // 60 kB
	var crumbs []byte
	for _, c := range hello[5:] {
		crumbs = append(crumbs, 22, 3, 1, 0, 1, c)
	}
	for name, c := range map[string]struct {
		say            []byte
		leave          bool
		most           int
		reason, detail string
	}{
		"not TLS":          {say: []byte("GET / HTTP/1.1\r\n"), reason: ReasonBadHello, detail: string(clienthello.NotTLS)},
		"too long":         {say: long, reason: ReasonHelloTooLong},
		"too many records": {say: crumbs, most: len(crumbs) - 1, reason: ReasonHelloTooLong},
		"says nothing":     {leave: true, reason: ReasonNoHello},
		"leaves too early": {say: hello[:20], leave: true, reason: ReasonNoHello},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, cfg Config) {
				w := newWorld(t, cfg, &Entrance{TLS: true, MaxHello: c.most}, nil)
				conn := w.dial()
				w.until("it is listened to", func(s Stats) bool { return s.Opening == 1 })
				_, _ = conn.Write(c.say)
				if c.leave {
					_ = conn.CloseWrite()
				}
				v := w.endsWith(c.reason)
				if v.out.Detail != c.detail || v.chosen {
					t.Errorf("%+v", v)
				}
				wantReset(t, conn)
			})
		})
	}
}

func header(t *testing.T, h proxyproto.Header) []byte {
	t.Helper()
	b, err := proxyproto.Append(nil, h)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Trusted proxies say who is calling, in whatever pieces; others are not believed.
func TestProxyHeader(t *testing.T) {
	hello := clientHello(t, "a.example")
	source, destination := netip.MustParseAddrPort("203.0.113.9:4242"), netip.MustParseAddrPort("198.51.100.1:8883")
	source6 := netip.MustParseAddrPort("[2001:db8::9]:4242")
	v1 := proxyproto.New(source, destination)
	v1.Version = 1
	trusting := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for name, c := range map[string]struct {
		header []byte
		source netip.AddrPort // not valid: the peer
	}{
		"v1":    {header(t, v1), source},
		"v2":    {header(t, proxyproto.New(source, destination)), source},
		"v6":    {header(t, proxyproto.New(source6, destination)), source6},
		"local": {header(t, proxyproto.Header{Version: 2, Local: true}), netip.AddrPort{}},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, cfg Config) {
				for _, tls := range []bool{true, false} {
					w := newWorld(t, cfg, &Entrance{TLS: tls, TrustProxies: trusting}, nil)
					w.gate.to(newTarget(t, echo))
					all := slices.Concat(c.header, hello)
					for cut := 1; cut <= len(c.header)+7; cut += 3 {
						conn := w.dial()
						_, _ = conn.Write(all[:cut])
						if tls || cut < len(c.header) {
							w.until("the first part was heard", func(s Stats) bool { return s.Opening == 1 })
						}
						exchangeRest(t, conn, hello, all[cut:])
						v := w.endsWith(ReasonClosed)
						want := c.source
						if !want.IsValid() {
							want = conn.LocalAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort()
						}
						if v.source != want || v.out.Sent != uint64(len(hello)) {
							t.Errorf("source %v, wanted %v; %+v", v.source, want, v.out)
						}
					}
				}
			})
		})
	}
}

func TestProxyHeaderMissing(t *testing.T) {
	each(t, func(t *testing.T, cfg Config) {
		reasons := make(chan string, 10)
		cfg.Dropped = func(at *Entrance, peer netip.AddrPort, reason string) {
			if at.Name != "x" || peer.Addr() != netip.MustParseAddr("127.0.0.1") {
				t.Errorf("%+v %v", at, peer)
			}
			reasons <- reason
		}
		w := newWorld(t, cfg, &Entrance{Name: "x", TLS: true, TrustProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}, nil)
		c := w.dial()
		_, _ = c.Write(clientHello(t, "a.example"))
		wantReset(t, c)
		a := <-reasons
		c = w.dial()
		_, _ = c.Write([]byte("PROXY TC"))
		_ = c.CloseWrite()
		wantReset(t, c)
		if b := <-reasons; a != ReasonBadProxyHeader || b != ReasonNoHello {
			t.Errorf("%s, %s", a, b)
		}
		if s := w.c.Stats(); s.Dropped != 2 || len(w.gate.visits) != 0 {
			t.Errorf("%+v, %d visits", s, len(w.gate.visits))
		}
	})
}

// passTime moves the clock until something has happened, slowly from when it is due.
func passTime(clk *clock.Fake, step, due time.Duration, happened func() bool) (passed time.Duration) {
	for !happened() && passed < 1000*step {
		clk.Advance(step)
		passed += step
		patience := 20
		if passed >= due {
			patience = 4000
		}
		for range patience {
			if happened() {
				break
			}
			<-time.After(time.Millisecond)
		}
	}
	return passed
}

// Header and hello together have so much time, however busy the client is.
func TestHelloTimeout(t *testing.T) {
	each(t, func(t *testing.T, cfg Config) {
		clk := clock.NewFake(time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC))
		var dropped atomic.Int32
		cfg.Dropped = func(_ *Entrance, _ netip.AddrPort, reason string) {
			if reason == ReasonHelloTimeout {
				dropped.Add(1)
			}
		}
		w := unstarted(t, cfg, clk)
		plain := &Entrance{TLS: true, HelloTimeout: 3 * time.Second}
		proxied := *plain
		proxied.TrustProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		w.l = w.listen("127.0.0.1:0", plain)
		behind := w.listen("127.0.0.1:0", &proxied)
		w.run()
		hello := clientHello(t, "a.example")
		slow, silent, mute := w.dial(), w.dial(), dial(t, behind.Addr())
		_, _ = mute.Write([]byte("P"))
		w.until("all wait", func(s Stats) bool { return s.Opening == 3 })
		said := 0
		passed := passTime(clk, 500*time.Millisecond, time.Hour, func() bool { // the hello is said byte by byte
			_, _ = slow.Write(hello[said : said+1])
			said = min(said+1, len(hello)-2)
			return len(w.gate.ends) == 2 && dropped.Load() == 1
		})
		if passed < 3*time.Second {
			t.Errorf("ended after %v", passed)
		}
		w.endsWith(ReasonHelloTimeout)
		w.endsWith(ReasonHelloTimeout)
		for _, c := range []io.Reader{silent, mute} { // slow met the reset in a write
			if n, err := io.Copy(io.Discard, c); n != 0 || err == nil {
				t.Errorf("%d bytes, %v", n, err)
			}
		}
	})
}

func TestIdle(t *testing.T) {
	each(t, func(t *testing.T, cfg Config) {
		for _, half := range []bool{false, true} {
			clk := clock.NewFake(time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC))
			w := newWorld(t, cfg, &Entrance{IdleTimeout: time.Hour, HalfIdle: 10 * time.Minute}, clk)
			released := make(chan struct{})
			w.gate.to(newTarget(t, func(c *net.TCPConn) {
				buf := make([]byte, 10)
				for {
					n, err := c.Read(buf)
					_, _ = c.Write(buf[:n])
					if err != nil {
						break
					}
				}
				<-released
			}))
			c := w.dial()
			w.until("it passes", func(s Stats) bool { return s.Passing == 1 })
			limit := time.Hour
			if half {
				_ = c.CloseWrite()
				w.until("it passes", func(s Stats) bool { return s.Passing == 1 })
				limit = 10 * time.Minute
			} else {
				// Bytes put it off.
				passTime(clk, 5*time.Minute, time.Hour, func() bool { return clk.Now().Minute() >= 50 })
				w.until("the carrier knows how late it is", func(Stats) bool {
					clk.Advance(tick)
					return w.c.nanos(clk.Now())-w.c.sessions.now.Load() < int64(time.Minute)
				})
				_, _ = c.Write([]byte("x"))
				if n, err := c.Read(make([]byte, 10)); n != 1 || err != nil {
					t.Fatal(n, err)
				}
			}
			passed := passTime(clk, 2*time.Minute, limit, func() bool { return len(w.gate.ends) > 0 })
			if passed < limit-2*time.Minute || passed > limit+10*time.Minute {
				t.Errorf("half %v: ended after %v, wanted %v", half, passed, limit)
			}
			w.endsWith(ReasonIdle)
			wantReset(t, c)
			close(released)
		}
	})
}
