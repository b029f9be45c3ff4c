package socks5

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
)

// half is a client whose words are known beforehand; what it is answered is kept.
type half struct {
	io.Reader
	bytes.Buffer
}

func (h *half) Read(p []byte) (int, error) { return h.Reader.Read(p) }

func client(bytes ...byte) *half { return &half{Reader: strings.NewReader(string(bytes))} }

func TestGreet(t *testing.T) {
	for name, c := range map[string]struct {
		says   []byte
		answer []byte
		kind   fault.Kind
		ok     bool
	}{
		"none needed":       {[]byte{5, 1, 0}, []byte{5, 0}, 0, true},
		"one of many":       {[]byte{5, 3, 2, 1, 0}, []byte{5, 0}, 0, true},
		"a password only":   {[]byte{5, 1, 2}, []byte{5, 0xff}, fault.Invalid, false},
		"no method":         {[]byte{5, 0}, []byte{5, 0xff}, fault.Invalid, false},
		"version 4":         {[]byte{4, 1, 0, 80, 1, 2, 3, 4, 0}, nil, fault.Invalid, false},
		"HTTP":              {[]byte("CONNECT host:80"), nil, fault.Invalid, false},
		"nothing":           {nil, nil, 0, false},
		"cut short":         {[]byte{5, 2, 0}, nil, 0, false},
		"255 methods, last": {append([]byte{5, 255}, append(bytes.Repeat([]byte{9}, 254), 0)...), []byte{5, 0}, 0, true},
	} {
		h := client(c.says...)
		err := Greet(h)
		if (err == nil) != c.ok || !bytes.Equal(h.Bytes(), c.answer) || c.kind != 0 && fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v, answered %v", name, err, h.Bytes())
		}
	}
}

func TestReadRequest(t *testing.T) {
	name := func(s string) []byte { return append([]byte{5, 1, 0, 3, byte(len(s))}, s...) }
	port := func(b []byte) []byte { return append(b, 0x1f, 0x90) }
	v6 := netip.MustParseAddr("2001:db8::1").As16()
	mapped := netip.MustParseAddr("::ffff:10.0.0.9").As16()
	for what, c := range map[string]struct {
		says  []byte
		host  string
		reply Reply // when it is refused with one
	}{
		"a name":               {port(name("press-4-ssh.plant-7.ot")), "press-4-ssh.plant-7.ot", 0},
		"in capitals":          {port(name("Press-4")), "press-4", 0},
		"with a dot":           {port(name("press-4.")), "press-4", 0},
		"the longest":          {port(name(strings.Repeat("a", 255))), strings.Repeat("a", 255), 0},
		"an address as a name": {port(name("10.0.0.9")), "10.0.0.9", 0},
		"IPv6 as a name":       {port(name("[2001:DB8:0::1]")), "2001:db8::1", 0},
		"IPv4":                 {port([]byte{5, 1, 0, 1, 10, 0, 0, 9}), "10.0.0.9", 0},
		"IPv6":                 {port(append([]byte{5, 1, 0, 4}, v6[:]...)), "2001:db8::1", 0},
		"IPv4 dressed as IPv6": {port(append([]byte{5, 1, 0, 4}, mapped[:]...)), "10.0.0.9", 0},
		"an empty name":        {port(name("")), "", GeneralFailure},
		"a dot alone":          {port(name(".")), "", GeneralFailure},
		"a control character":  {port(name("a\nb")), "", GeneralFailure},
		"a name not in ASCII":  {port(name("tür")), "", GeneralFailure},
		"an unknown family":    {port([]byte{5, 1, 0, 2, 1, 2, 3, 4}), "", FamilyNotSupported},
		"port 0":               {append(name("a"), 0, 0), "", GeneralFailure},
	} {
		r := bytes.NewReader(append(bytes.Clone(c.says), "behind"...))
		q, err := ReadRequest(r)
		reply, answered := ReplyTo(err)
		if q.Host != c.host || (err == nil) != (c.host != "") || c.reply != reply || answered != (c.reply != 0) {
			t.Errorf("%s: %+v, %v", what, q, err)
			continue
		}
		if err != nil {
			continue
		}
		if q.Port != 8080 || q.Command != Connect {
			t.Errorf("%s: %+v", what, q)
		}
		if rest, _ := io.ReadAll(r); string(rest) != "behind" {
			t.Errorf("%s: of what stands behind, %q is left", what, rest)
		}
	}
}

func TestWhatIsNoRequest(t *testing.T) {
	for what, says := range map[string][]byte{
		"another version": {4, 1, 0, 1, 10, 0, 0, 9, 0, 80},
		"reserved":        {5, 1, 1, 1, 10, 0, 0, 9, 0, 80},
	} {
		_, err := ReadRequest(bytes.NewReader(says))
		if _, answered := ReplyTo(err); fault.KindOf(err) != fault.Invalid || answered {
			t.Errorf("%s: %v", what, err)
		}
	}
	whole := []byte{5, 1, 0, 3, 2, 'a', 'b', 0, 80}
	for n := range whole {
		if _, err := ReadRequest(bytes.NewReader(whole[:n])); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestAppendReply(t *testing.T) {
	if got := AppendReply([]byte{1}, NotAllowed); !bytes.Equal(got, []byte{1, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0}) {
		t.Errorf("got %v", got)
	}
}

// A request read, written as a client would and read again is the same; nothing behind it is touched.
func FuzzReadRequest(f *testing.F) {
	f.Add([]byte{5, 1, 0, 1, 10, 0, 0, 9, 0, 80})
	f.Add([]byte{5, 1, 0, 3, 3, 'a', '.', 'b', 0, 22})
	f.Add(append([]byte{5, 3, 0, 4}, make([]byte, 18)...))
	f.Add([]byte{5, 2, 0, 9, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		q, err := ReadRequest(r)
		if len(b)-r.Len() > 262 {
			t.Fatalf("%d bytes were read", len(b)-r.Len())
		}
		if err != nil {
			return
		}
		if q.Host == "" || len(q.Host) > 255 || strings.ContainsFunc(q.Host, func(r rune) bool { return r <= ' ' || r > '~' }) || strings.ToLower(q.Host) != q.Host {
			t.Fatalf("host %q", q.Host)
		}
		again := append([]byte{5, byte(q.Command), 0, 3, byte(len(q.Host))}, q.Host...)
		again = append(again, byte(q.Port>>8), byte(q.Port))
		if p, err := ReadRequest(bytes.NewReader(again)); err != nil || p != q {
			t.Fatalf("%+v became %+v, %v", q, p, err)
		}
	})
}

func FuzzGreet(f *testing.F) {
	f.Add([]byte{5, 1, 0})
	f.Add([]byte{5, 2, 1, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		h := client(b...)
		if err := Greet(h); (err == nil) != bytes.Equal(h.Bytes(), []byte{5, 0}) {
			t.Fatalf("%v, answered %v", err, h.Bytes())
		}
	})
}
