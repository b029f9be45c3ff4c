package abuse

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// forgeries answers as an upstream that is broken or bought, in the way that the first label of the question says. Replies over TCP
// come with tcp set.
func forgeries(ways map[string]func(q []byte) [][]byte) func(q []byte, reply func([]byte)) {
	return func(q []byte, reply func([]byte)) {
		n := int(q[12])
		if 13+n > len(q) {
			return
		}
		way := ways[strings.ToLower(string(q[13:13+n]))]
		if way == nil {
			reply(answerOf(q, farAt))
			return
		}
		for _, b := range way(q) {
			reply(b)
		}
	}
}

// end is where the question of a query ends.
func end(q []byte) int {
	at := 12
	for at < len(q) && q[at] != 0 {
		at += 1 + int(q[at])
	}
	return at + 5
}

// replying is the head and the question of a reply to q with so many answers, and what is behind them.
func replying(q []byte, answers uint16, behind ...byte) []byte {
	b := bytes.Clone(q[:end(q)])
	b[2], b[3] = 0x81, 0x80
	binary.BigEndian.PutUint16(b[6:], answers)
	binary.BigEndian.PutUint16(b[8:], 0)
	binary.BigEndian.PutUint16(b[10:], 0)
	return append(b, behind...)
}

// Answers that no honest server gives are not passed on, and what they try to slip in is not kept. Names that others are asked for, and
// those of the view, are answered meanwhile.
func TestUpstreamsThatCannotBeTrusted(t *testing.T) {
	t.Parallel()
	a := []byte{0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 6, 6, 6, 6} // type A and the rest of a record
	dice := rand.New(rand.NewPCG(3, 4))
	full := func(q []byte) []byte { // 64 kB of addresses
		b := replying(q, 0)
		n := 0
		for len(b)+2+len(a) <= 0xffff {
			b = append(append(b, 0xc0, 12), a...)
			n++
		}
		binary.BigEndian.PutUint16(b[6:], uint16(n))
		return b
	}
	var mu sync.Mutex // of dice and seen
	seen := map[string]int{}
	ways := map[string]func(q []byte) [][]byte{
		"loop": func(q []byte) [][]byte { return [][]byte{replying(q, 1, append([]byte{0xc0, byte(end(q))}, a...)...)} },
		"twoloops": func(q []byte) [][]byte {
			e := byte(end(q))
			return [][]byte{replying(q, 1, append([]byte{0xc0, e + 2, 0xc0, e}, a...)...)}
		},
		"beyond":    func(q []byte) [][]byte { return [][]byte{replying(q, 1, append([]byte{0xff, 0xff}, a...)...)} },
		"cut":       func(q []byte) [][]byte { return [][]byte{replying(q, 3, append([]byte{0xc0, 12}, a[:8]...)...)} },
		"counts":    func(q []byte) [][]byte { return [][]byte{replying(q, 0xffff)} },
		"wrongid":   func(q []byte) [][]byte { b := answerOf(q, "6.6.6.6"); b[0] ^= 0x55; return [][]byte{b} },
		"wrongname": func(q []byte) [][]byte { b := answerOf(q, "6.6.6.6"); b[14] ^= 1; return [][]byte{b} },
		"wrongtype": func(q []byte) [][]byte { b := answerOf(q, "6.6.6.6"); b[end(q)-3] ^= 15; return [][]byte{b} },
		"echo":      func(q []byte) [][]byte { return [][]byte{q} },
		"short":     func(q []byte) [][]byte { return [][]byte{q[:3], {}} },
		"headonly": func(q []byte) [][]byte {
			return [][]byte{append(append([]byte(nil), q[:2]...), 0x81, 0x80, 0, 0, 0, 0, 0, 0, 0, 0)}
		},
		"never":      func([]byte) [][]byte { return nil },
		"refuses":    func(q []byte) [][]byte { b := replying(q, 0); b[3] |= 5; return [][]byte{b} },
		"large":      func(q []byte) [][]byte { return [][]byte{full(q)} }, // more than fits a datagram: comes over TCP only
		"poison":     nil,
		"cname-loop": nil,
		"garbage": func(q []byte) [][]byte {
			mu.Lock()
			defer mu.Unlock()
			var out [][]byte
			for range 50 {
				b := make([]byte, 2+dice.IntN(600))
				for i := range b {
					b[i] = byte(dice.Uint32())
				}
				copy(b, q[:2]) // the right id
				out = append(out, b)
			}
			return out
		},
	}
	ways["poison"] = func(q []byte) [][]byte { // answers of its own for names of others
		var m dns.Msg
		_ = m.Unpack(q)
		r := new(dns.Msg).SetReply(&m)
		for _, s := range []string{m.Question[0].Name + " 60 IN A 192.0.2.66", "bank.well.example. 60 IN A 6.6.6.6", known + " 60 IN A 6.6.6.6", far + " 60 IN A 6.6.6.6"} {
			rr, _ := dns.NewRR(s)
			r.Answer, r.Extra = append(r.Answer, rr), append(r.Extra, rr)
		}
		b, _ := r.Pack()
		return [][]byte{b}
	}
	ways["cname-loop"] = func(q []byte) [][]byte {
		var m dns.Msg
		_ = m.Unpack(q)
		r := new(dns.Msg).SetReply(&m)
		rr, _ := dns.NewRR(m.Question[0].Name + " 60 IN CNAME " + m.Question[0].Name)
		r.Answer = append(r.Answer, rr)
		b, _ := r.Pack()
		return [][]byte{b}
	}
	answer := forgeries(ways)
	evil := upstream(t, func(q []byte, reply func([]byte)) {
		mu.Lock()
		seen[strings.ToLower(string(q[13:13+int(q[12])]))]++
		mu.Unlock()
		answer(q, func(b []byte) {
			if len(b) > 1232 { // over UDP it says that it has been cut
				cut := replying(q, 0)
				cut[2] |= 2
				reply(cut) // a client of TCP is content with it, too
				reply(b)
				return
			}
			reply(b)
		})
	})
	r := startResolver(t, withRules(well(t), "evil.example", evil.String()))
	o := r.besides()
	before := o.view.warm(200)
	memory := r.watchMemory()
	var asking sync.WaitGroup
	var answered sync.Map
	for way := range ways {
		s := newStub(t, "127.0.3.9", r.at)
		s.wait = 8 * time.Second
		asking.Go(func() {
			for range more(2, 20) {
				reply, err := s.ask(query(t, way+".evil.example.", dns.TypeA), 1)
				var m dns.Msg
				if err == nil {
					err = m.Unpack(reply)
				}
				if err != nil {
					t.Errorf("%s: %v", way, err)
					continue
				}
				answered.Store(way, dns.RcodeToString[m.Rcode])
				for _, rr := range m.Answer {
					if x, ok := rr.(*dns.A); ok && x.A.String() == "6.6.6.6" && way != "large" && way != "poison" && !m.Truncated {
						t.Errorf("%s: a false answer got through: %v", way, m.Answer)
					}
				}
				want := dns.RcodeServerFailure
				switch way {
				case "poison", "large", "cname-loop":
					want = dns.RcodeSuccess
				case "refuses":
					want = dns.RcodeRefused
				}
				if m.Rcode != want {
					t.Errorf("%s: %s with %d answers, wanted %s", way, dns.RcodeToString[m.Rcode], len(m.Answer), dns.RcodeToString[want])
				}
			}
		})
	}
	asking.Wait()
	o.fine("beside answers that cannot be trusted", before)
	for name, address := range map[string]string{known: knownAt, far: farAt, "bank.well.example.": farAt} {
		if err := newStub(t, "127.0.3.9", r.at).expects(t, name, address)(); err != nil {
			t.Errorf("after the poison: %v", err)
		}
	}
	mu.Lock()
	for way := range ways {
		if seen[way] == 0 {
			t.Errorf("nobody was asked for %s", way)
		}
	}
	mu.Unlock()
	memory().within(t, 32)
	o.stop()
	r.end()
	t.Logf("%d lines in the log", len(r.lines()))
	if n := len(r.lines()); n > 40 {
		t.Errorf("the log has %d lines:\n%s", n, r.tail())
	}
}

