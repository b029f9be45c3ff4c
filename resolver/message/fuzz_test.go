package message_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/resolver/message"
)

// Whatever Parse takes, another codec reads the same way.
func FuzzParse(f *testing.F) {
	for _, m := range []*dns.Msg{
		ask("contoso.azure-devices.net.", dns.TypeA), withOptions(ask("X.y.", dns.TypeANY), &dns.EDNS0_COOKIE{Code: 10, Cookie: "0102030405060708"}),
		withOptions(ask(".", dns.TypeNS), &dns.EDNS0_PADDING{Padding: make([]byte, 3)}), {},
	} {
		f.Add(pack(f, m))
	}
	f.Add([]byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, packet []byte) {
		before := bytes.Clone(packet)
		var q message.Query
		err := q.Parse(packet)
		if !bytes.Equal(before, packet) {
			t.Fatal("the packet was changed")
		}
		if errors.Is(err, message.ErrShort) || errors.Is(err, message.ErrResponse) || errors.Is(err, message.ErrOpcode) {
			return
		}
		reply := q.Begin(nil)
		if q.End < 12 || q.End > len(packet) || len(reply) != q.End {
			t.Fatalf("the question ends at %d of %d", q.End, len(packet))
		}
		if err != nil {
			return
		}
		if _, _, ok := message.Expand(nil, packet, 12); !ok || len(q.Name) != len(q.Spelled) || len(q.Name) > message.MaxName {
			t.Fatalf("name %q, spelled %q", q.Name, q.Spelled)
		}
		back, err := message.AppendName(nil, message.Text(q.Spelled))
		if err != nil || !bytes.Equal(back, q.Name) {
			t.Fatalf("%q as text and back is %q: %v", q.Name, back, err)
		}
		var m dns.Msg
		if m.Unpack(packet) != nil { // it reads records that we skip
			return
		}
		opt := m.IsEdns0()
		if m.Id != q.ID || m.RecursionDesired != q.RD || m.CheckingDisabled != q.CD || m.Question[0].Qtype != q.Type || m.Question[0].Qclass != q.Class {
			t.Fatalf("read as %+v, by another as %v", q, &m)
		}
		if q.EDNS != (opt != nil) || opt != nil && (opt.Do() != q.DO || opt.UDPSize() != q.UDPSize || opt.Version() != q.Version) {
			t.Fatalf("read as %+v, by another as %v", q, opt)
		}
	})
}

// Whatever record is moved, another codec reads it as it did where it came from.
func FuzzAppendRecord(f *testing.F) {
	for _, s := range []string{
		"a.example. 60 IN MX 10 mail.a.example.", "a.example. 60 IN SRV 1 2 3 x.example.", "a.example. 5 IN SOA ns.a.example. root.example. 1 2 3 4 5",
		"a.example. 60 IN NAPTR 1 2 \"s\" \"E2U+sip\" \"!^.*$!x!\" r.example.", "a.example. 60 IN CNAME b.example.", "a.example. 60 IN TXT \"x\" \"y\"",
		"a.example. 60 IN RP m.example. t.example.", "a.example. 60 IN RRSIG A 8 2 60 20300101000000 20200101000000 1 a.example. AAAA", "a.example. 60 IN CAA 0 issue \"ca.example\"",
	} {
		rr, err := dns.NewRR(s)
		if err != nil {
			f.Fatal(err)
		}
		m := ask("a.example.", dns.TypeA)
		m.Answer, m.Compress = []dns.RR{rr}, true
		m.Ns = []dns.RR{rr}
		f.Add(pack(f, m))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		r, ok := message.Read(msg)
		if !ok {
			return
		}
		var m dns.Msg
		readable := m.Unpack(msg) == nil && len(m.Answer) > 0
		for first := true; ; first = false {
			rec, ok := r.Next()
			if !ok {
				break
			}
			out, ok := message.AppendRecord(make([]byte, 40), msg, rec)
			if !ok {
				if len(out) != 40 {
					t.Fatal("a failure left something behind")
				}
				continue
			}
			moved, next, err := dns.UnpackRR(out, 40)
			if !readable || !first || rec.Section != message.Answer {
				continue
			}
			if err != nil || next != len(out) || moved.String() != m.Answer[0].String() {
				t.Fatalf("moved it is %v (%v), was %v", moved, err, m.Answer[0])
			}
		}
	})
}
