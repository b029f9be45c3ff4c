package tunnel_test

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// mustFail checks the words, and that the kind is Invalid unless the bytes merely ended.
func mustFail(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("error %v, want one with %q", err, want)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) && fault.KindOf(err) != fault.Invalid {
		t.Errorf("kind %v, want invalid", fault.KindOf(err))
	}
}

func TestFrames(t *testing.T) {
	for _, v := range frameVectors {
		t.Run(v.name, func(t *testing.T) {
			r := bytes.NewReader(unhex(v.bytes))
			f, err := tunnel.ReadFrame(r)
			if v.want != "" {
				mustFail(t, err, v.want)
				return
			}
			if err != nil || !reflect.DeepEqual(f, v.frame) {
				t.Fatalf("decoded %+v, %v; want %+v", f, err, v.frame)
			}
			if b, err := tunnel.AppendFrame(nil, v.frame); err != nil || !bytes.Equal(b, unhex(v.bytes)) {
				t.Errorf("encoded %x, %v", b, err)
			}
			if _, err := tunnel.ReadFrame(r); err != io.EOF { //nolint:errorlint // the contract is io.EOF itself
				t.Errorf("at the border: %v, want io.EOF", err)
			}
		})
	}
}

func TestEveryTypeHasAVectorAndAName(t *testing.T) {
	for ty := tunnel.TypeOpen; ty <= tunnel.TypeGoAway; ty++ {
		if strings.HasPrefix(ty.String(), "type") {
			t.Errorf("type %d has no name", uint8(ty))
		}
		found := false
		for _, v := range frameVectors {
			found = found || v.want == "" && v.frame.Type == ty
		}
		if !found {
			t.Errorf("no vector for %v", ty)
		}
	}
}

func TestAppendFrameRefusesWhatReadFrameWould(t *testing.T) {
	b, err := tunnel.AppendFrame([]byte("kept"), tunnel.Frame{Type: tunnel.TypeData, Stream: 1, Payload: make([]byte, tunnel.MaxData+1)})
	mustFail(t, err, "65537 bytes")
	if string(b) != "kept" {
		t.Errorf("left %q", b)
	}
}

func TestFlows(t *testing.T) {
	for _, v := range flowVectors {
		t.Run(v.name, func(t *testing.T) {
			f, err := tunnel.ParseFlow(unhex(v.bytes))
			if v.want != "" {
				mustFail(t, err, v.want)
				return
			}
			if err != nil || f != v.flow {
				t.Fatalf("decoded %+v, %v; want %+v", f, err, v.flow)
			}
			if b, err := tunnel.AppendFlow(nil, v.flow); err != nil || !bytes.Equal(b, unhex(v.bytes)) {
				t.Errorf("encoded %x, %v", b, err)
			}
		})
	}
}

func TestAppendFlow(t *testing.T) {
	mapped := tunnel.Flow{Endpoint: "ep", Port: 1, Client: netip.MustParseAddrPort("[::ffff:10.7.0.9]:5")}
	b, err := tunnel.AppendFlow(nil, mapped)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := tunnel.ParseFlow(b); err != nil || f.Client != netip.MustParseAddrPort("10.7.0.9:5") {
		t.Errorf("a mapped address came back as %v, %v", f.Client, err)
	}
	zoned := tunnel.Flow{Endpoint: "ep", Port: 1, Client: netip.MustParseAddrPort("[fe80::1%eth0]:5")}
	if b, err = tunnel.AppendFlow(nil, zoned); err != nil {
		t.Fatal(err)
	}
	if f, err := tunnel.ParseFlow(b); err != nil || f.Client != netip.MustParseAddrPort("[fe80::1]:5") {
		t.Errorf("a zoned address came back as %v, %v", f.Client, err)
	}
	for _, f := range []tunnel.Flow{{Port: 1}, {Endpoint: strings.Repeat("x", 256), Port: 1}, {Endpoint: "a b", Port: 1}, {Endpoint: "e"}} {
		if b, err := tunnel.AppendFlow(nil, f); err == nil {
			t.Errorf("%+v was encoded as %x", f, b)
		}
	}
	if b, err := tunnel.AppendFlow(nil, tunnel.Flow{Endpoint: strings.Repeat("x", 255), Port: 1, Client: netip.MustParseAddrPort("[2001:db8::1]:1")}); err != nil || len(b) > tunnel.MaxFlow {
		t.Errorf("the longest flow: %d bytes, %v", len(b), err)
	}
}