// Somebody asks for new names of one domain, thousands a second, and the server for it is slow. Names of the view are answered as
// before; what waits for the server is bounded.
func TestNewNamesWithoutEnd(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	slow := upstream(t, func(q []byte, reply func([]byte)) {
		asked.Add(1)
		time.AfterFunc(1200*time.Millisecond, func() { reply(answerOf(q)) })
	})
	r := startResolver(t, withRules(well(t), "attacked.example", slow.String()))
	o := r.besides()
	before := o.view.warm(500)
	memory := r.watchMemory()
	f := r.flood(t, "127.0.3.1", 2000, func(i int) []byte { return query(t, fmt.Sprintf("x%d.attacked.example.", i), dns.TypeA) })
	<-time.After(time.Duration(more(4, 60)) * time.Second)
	now := o.view.fine("beside new names without end", 200)
	if now.rate < before.rate/2 {
		t.Errorf("%.0f answers a second, before it were %.0f", now.rate, before.rate)
	}
	sent, replies := f()
	t.Logf("%d new names were asked for, %d questions reached the slow server; %s", sent, asked.Load(), replies)
	if asked.Load() < 1000 {
		t.Error("that was no flood")
	}
	o.forwarded.fine("beside new names without end", 100)
	memory().within(t, 64)
	await(t, "names of others", newStub(t, "127.0.3.2", r.at).expects(t, "after.well.example.", farAt))
	o.stop()
	r.end()
	r.saysOnce(1+more(0, 1), "find no place among those that wait", "source=127.0.3.1", "attacked.example")
	if n := len(r.lines()); n > 20 {
		t.Errorf("the log has %d lines:\n%s", n, r.tail())
	}
}

