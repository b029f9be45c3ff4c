package abuse

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// head is the header of a query with so many of everything.
func head(flags, questions, answers, authorities, others uint16) []byte {
	b := make([]byte, 2, 12)
	for _, n := range []uint16{flags, questions, answers, authorities, others} {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return b
}

// Packets that no program sends are answered with an error or not at all, never with an answer, and never twice.
func TestPacketsNobodySends(t *testing.T) {
	r := startResolver(t, withRules(well(t)))
	o := r.besides()
	before := o.view.warm(200)
	memory := r.watchMemory()
	good := query(t, known, dns.TypeA)
	opt := []byte{0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0}
	question := append([]byte("\x09historian\x05plant\x07example\x00"), 0, 1, 0, 1)
	with := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	changed := func(f func([]byte)) []byte {
		b := bytes.Clone(good)
		f(b)
		return b
	}
	const silent = -1
	kinds := []struct {
		name   string
		packet []byte
		rcode  int
	}{
		{"a pointer to itself", with(head(0x100, 1, 0, 0, 0), []byte{0xc0, 12, 0, 1, 0, 1}), dns.RcodeFormatError},
		{"two pointers to each other", with(head(0x100, 1, 0, 0, 0), []byte{0xc0, 14, 0xc0, 12, 0, 1, 0, 1}), dns.RcodeFormatError},
		{"a pointer behind the end", with(head(0x100, 1, 0, 0, 0), []byte{1, 'a', 0xff, 0xff, 0, 1, 0, 1}), dns.RcodeFormatError},
		{"a loop in an answer", with(head(0x100, 1, 1, 0, 0), question, []byte{0xc0, 12 + 27, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0}), dns.RcodeSuccess},
		{"a response", changed(func(b []byte) { b[2] |= 0x80 }), silent},
		{"a response with answers", with(head(0x8180, 1, 1, 0, 0), question, []byte{0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 6, 6, 6, 6}), silent},
		{"two questions", with(head(0x100, 2, 0, 0, 0), question, question), dns.RcodeFormatError},
		{"no question", head(0x100, 0, 0, 0, 0), dns.RcodeFormatError},
		{"two OPT", with(head(0x100, 1, 0, 0, 2), question, opt, opt), dns.RcodeFormatError},
		{"an OPT among the answers", with(head(0x100, 1, 1, 0, 0), question, opt), dns.RcodeFormatError},
		{"a cookie of 9 bytes", with(head(0x100, 1, 0, 0, 1), question, opt[:9], []byte{0, 13, 0, 10, 0, 9}, make([]byte, 9)), dns.RcodeFormatError},
		{"a name of 260 bytes", with(head(0x100, 1, 0, 0, 0), bytes.Repeat([]byte("\x01a"), 130), []byte{0, 0, 1, 0, 1}), dns.RcodeFormatError},
		{"a name of 1,000 bytes", with(head(0x100, 1, 0, 0, 0), bytes.Repeat([]byte("\x3f"+string(bytes.Repeat([]byte("a"), 63))), 16), []byte{0, 0, 1, 0, 1}), dns.RcodeFormatError},
		{"a label of 64", with(head(0x100, 1, 0, 0, 0), []byte{64}, bytes.Repeat([]byte("a"), 64), []byte{0, 0, 1, 0, 1}), dns.RcodeFormatError},
		{"65,535 records that are not there", with(head(0x100, 1, 0xffff, 0xffff, 0xffff), question), dns.RcodeFormatError},
		{"rubbish behind the end", with(good, make([]byte, 500)), dns.RcodeFormatError},
		{"an update", changed(func(b []byte) { b[2] |= 5 << 3 }), dns.RcodeNotImplemented},
		{"an operation nobody knows", changed(func(b []byte) { b[2] |= 15 << 3 }), dns.RcodeNotImplemented},
		{"another class", with(head(0x100, 1, 0, 0, 0), question[:len(question)-1], []byte{3}), dns.RcodeRefused},
		{"a transfer", with(head(0x100, 1, 0, 0, 0), question[:len(question)-3], []byte{252, 0, 1}), dns.RcodeRefused},
		{"a type nobody may ask for", with(head(0x100, 1, 0, 0, 0), question[:len(question)-3], []byte{41, 0, 1}), dns.RcodeFormatError},
	}
	for n := 12; n < len(good)-1; n++ { // the whole question, and the header alone, say more
		kinds = append(kinds, struct {
			name   string
			packet []byte
			rcode  int
		}{fmt.Sprintf("the first %d bytes", n), bytes.Clone(good[:n]), dns.RcodeFormatError})
	}
	s := newStub(t, "127.0.3.1", r.at)
	quiet := newStub(t, "127.0.3.2", r.at)
	quiet.wait = 100 * time.Millisecond
	for _, k := range kinds {
		asker := s
		if k.rcode == silent {
			asker = quiet
		}
		reply, err := asker.ask(k.packet, 1)
		if k.rcode == silent {
			if err == nil {
				t.Errorf("%s: %x", k.name, reply)
			}
			continue
		}
		var m dns.Msg
		if err == nil {
			err = m.Unpack(reply)
		}
		if err != nil || m.Rcode != k.rcode || !m.Response || k.rcode != dns.RcodeSuccess && len(m.Answer) > 0 {
			t.Errorf("%s: wanted %s, got %v, %v", k.name, dns.RcodeToString[k.rcode], err, &m)
		}
	}

	// Noise: random bytes, and good questions with some bits turned over, as many as can be in a while.
	dice := rand.New(rand.NewPCG(1, 2))
	noise, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 3, 3)}, net.UDPAddrFromAddrPort(r.at))
	must(t, err)
	defer noise.Close()
	sent := 0
	for began := time.Now(); time.Since(began) < time.Duration(more(2, 60))*time.Second; sent++ {
		b := bytes.Clone(good)
		if sent%2 == 0 {
			b = make([]byte, dice.IntN(200))
			for i := range b {
				b[i] = byte(dice.Uint32())
			}
		} else {
			for range 1 + dice.IntN(4) {
				b[dice.IntN(len(b))] ^= 1 << dice.IntN(8)
			}
		}
		_, _ = noise.Write(b)
		if sent%20 == 0 { // or the kernel would drop others' questions for want of room
			<-time.After(time.Millisecond)
		}
	}
	t.Logf("%d packets of noise", sent)
	o.fine("beside noise", before)

	// The same over TCP, and those who say half a message.
	for _, text := range [][]byte{{0, 0}, {0, 5, 1, 2, 3, 4, 5}, append([]byte{0xff, 0xff}, make([]byte, 0xffff)...), []byte("GET / HTTP/1.1\r\n\r\n"), {22, 3, 1, 2, 0}, {0, 100, 1}} {
		c, err := from("127.0.3.4", r.at.String())
		must(t, err)
		_, _ = c.Write(text)
		_ = c.CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(patient))
		back, err := io.ReadAll(c)
		if err != nil || len(back) > 14+11 {
			t.Errorf("%.20x over TCP: %x, %v", text, back, err)
		}
		_ = c.Close()
	}
	memory().within(t, 24)
	o.stop()
	r.end()
	if n := len(r.lines()); n > 6 {
		t.Errorf("the log has %d lines:\n%s", n, r.tail())
	}
}

