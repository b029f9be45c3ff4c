package message_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resolver/message"
)

func pack(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func ask(name string, qtype uint16) *dns.Msg { return new(dns.Msg).SetQuestion(name, qtype) }

func withOptions(m *dns.Msg, options ...dns.EDNS0) *dns.Msg {
	m.SetEdns0(1400, true)
	m.IsEdns0().Option = options
	return m
}

func TestParse(t *testing.T) {
	m := withOptions(ask("CoNtOsO.Example.", dns.TypeAAAA), &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"},
		&dns.EDNS0_PADDING{Padding: make([]byte, 5)}, &dns.EDNS0_LOCAL{Code: 65310, Data: []byte("x")})
	m.CheckingDisabled = true
	var q message.Query
	if err := q.Parse(pack(t, m)); err != nil {
		t.Fatal(err)
	}
	kept := q.Keep()
	for _, q := range []*message.Query{&q, kept} {
		if q.ID != m.Id || !q.RD || !q.CD || !q.DO || !q.EDNS || !q.Padded || q.Version != 0 || q.UDPSize != 1400 || q.Type != dns.TypeAAAA || q.Class != dns.ClassINET {
			t.Errorf("%+v", q)
		}
		if message.Text(q.Name) != "contoso.example." || message.Text(q.Spelled) != "CoNtOsO.Example." || q.End != 12+17+4 {
			t.Errorf("name %q, spelled %q, end %d", q.Name, q.Spelled, q.End)
		}
		if !bytes.Equal(q.Cookie, []byte{1, 2, 3, 4, 5, 6, 7, 8}) {
			t.Errorf("cookie %x", q.Cookie)
		}
		if own, ok := q.Option(65310); !ok || string(own) != "x" {
			t.Errorf("option %q %v", own, ok)
		}
		if _, ok := q.Option(message.OptionECS); ok {
			t.Error("an option that is not there")
		}
	}
	q.Packet[13] = 'z'
	if kept.Packet[13] == 'z' {
		t.Error("the kept query shares the packet")
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	good := func() []byte { return pack(t, withOptions(ask("db.plant.example.", dns.TypeA))) }
	change := func(f func(b []byte) []byte) []byte { return f(good()) }
	opt := func(b []byte) int { return len(b) - message.OPTSize }
	for name, c := range map[string]struct {
		packet []byte
		want   error
		words  string
	}{
		"empty":          {nil, message.ErrShort, "12 bytes"},
		"half a header":  {good()[:11], message.ErrShort, "12 bytes"},
		"a response":     {change(func(b []byte) []byte { b[2] |= 0x80; return b }), message.ErrResponse, "response"},
		"an update":      {change(func(b []byte) []byte { b[2] |= 5 << 3; return b }), message.ErrOpcode, "QUERY"},
		"no question":    {pack(t, &dns.Msg{}), message.ErrNoQuestion, "no question"},
		"two questions":  {change(func(b []byte) []byte { b[5] = 2; return b }), nil, "more than one question"},
		"cut name":       {good()[:20], nil, "name in the question"},
		"cut question":   {good()[:12+18+3], nil, "the question is cut"},
		"pointer":        {change(func(b []byte) []byte { b[12] = 0xc0; return b }), nil, "compressed"},
		"pointer to it":  {[]byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1}, nil, "compressed"},
		"label of 64":    {change(func(b []byte) []byte { b[12] = 64; return b }), nil, "name in the question"},
		"long name":      {append(append(good()[:12], bytes.Repeat([]byte("\x01a"), 200)...), 0, 0, 1, 0, 1), nil, "too long"},
		"cut record":     {good()[:12+18+4+5], nil, "a record is cut"},
		"trailing bytes": {append(good(), 0), nil, "after the last record"},
		"two OPT":        {change(func(b []byte) []byte { b[11] = 2; return append(b, b[opt(b):]...) }), nil, "OPT record"},
		"OPT early":      {change(func(b []byte) []byte { b[9], b[11] = 1, 0; return b }), nil, "OPT record"},
		"OPT with owner": {pack(t, &dns.Msg{Question: ask("a.", 1).Question, Extra: []dns.RR{&dns.OPT{Hdr: dns.RR_Header{Name: "a.", Rrtype: dns.TypeOPT}}}}), nil, "root"},
		"cut option":     {change(func(b []byte) []byte { b[len(b)-1] = 3; return append(b, 0, 9, 0) }), nil, "option is cut"},
		"option too big": {change(func(b []byte) []byte { b[len(b)-1] = 4; return append(b, 0, 9, 0, 1) }), nil, "option is cut"},
		"cookie of 9":    {pack(t, withOptions(ask("a.", 1), &dns.EDNS0_LOCAL{Code: 10, Data: make([]byte, 9)})), nil, "cookie"},
		"cookie of 41":   {pack(t, withOptions(ask("a.", 1), &dns.EDNS0_LOCAL{Code: 10, Data: make([]byte, 41)})), nil, "cookie"},
	} {
		var q message.Query
		err := q.Parse(c.packet)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.words) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What stands behind the question may be compressed, and loops there lead nowhere because nobody follows.
func TestOtherRecordsOfAQueryAreSkipped(t *testing.T) {
	m := ask("plant.example.", dns.TypeIXFR)
	m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "plant.example.", Rrtype: dns.TypeSOA, Class: 1}, Ns: "a.plant.example.", Mbox: "b.plant.example."}}
	m.SetEdns0(1232, false)
	m.Compress = true
	var q message.Query
	if err := q.Parse(pack(t, m)); err != nil || !q.EDNS {
		t.Errorf("%v", err)
	}
	loop := []byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 'a', 0, 0, 1, 0, 1, 0xc0, 19, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0}
	if err := q.Parse(loop); err != nil {
		t.Errorf("a loop in a record nobody reads: %v", err)
	}
}