// flood has a source ask without waiting for replies, so many times a second, until the end is asked for. What came back is counted.
func (r *resolver) flood(t *testing.T, source string, perSecond int, packet func(i int) []byte) (end func() (sent int, replies string)) {
	t.Helper()
	s := newStub(t, source, r.at)
	_ = s.conn.SetReadBuffer(4 << 20)
	ctx, cancel := context.WithCancel(context.Background())
	var both sync.WaitGroup
	sent := 0
	both.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			<-tick.C
			for range perSecond / 200 {
				_, _ = s.conn.Write(packet(sent))
				sent++
			}
		}
	})
	counts := map[string]int{}
	both.Go(func() {
		for {
			n, err := s.conn.Read(s.buf)
			if err != nil {
				return
			}
			kind := dns.RcodeToString[int(s.buf[3]&0xf)]
			if s.buf[2]&2 != 0 {
				kind = "cut"
			}
			counts[kind]++
			_ = n
		}
	})
	return func() (int, string) {
		cancel()
		_ = s.conn.Close()
		both.Wait()
		return sent, fmt.Sprintf("replies %v", counts)
	}
}

// One source that asks more often than it may has every second question answered shortly, the others not at all; nobody else notices.
func TestOneSourceAsksTooOften(t *testing.T) {
	const allowed = 1000
	r := startResolver(t, withRules(well(t)), "--rate-per-source", fmt.Sprint(allowed), "--limit-loopback")
	o := r.besides()
	before := o.view.warm(300)
	memory := r.watchMemory()
	packet := query(t, known, dns.TypeA)
	began := time.Now()
	f := r.flood(t, "127.0.3.1", 20_000, func(int) []byte { return packet })
	<-time.After(time.Duration(more(2, 70)) * time.Second)
	o.fine("beside a flood", before)
	lasted := time.Since(began)
	sent, replies := f()
	t.Logf("%d questions in %v; %s", sent, lasted.Round(time.Millisecond), replies)
	var whole int
	_, _ = fmt.Sscanf(replies[strings.Index(replies, "NOERROR:")+len("NOERROR:"):], "%d", &whole)
	if most := allowed * (lasted.Seconds() + 3); float64(whole) > most || whole < allowed {
		t.Errorf("%d were answered, and %.0f may be", whole, most)
	}
	memory().within(t, 16)
	o.stop()
	r.end()
	r.saysOnce(1+more(0, 2), "sources that ask too often", "source=127.0.3.1", "limit=1000")
	if n := len(r.lines()); n > 6 {
		t.Errorf("the log has %d lines:\n%s", n, r.tail())
	}
}
