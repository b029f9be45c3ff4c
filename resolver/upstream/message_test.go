package upstream

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// seeds are answers as servers send them.
func seeds(t testing.TB) [][]byte {
	t.Helper()
	var out [][]byte
	add := func(change func(m *dns.Msg)) {
		q := new(dns.Msg).SetQuestion("Www.Elsewhere.example.", dns.TypeA)
		m := new(dns.Msg).SetReply(q)
		m.Compress = true
		m.SetEdns0(1232, true)
		for _, s := range []string{"Www.Elsewhere.example. 60 IN CNAME cdn.elsewhere.example.", "cdn.elsewhere.example. 60 IN A 192.0.2.1"} {
			rr, err := dns.NewRR(s)
			if err != nil {
				t.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		change(m)
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	add(func(*dns.Msg) {})
	add(func(m *dns.Msg) { m.Compress = false })
	add(func(m *dns.Msg) { m.Truncated = true })
	add(func(m *dns.Msg) { m.Question = nil; m.Rcode = dns.RcodeRefused })
	add(func(m *dns.Msg) { m.Extra = nil; m.Rcode = dns.RcodeFormatError })
	add(func(m *dns.Msg) { m.Answer = nil; m.Rcode = dns.RcodeBadCookie })
	add(func(m *dns.Msg) {
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0011223344556677a0a1a2a3a4a5a6a7"}, &dns.EDNS0_EDE{InfoCode: 3, ExtraText: "stale"}}
	})
	// The compression pointers that are no good: into the header, to themselves, in a circle, beyond the end.
	head := out[0][:12+len("\x03Www\x09Elsewhere\x07example\x00")+4]
	for _, tail := range []string{"\xc0\x00", "\xc0\x05", "\xc0" + string(byte(len(head))), "\xc0" + string(byte(len(head)+2)) + "\xc0" + string(byte(len(head))), "\xff\xff", "\xc0", "\x3f", "\x80a"} {
		out = append(out, append(bytes.Clone(head), tail+"\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01"...))
	}
	return out
}

// FuzzRead compares the reading by hand with the library's: what it takes, the library takes, and sees the same.
func FuzzRead(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	sent := []byte("\x03wWw\x09elsewhere\x07example\x00\x00\x01\x00\x01")
	f.Fuzz(func(t *testing.T, msg []byte) {
		before := bytes.Clone(msg)
		var r reading
		ok := r.read(msg)
		e := r.compare(sent)
		if !bytes.Equal(msg, before) {
			t.Fatal("reading changed the message")
		}
		var m dns.Msg
		if err := m.Unpack(msg); err != nil {
			return // the content of a record, or a name that leads nowhere: not looked at
		}
		if !ok {
			return
		}
		if m.Id != r.id || !m.Response || m.Truncated != r.truncated || (len(m.Question) == 1) != (r.question != nil) {
			t.Fatalf("read %+v, the library %v", r, &m)
		}
		if opt := m.IsEdns0(); !r.truncated && ((opt != nil) != r.opt || m.Rcode != int(r.rcode)) {
			t.Fatalf("read %+v, the library %v", r, &m)
		}
		if r.question == nil || m.Question[0].Name == "" {
			return
		}
		q := m.Question[0]
		same := q.Qtype == dns.TypeA && q.Qclass == dns.ClassINET
		switch {
		case same && q.Name == "wWw.elsewhere.example.":
			if e != exact {
				t.Fatalf("%v is the question, and compares as %d", q, e)
			}
		case same && strings.EqualFold(q.Name, "www.elsewhere.example.") && isASCII(q.Name):
			if e != recased {
				t.Fatalf("%v is the question in another case, and compares as %d", q, e)
			}
		case e != foreign:
			t.Fatalf("%v is another question, and compares as %d", q, e)
		}
	})
}

func isASCII(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return r > 127 }) < 0 }

// What the library can read, and is an answer, is read.
func TestReadTakesWhatServersSend(t *testing.T) {
	for i, b := range seeds(t) {
		var r reading
		var m dns.Msg
		good := m.Unpack(b) == nil && len(m.Answer)+len(m.Extra)+len(m.Question) > 0
		if got := r.read(b); got != (i < 7) {
			t.Errorf("message %d: read says %v, the library %v", i, got, good)
		}
	}
	var r reading
	if !r.read(seeds(t)[6]) || len(r.cookie) != 16 || !r.opt {
		t.Errorf("cookie %x", r.cookie)
	}
	if !r.read(seeds(t)[5]) || r.rcode != dns.RcodeBadCookie {
		t.Errorf("rcode %d", r.rcode)
	}
	// Every part of an answer but the whole is none, unless it says that it is cut.
	whole := seeds(t)[0]
	for n := range whole {
		if r.read(whole[:n]) {
			t.Errorf("the first %d of %d bytes are taken", n, len(whole))
		}
	}
}

// FuzzWireName puts any name into a question and has the library read it.
func FuzzWireName(f *testing.F) {
	for _, s := range []string{"", ".", "a.example", "A\\.b.example.", "\\000.x", "xn--fiqs8s", strings.Repeat("a", 64), strings.Repeat("a.", 127)} {
		f.Add(s)
	}
	p := New(Config{}, nil, nil, nil)
	f.Fuzz(func(t *testing.T, s string) {
		name, err := WireName(s)
		if err != nil {
			return
		}
		fl := new(flight)
		if fl.nameLen = lowerName(&fl.name, name); fl.nameLen != len(name) {
			t.Fatalf("%q packs to %x, of which %d bytes are a name", s, name, fl.nameLen)
		}
		fl.key.qtype = dns.TypeAAAA
		fl.key.flags = flagDO
		for _, sh := range []shape{{}, {mixed: true}, {level: noLoop, padded: true}, {level: noEDNS}, {cookie: make([]byte, 40), padded: true}} {
			b := p.put(fl, []byte{0xee}, 0x1234, sh)[1:]
			var m dns.Msg
			if err := m.Unpack(b); err != nil {
				t.Fatalf("%q, %+v: %v", s, sh, err)
			}
			back, _, err := dns.UnpackDomainName(name, 0)
			if err != nil || !strings.EqualFold(m.Question[0].Name, back) || m.Id != 0x1234 || m.Question[0].Qtype != dns.TypeAAAA {
				t.Fatalf("%q, %+v: the library reads %v", s, sh, &m)
			}
			if sh.padded && len(b)%paddingBlock != 0 {
				t.Fatalf("%d bytes", len(b))
			}
			b[2] |= 0x80 // as an answer it repeats the question
			var r reading
			if !r.read(b) || r.compare(fl.sent) != exact || binary.BigEndian.Uint16(b) != r.id {
				t.Fatalf("%q, %+v: the echo is not recognised", s, sh)
			}
		}
	})
}