func TestNames(t *testing.T) {
	long := strings.Repeat("a.", 127)
	for text, want := range map[string]string{
		".": ".", "A.b": "a.b.", "a.b.": "a.b.", `we\.ird.\065\\`: `we\.ird.a\\.`, `x\255`: `x\255.`, `\046.`: `\..`, long: long,
		"": "!", "..": "!", ".a": "!", "a..b": "!", `a\`: "!", `a\25`: "!", `a\256`: "!", long + "b": "!", strings.Repeat("x", 64): "!",
		strings.Repeat("x", 63): strings.Repeat("x", 63) + ".", strings.Repeat("x", 300): "!",
	} {
		wire, err := message.AppendName([]byte("pre"), text)
		if !bytes.HasPrefix(wire, []byte("pre")) || err != nil && len(wire) != 3 {
			t.Errorf("%q: %q, %v", text, wire, err)
		}
		got := "!"
		if err == nil {
			got = message.Text(wire[3:])
		}
		if got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func TestExpandRefusesLoops(t *testing.T) {
	head := make([]byte, 12)
	for name, c := range map[string]struct {
		tail []byte
		off  int
		want string
	}{
		"to itself":     {[]byte{0xc0, 12}, 12, ""},
		"forward":       {[]byte{0xc0, 14, 1, 'a', 0}, 12, ""},
		"into its own":  {[]byte{1, 'a', 0xc0, 12}, 12, ""},
		"two pointers":  {[]byte{0xc0, 14, 0xc0, 12}, 14, ""},
		"to the header": {[]byte{1, 'a', 0xc0, 3}, 12, ""},
		"cut":           {[]byte{1, 'a', 0xc0}, 12, ""},
		"back twice":    {[]byte{1, 'a', 0, 1, 'b', 0xc0, 12, 1, 'c', 0xc0, 15}, 19, "c.b.a."},
		"to a middle":   {[]byte{1, 'a', 1, 'b', 0, 0xc0, 14}, 17, "b."},
	} {
		out, next, ok := message.Expand(nil, append(head[:12:12], c.tail...), c.off)
		if ok != (c.want != "") || ok && (message.Text(out) != c.want || next != 12+len(c.tail)) {
			t.Errorf("%s: %q, %d, %v", name, out, next, ok)
		}
	}
	many := append([]byte(nil), head...) // each pointer leads to the one before: long, but it ends
	many = append(many, 0)
	for i := range 5000 {
		to := 12
		if i > 0 {
			to = 13 + 2*(i-1)
		}
		many = binary.BigEndian.AppendUint16(many, 0xc000|uint16(to))
	}
	if _, _, ok := message.Expand(nil, many, len(many)-2); !ok {
		t.Error("a long way back")
	}
}

func TestAReplyIsReadByOthers(t *testing.T) {
	var q message.Query
	if err := q.Parse(pack(t, withOptions(ask("Db.Plant.Example.", dns.TypeA)))); err != nil {
		t.Fatal(err)
	}
	out := q.Begin(nil)
	out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 7, 0, 9)
	out, at := message.BeginOPT(out, 1232, dns.RcodeBadCookie, q.DO)
	out = message.AppendEDE(out, dns.ExtendedErrorCodeStaleAnswer, "old")
	out = message.AppendOption(out, message.OptionCookie, make([]byte, 24))
	message.EndOPT(out, at)
	message.PutHeader(out, q.ID, message.QR|message.AA|message.RD|message.RA|dns.RcodeBadCookie&0xf, 1, 1, 0, 1)
	var m dns.Msg
	if err := m.Unpack(out); err != nil {
		t.Fatal(err)
	}
	opt := m.IsEdns0()
	if m.Id != q.ID || !m.Response || !m.Authoritative || !m.RecursionAvailable || m.Rcode != dns.RcodeBadCookie || m.Answer[0].String() != "Db.Plant.Example.\t60\tIN\tA\t10.7.0.9" ||
		!opt.Do() || opt.UDPSize() != 1232 || opt.Option[0].(*dns.EDNS0_EDE).ExtraText != "old" || len(opt.Option) != 2 {
		t.Errorf("%v", &m)
	}
}

func BenchmarkParse(b *testing.B) {
	packet := pack(b, withOptions(ask("CoNtOsO.privatelink.azure-devices.net.", dns.TypeAAAA), &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"}))
	var q message.Query
	b.ReportAllocs()
	for b.Loop() {
		if err := q.Parse(packet); err != nil {
			b.Fatal(err)
		}
	}
}