func TestReasons(t *testing.T) {
	long := strings.Repeat("x", tunnel.MaxMessage-1) + "é"
	for _, c := range []struct{ in, out string }{
		{"", ""}, {"the target refused", "the target refused"}, {long, long[:tunnel.MaxMessage-1]}, {"two\nlines", "two\uFFFDlines"}, {"\xff", "\uFFFD"},
	} {
		b := tunnel.AppendReason(nil, tunnel.ResetTargetClosed, c.in)
		code, message, err := tunnel.ParseReason(b)
		if err != nil || code != tunnel.ResetTargetClosed || message != c.out {
			t.Errorf("%q came back as %v %q, %v", c.in, code, message, err)
		}
	}
	_, _, err := tunnel.ParseReason([]byte{0})
	mustFail(t, err, "1 bytes")
	_, _, err = tunnel.ParseReason(make([]byte, 3+tunnel.MaxMessage))
	mustFail(t, err, "259 bytes")
}

func TestResetCodes(t *testing.T) {
	names := map[string]bool{}
	for c := tunnel.ResetRefused; c <= tunnel.ResetTimeout; c++ {
		if n := c.String(); names[n] || strings.HasPrefix(n, "code") {
			t.Errorf("code %d is called %q", c, n)
		} else {
			names[n] = true
		}
	}
	for c, kind := range map[tunnel.ResetCode]fault.Kind{
		tunnel.ResetRefused: fault.Denied, tunnel.ResetRevoked: fault.Denied, tunnel.ResetUnreachable: fault.Unavailable,
		tunnel.ResetTargetClosed: fault.Unavailable, tunnel.ResetPeer: fault.Unavailable, tunnel.ResetShuttingDown: fault.Unavailable,
		tunnel.ResetOverloaded: fault.Exhausted, tunnel.ResetProtocol: fault.Internal, tunnel.ResetTimeout: fault.Timeout, 99: fault.Unavailable,
	} {
		if c.Kind() != kind {
			t.Errorf("%v has kind %v, want %v", c, c.Kind(), kind)
		}
	}
}

func TestWindow(t *testing.T) {
	var b [4]byte
	tunnel.PutWindow(b[:], 131072)
	if n, err := tunnel.ParseWindow(b[:]); err != nil || n != 131072 {
		t.Errorf("%d, %v", n, err)
	}
	_, err := tunnel.ParseWindow(unhex("00000000"))
	mustFail(t, err, "credit of 0")
	_, err = tunnel.ParseWindow(unhex("40000001"))
	mustFail(t, err, "credit of 1073741825")
	_, err = tunnel.ParseWindow(b[:3])
	mustFail(t, err, "3 bytes")
}

func TestPrefaces(t *testing.T) {
	for _, v := range prefaceVectors {
		t.Run(v.name, func(t *testing.T) {
			p, err := tunnel.ReadPreface(bytes.NewReader(unhex(v.bytes)))
			if v.want != "" {
				mustFail(t, err, v.want)
				if s := tunnel.PrefaceStatus(err); s != v.status {
					t.Errorf("answered with %d, want %d", s, v.status)
				}
				return
			}
			if err != nil || p.Kind != tunnel.Pair || !p.Ticket.Equal(v.ticket) {
				t.Fatalf("decoded %v, %v", p, err)
			}
			if b := p.Encode(); !bytes.Equal(b[:], unhex(v.bytes)) {
				t.Errorf("encoded %x", b)
			}
		})
	}
	if tunnel.Magic[0] == tunnel.FirstTLS {
		t.Error("a preface cannot be told from TLS")
	}
}

func TestReadPrefaceLeavesWhatFollows(t *testing.T) {
	b := tunnel.Preface{Kind: tunnel.Pair, Ticket: ticket}.Encode()
	r := strings.NewReader(string(b[:]) + "the peer's")
	if _, err := tunnel.ReadPreface(r); err != nil {
		t.Fatal(err)
	}
	if rest, _ := io.ReadAll(r); string(rest) != "the peer's" {
		t.Errorf("left %q", rest)
	}
}

func TestATicketDoesNotPrintItself(t *testing.T) {
	if s := ticket.String(); strings.Contains(s, "04") || !strings.HasPrefix(s, "00010203") {
		t.Errorf("prints as %q", s)
	}
}

func TestStatus(t *testing.T) {
	if err := tunnel.ReadStatus(bytes.NewReader([]byte{0})); err != nil {
		t.Errorf("paired: %v", err)
	}
	for s, kind := range map[tunnel.Status]fault.Kind{
		tunnel.StatusUnknown: fault.Expired, tunnel.StatusTimeout: fault.Timeout, tunnel.StatusOverloaded: fault.Exhausted,
		tunnel.StatusMalformed: fault.Invalid, tunnel.StatusVersion: fault.Invalid, tunnel.StatusShuttingDown: fault.Unavailable,
		tunnel.StatusDeclined: fault.Denied, 200: fault.Unavailable,
	} {
		err := tunnel.ReadStatus(bytes.NewReader([]byte{byte(s)}))
		if !errors.Is(err, s) || fault.KindOf(err) != kind || fault.Message(err) == "" {
			t.Errorf("status %d: %v", s, err)
		}
	}
	if err := tunnel.ReadStatus(strings.NewReader("")); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("no answer: %v", err)
	}
}

