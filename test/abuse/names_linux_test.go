package abuse

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Names of the view that every resolver here serves, and of an upstream that is well.
const (
	known   = "historian.plant.example."
	knownAt = "10.7.1.20"
	far     = "www.well.example."
	farAt   = "192.0.2.80"
)

// plant is what the resolvers of these tests know; RULES stands for more forwarding rules and WELL for an upstream that is well.
const plant = `apiVersion: isthmus/v1
kind: Network
metadata: {tenant: ot, name: plant-7}
spec: {addressRanges: [10.7.0.0/24]}
---
apiVersion: isthmus/v1
kind: Zone
metadata: {tenant: ot, name: plant.example}
spec: {networks: [plant-7]}
---
apiVersion: isthmus/v1
kind: RecordSet
metadata: {tenant: ot, zone: plant.example, name: historian}
spec: {a: [10.7.1.20], ttl: 60}
---
apiVersion: isthmus/v1
kind: Ruleset
metadata: {tenant: ot, name: rules}
spec:
  networks: [plant-7]
  rules:
    - {name: well, domain: well.example, targets: ["WELL"]}
`

// resolver is one that runs.
type resolver struct {
	*running
	at netip.AddrPort
}

var readyAt = regexp.MustCompile(` address=(\S+)`)

// startResolver runs a resolver with these manifests.
func startResolver(t testing.TB, manifests string, more ...string) *resolver {
	t.Helper()
	d := deployment(t)
	file := filepath.Join(d.Dir, "dns.yaml")
	write(t, file, manifests)
	p, line := after(t, d, "the resolver is ready", "dns", append([]string{"dns", "serve", "--listen", "127.0.0.1:0", "--config", file}, more...)...)
	return &resolver{p, addressIn(t, line)}
}

// addressIn is where a resolver says that it is ready.
func addressIn(t testing.TB, line string) netip.AddrPort {
	t.Helper()
	m := readyAt.FindStringSubmatch(line)
	if m == nil {
		t.Fatal(line)
	}
	return netip.MustParseAddrPort(m[1])
}

// query is a question as it goes over the wire.
func query(t testing.TB, name string, qtype uint16) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.SetEdns0(1232, false)
	b, err := m.Pack()
	must(t, err)
	return b
}

// stub asks as the resolver library of a program does: it asks again when no answer comes. It is for one goroutine.
type stub struct {
	conn    *net.UDPConn
	id      uint16
	buf     []byte
	wait    time.Duration // for each try
	retries *atomic.Int64
}

func newStub(t testing.TB, source string, to netip.AddrPort) *stub {
	t.Helper()
	conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(source)}, net.UDPAddrFromAddrPort(to))
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &stub{conn, 1, make([]byte, 1<<16), time.Second, new(atomic.Int64)}
}

// ask puts a packet and returns the reply, which is good until the next.
func (s *stub) ask(packet []byte, tries int) ([]byte, error) {
	for try := range tries {
		if try > 0 {
			s.retries.Add(1)
		}
		s.id++
		binary.BigEndian.PutUint16(packet, s.id)
		if _, err := s.conn.Write(packet); err != nil {
			return nil, err
		}
		_ = s.conn.SetReadDeadline(time.Now().Add(s.wait))
		for {
			n, err := s.conn.Read(s.buf)
			var late net.Error
			if errors.As(err, &late) && late.Timeout() {
				break
			}
			if err != nil {
				return nil, err
			}
			if n >= 12 && binary.BigEndian.Uint16(s.buf) == s.id {
				return s.buf[:n], nil
			}
		}
	}
	return nil, errors.New("no answer came")
}

// expects is a use of a resolver: the address of one name. In a name N stands for a number that is another each time.
func (s *stub) expects(t testing.TB, name, address string) func() error {
	t.Helper()
	packet := query(t, name, dns.TypeA)
	want := netip.MustParseAddr(address).AsSlice()
	n := 0
	return func() error {
		if strings.Contains(name, "N") {
			n++
			packet = query(t, strings.ReplaceAll(name, "N", strconv.Itoa(n)), dns.TypeA)
		}
		reply, err := s.ask(packet, 3)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		var m dns.Msg
		if err := m.Unpack(reply); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if len(m.Answer) == 1 {
			if a, ok := m.Answer[0].(*dns.A); ok && a.A.Equal(want) {
				return nil
			}
		}
		return fmt.Errorf("%s: %s, %v", name, dns.RcodeToString[m.Rcode], m.Answer)
	}
}