// A source that opens connections over TCP and says a byte now and then has a quarter of the places, for as long as a query may take;
// others have theirs.
func TestSlowConnectionsToTheResolver(t *testing.T) {
	t.Parallel()
	r := startResolver(t, withRules(well(t)))
	o := r.besides()
	before := o.view.warm(200)
	memory := r.watchMemory()
	framed := append(binary.BigEndian.AppendUint16(nil, 300), make([]byte, 300)...)
	slow := crowd(t, r.at.String(), 1000, nil) // from 200 sources
	one := make([]*net.TCPConn, 0, 300)
	for range 300 {
		c, err := from("127.0.3.1", r.at.String())
		must(t, err)
		defer c.Close()
		one = append(one, c)
	}
	stop := drip(append(slow, one...), framed, 500*time.Millisecond)
	<-time.After(2 * time.Second)
	o.fine("beside slow connections", before)
	// Whoever keeps the places gives them back when a query's time is over.
	c := dns.Client{Net: "tcp", Timeout: time.Second}
	began := time.Now()
	await(t, "an answer over TCP", func() error {
		_, _, err := c.Exchange(new(dns.Msg).SetQuestion(known, dns.TypeA), r.at.String())
		return err
	})
	t.Logf("over TCP there was an answer after %v", time.Since(began).Round(time.Millisecond))
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("over TCP there was no answer for %v", took)
	}
	stop()
	memory().within(t, 24)
	o.stop()
	r.end()
	if n := len(r.lines()); n > 6 {
		t.Errorf("the log has %d lines:\n%s", n, r.tail())
	}
}