func TestSignals(t *testing.T) {
	for _, v := range signalVectors {
		t.Run(v.name, func(t *testing.T) {
			r := bytes.NewReader(unhex(v.bytes))
			s, err := tunnel.ReadSignal(r)
			if v.want != "" {
				mustFail(t, err, v.want)
				return
			}
			if err != nil || s != v.signal {
				t.Fatalf("decoded %+v, %v; want %+v", s, err, v.signal)
			}
			if b, err := tunnel.AppendSignal(nil, v.signal); err != nil || !bytes.Equal(b, unhex(v.bytes)) {
				t.Errorf("encoded %x, %v", b, err)
			}
			if _, err := tunnel.ReadSignal(r); err != io.EOF { //nolint:errorlint // the contract is io.EOF itself
				t.Errorf("at the border: %v, want io.EOF", err)
			}
		})
	}
	b, err := tunnel.AppendSignal([]byte("kept"), tunnel.Ask{Target: strings.Repeat("x", tunnel.MaxID+1)})
	mustFail(t, err, "2049 bytes")
	if string(b) != "kept" {
		t.Errorf("left %q", b)
	}
	if b, err = tunnel.AppendSignal(nil, tunnel.Offer{From: strings.Repeat("x", tunnel.MaxID)}); err != nil || len(b) > 2+tunnel.MaxSignal {
		t.Errorf("the longest offer: %d bytes, %v", len(b), err)
	}
	for c, kind := range map[tunnel.RefuseCode]fault.Kind{
		tunnel.RefuseAbsent: fault.Unavailable, tunnel.RefuseDenied: fault.Denied, tunnel.RefuseOverloaded: fault.Exhausted,
		tunnel.RefuseShuttingDown: fault.Unavailable,
	} {
		if c.Kind() != kind || strings.HasPrefix(c.String(), "code") {
			t.Errorf("refusal %v has kind %v", c, c.Kind())
		}
	}
}

// FuzzFrame: what can be read is written back the same, and so are the payloads that have a form.
func FuzzFrame(f *testing.F) {
	for _, v := range frameVectors {
		f.Add(unhex(v.bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, err := tunnel.ReadFrame(bytes.NewReader(b))
		if err != nil {
			return
		}
		out, err := tunnel.AppendFrame(nil, fr)
		if err != nil || !bytes.HasPrefix(b, out) {
			t.Fatalf("%x came back as %x, %v", b, out, err)
		}
		switch fr.Type {
		case tunnel.TypeOpen:
			checkFlow(t, fr.Payload)
		case tunnel.TypeReset, tunnel.TypeGoAway:
			if _, m, err := tunnel.ParseReason(fr.Payload); err != nil || !utf8.ValidString(m) || strings.ContainsAny(m, "\n\r\x1b") {
				t.Fatalf("%x: %q, %v", fr.Payload, m, err)
			}
		case tunnel.TypeWindow:
			if n, err := tunnel.ParseWindow(fr.Payload); err == nil {
				var p [4]byte
				if tunnel.PutWindow(p[:], n); !bytes.Equal(p[:], fr.Payload) {
					t.Fatalf("%x came back as %x", fr.Payload, p)
				}
			}
		}
	})
}

func checkFlow(t *testing.T, b []byte) {
	t.Helper()
	fl, err := tunnel.ParseFlow(b)
	if err != nil {
		return
	}
	if out, err := tunnel.AppendFlow(nil, fl); err != nil || !bytes.Equal(out, b) {
		t.Fatalf("%x came back as %x, %v", b, out, err)
	}
}

func FuzzFlow(f *testing.F) {
	for _, v := range flowVectors {
		f.Add(unhex(v.bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) { checkFlow(t, b) })
}

func FuzzPreface(f *testing.F) {
	for _, v := range prefaceVectors {
		f.Add(unhex(v.bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := tunnel.ParsePreface(b)
		if err != nil {
			_ = tunnel.PrefaceStatus(err)
			return
		}
		if out := p.Encode(); !bytes.Equal(out[:], b) {
			t.Fatalf("%x came back as %x", b, out)
		}
	})
}

func FuzzSignal(f *testing.F) {
	for _, v := range signalVectors {
		f.Add(unhex(v.bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := tunnel.ReadSignal(bytes.NewReader(b))
		if err != nil {
			return
		}
		out, err := tunnel.AppendSignal(nil, s)
		if err != nil {
			t.Fatalf("%+v cannot be written: %v", s, err)
		}
		if _, words := s.(tunnel.Refuse); !words && !bytes.HasPrefix(b, out) {
			t.Fatalf("%x came back as %x", b, out)
		}
	})
}