// askers are those who use a resolver properly: for names of its view, and for names that an upstream knows.
type askers struct {
	view, forwarded *steady
	retries         []*stub
}

// besides has others use the resolver, some hundred times a second, from 127.0.0.1. Names that are forwarded are new ones each time, so
// that no cache knows them.
func (r *resolver) besides() askers {
	r.t.Helper()
	a, b, c := newStub(r.t, "127.0.0.1", r.at), newStub(r.t, "127.0.0.1", r.at), newStub(r.t, "127.0.0.1", r.at)
	s := askers{
		view:      use(r.t, "names of the view", 2*time.Millisecond, a.expects(r.t, known, knownAt), b.expects(r.t, known, knownAt)),
		forwarded: use(r.t, "names of an upstream that is well", 10*time.Millisecond, c.expects(r.t, "nN.well.example.", farAt)),
		retries:   []*stub{a, b, c},
	}
	s.view.served(200)
	s.lap("before")
	return s
}

func (a askers) lap(name string) (view lap) {
	a.view.t.Helper()
	a.forwarded.lap(name)
	return a.view.lap(name)
}

// fine ends a lap of abuse, in which names of the view keep at least a third of their rate.
func (a askers) fine(name string, before lap) {
	a.view.t.Helper()
	a.forwarded.fine(name, 10)
	now := a.view.fine(name, 50)
	lost := int64(0)
	for _, s := range a.retries {
		lost += s.retries.Swap(0)
	}
	a.view.t.Logf("%d questions were asked again; names of the view: %.2f of the rate before", lost, now.rate/before.rate)
	if now.rate < before.rate/3 {
		a.view.t.Errorf("%.0f answers a second, before it were %.0f", now.rate, before.rate)
	}
}

func (a askers) stop() {
	a.view.stop()
	a.forwarded.stop()
}

// upstream is a DNS server over UDP and TCP whose replies are whatever answer says. It may keep conn for later.
func upstream(t testing.TB, answer func(query []byte, reply func([]byte))) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	at := netip.MustParseAddrPort(l.Addr().String())
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	must(t, err)
	_ = conn.SetReadBuffer(4 << 20)
	done := make(chan struct{}, 2)
	go func() {
		defer func() { done <- struct{}{} }()
		buf := make([]byte, 1<<16)
		for {
			n, client, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			answer(append([]byte(nil), buf[:n]...), func(b []byte) { _, _ = conn.WriteToUDPAddrPort(b, client) })
		}
	}()
	s := serveStreams(l, answer)
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
		s.stop()
	})
	return at
}

// serveStreams answers over TCP.
func serveStreams(l net.Listener, answer func(query []byte, reply func([]byte))) *target {
	s := &target{l: l, conns: map[net.Conn]bool{}, talk: func(c net.Conn) {
		for {
			co := dns.Conn{Conn: c}
			q, err := co.ReadMsgHeader(nil)
			if err != nil {
				return
			}
			answer(q, func(b []byte) { _, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)) })
		}
	}}
	s.all.Go(s.accept)
	return s
}

// answerOf is the proper reply to a question, with an address when there is one.
func answerOf(q []byte, addresses ...string) []byte {
	var m dns.Msg
	if m.Unpack(q) != nil || len(m.Question) != 1 {
		return nil
	}
	a := new(dns.Msg).SetReply(&m)
	a.RecursionAvailable = true
	for _, at := range addresses {
		a.Answer = append(a.Answer, &dns.A{Hdr: dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.ParseIP(at)})
	}
	b, err := a.Pack()
	if err != nil {
		return nil
	}
	return b
}

// well is an upstream that is.
func well(t testing.TB) netip.AddrPort {
	t.Helper()
	return upstream(t, func(q []byte, reply func([]byte)) { reply(answerOf(q, farAt)) })
}

// withRules is plant with more rules, written as domain and target.
func withRules(well netip.AddrPort, rules ...string) string {
	var b strings.Builder
	b.WriteString(strings.ReplaceAll(plant, "WELL", well.String()))
	for i := 0; i+1 < len(rules); i += 2 {
		fmt.Fprintf(&b, "    - {name: rule-%d, domain: %s, targets: [%q]}\n", i, rules[i], rules[i+1])
	}
	return b.String()
}
