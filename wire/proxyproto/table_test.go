package proxyproto_test

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/proxyproto"
)

const sig = "0d0a0d0a000d0a515549540a"

// headers is every sort of header with its bytes: what encode must write, decode must read and the fuzzer starts from.
var headers = []struct {
	name   string
	wire   string // hex, or text that begins with PROXY
	header proxyproto.Header
	oneWay bool // such bytes are read but never written
}{
	{
		name: "v2 TCP4", wire: sig + "2111000c" + "0a070032" + "0a070004" + "c35a" + "22b3",
		header: proxyproto.Header{Version: 2, Protocol: proxyproto.TCP4, Source: ap("10.7.0.50:50010"), Destination: ap("10.7.0.4:8883")},
	},
	{
		name: "v2 TCP4 with Azure's link id", wire: sig + "21110014" + "0a070032" + "0a070004" + "c35a" + "22b3" + "ee0005" + "01" + "44332211",
		header: proxyproto.Header{
			Version: 2, Protocol: proxyproto.TCP4, Source: ap("10.7.0.50:50010"), Destination: ap("10.7.0.4:8883"),
			TLVs: []proxyproto.TLV{{Type: 0xEE, Value: []byte{1, 0x44, 0x33, 0x22, 0x11}}},
		},
	},
	{
		name: "v2 TCP6 with authority and an empty TLV",
		wire: sig + "21210032" + "20010db8000000000000000000000001" + "20010db8000000000000000000000002" + "c35a" + "01bb" + "020008" + "68756231" + "2e6c6f63" + "040000",
		header: proxyproto.Header{
			Version: 2, Protocol: proxyproto.TCP6, Source: ap("[2001:db8::1]:50010"), Destination: ap("[2001:db8::2]:443"),
			TLVs: []proxyproto.TLV{{Type: 2, Value: []byte("hub1.loc")}, {Type: 4, Value: []byte{}}},
		},
	},
	{
		name: "v2 UDP4", wire: sig + "2112000c" + "01020304" + "05060708" + "0001" + "ffff",
		header: proxyproto.Header{Version: 2, Protocol: proxyproto.UDP4, Source: ap("1.2.3.4:1"), Destination: ap("5.6.7.8:65535")},
	},
	{
		name: "v2 UNIX stream, one of them abstract",
		wire: sig + "213100d8" + hex.EncodeToString([]byte("/run/hub.sock")) + strings.Repeat("00", 108-13) + "0061" + strings.Repeat("00", 106),
		header: proxyproto.Header{
			Version: 2, Protocol: proxyproto.UnixStream, SourcePath: "/run/hub.sock", DestinationPath: "\x00a",
		},
	},
	{name: "v2 LOCAL", wire: sig + "20000000", header: proxyproto.Header{Version: 2, Local: true}},
	{
		name: "v2 LOCAL with a block to discard", wire: sig + "2011000e" + "0a070032" + "0a070004" + "c35a" + "22b3" + "ffff",
		header: proxyproto.Header{Version: 2, Local: true}, oneWay: true,
	},
	{name: "v2 unspecified", wire: sig + "21000000", header: proxyproto.Header{Version: 2}},
	{
		name: "v1 TCP4", wire: "PROXY TCP4 10.7.0.50 10.7.0.4 50010 8883\r\n",
		header: proxyproto.Header{Version: 1, Protocol: proxyproto.TCP4, Source: ap("10.7.0.50:50010"), Destination: ap("10.7.0.4:8883")},
	},
	{
		name: "v1 TCP6", wire: "PROXY TCP6 2001:db8::1 ::1 0 65535\r\n",
		header: proxyproto.Header{Version: 1, Protocol: proxyproto.TCP6, Source: ap("[2001:db8::1]:0"), Destination: ap("[::1]:65535")},
	},
	{name: "v1 unknown", wire: "PROXY UNKNOWN\r\n", header: proxyproto.Header{Version: 1}},
	{
		name:   "v1 unknown, with the longest line there is",
		wire:   "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535" + strings.Repeat(" ", 48) + "\r\n",
		header: proxyproto.Header{Version: 1}, oneWay: true,
	},
}

// refused is what looks like a header and is none.
var refused = []struct {
	name, wire string
	kind       fault.Kind
	words      string
}{
	{"TLS instead", "160301020001", fault.Invalid, "does not begin with a PROXY header"},
	{"HTTP instead", hex.EncodeToString([]byte("POST / HTTP/1.1\r\n")), fault.Invalid, "does not begin with a PROXY header"},
	{"nothing", "", fault.Invalid, "truncated"},
	{"v2 cut inside the signature", sig[:10], fault.Invalid, "truncated: 5 bytes came"},
	{"v2 cut inside the addresses", sig + "2111000c" + "0a07", fault.Invalid, "18 bytes came, at least 10 more"},
	{"v2 of version 3", sig + "31110000", fault.Invalid, "version is 3"},
	{"v2 command 2", sig + "22110000", fault.Invalid, "command is 2"},
	{"v2 protocol 0x41", sig + "21410000", fault.Invalid, "protocol is 0x41"},
	{"v2 protocol 0x10", sig + "21100000", fault.Invalid, "protocol is 0x10"},
	{"v2 too short for its family", sig + "2111000b" + "0a0700320a070004c35a22", fault.Invalid, "too few"},
	{"v2 huge", sig + "2111ffff", fault.TooLarge, "65551 bytes"},
	{"v2 TLV over the end", sig + "2111000f" + "0a0700320a070004c35a22b3" + "ee0005", fault.Invalid, "announces 5 bytes where 0 are left"},
	{"v2 crumbs behind the TLVs", sig + "2111000e" + "0a0700320a070004c35a22b3" + "ee00", fault.Invalid, "2 bytes are left over"},
	{"v2 wrong checksum", sig + "21110013" + "0a0700320a070004c35a22b3" + "030004" + "00000000", fault.Invalid, "checksum"},
	{"v1 endless", hex.EncodeToString([]byte("PROXY TCP4 " + strings.Repeat("1", 200))), fault.TooLarge, "no end within 107"},
	{"v1 lower case", hex.EncodeToString([]byte("PROXY tcp4 1.1.1.1 1.1.1.1 1 1\r\n")), fault.Invalid, `"tcp4"`},
	{"v1 word missing", hex.EncodeToString([]byte("PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n")), fault.Invalid, "5 words"},
	{"v1 wrong family", hex.EncodeToString([]byte("PROXY TCP4 ::1 ::1 1 1\r\n")), fault.Invalid, "no address"},
	{"v1 leading zero", hex.EncodeToString([]byte("PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n")), fault.Invalid, "no port"},
	{"v1 port over", hex.EncodeToString([]byte("PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n")), fault.Invalid, "no port"},
}

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func wireBytes(t testing.TB, s string) []byte {
	t.Helper()
	if strings.HasPrefix(s, "PROXY") {
		return []byte(s)
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatalf("the table's hex is wrong: %v", err)
	}
	return b
}

func same(t *testing.T, got, want proxyproto.Header) {
	t.Helper()
	if got.Version != want.Version || got.Local != want.Local || got.Protocol != want.Protocol || got.Source != want.Source ||
		got.Destination != want.Destination || got.SourcePath != want.SourcePath || got.DestinationPath != want.DestinationPath ||
		len(got.TLVs) != len(want.TLVs) {
		t.Fatalf("\n got %+v\nwant %+v", got, want)
	}
	for i := range got.TLVs {
		if got.TLVs[i].Type != want.TLVs[i].Type || !bytes.Equal(got.TLVs[i].Value, want.TLVs[i].Value) {
			t.Fatalf("TLV %d: got %+v, want %+v", i, got.TLVs[i], want.TLVs[i])
		}
	}
}

func TestTable(t *testing.T) {
	for _, c := range headers {
		t.Run(c.name, func(t *testing.T) {
			b := wireBytes(t, c.wire)
			if !c.oneWay {
				got, err := proxyproto.Append([]byte("before"), c.header)
				if err != nil || !bytes.Equal(got[6:], b) || string(got[:6]) != "before" {
					t.Fatalf("Append: %v\n got %x\nwant %x", err, got, b)
				}
			}
			h, n, err := proxyproto.Decode(append(bytes.Clone(b), "behind"...))
			if err != nil || n != len(b) {
				t.Fatalf("Decode: %d bytes of %d, %v", n, len(b), err)
			}
			same(t, h, c.header)
			for i := range b {
				need, err := proxyproto.Need(b[:i])
				if err != nil || need < 1 || i+need > len(b) {
					t.Fatalf("Need after %d of %d bytes: %d, %v", i, len(b), need, err)
				}
				if _, _, err := proxyproto.Decode(b[:i]); err == nil {
					t.Fatalf("%d of %d bytes decode", i, len(b))
				}
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for _, c := range refused {
		t.Run(c.name, func(t *testing.T) {
			_, n, err := proxyproto.Decode(wireBytes(t, c.wire))
			if n != 0 || fault.KindOf(err) != c.kind || !strings.Contains(fault.Message(err), c.words) {
				t.Fatalf("%d bytes, %v", n, err)
			}
		})
	}
}

func TestUnwritable(t *testing.T) {
	long := proxyproto.New(ap("10.0.0.1:1"), ap("10.0.0.2:2"))
	long.TLVs = []proxyproto.TLV{{Type: 0xE0, Value: make([]byte, proxyproto.MaxLength)}}
	for name, h := range map[string]proxyproto.Header{
		"version 3":      {Version: 3},
		"no addresses":   {Version: 2, Protocol: proxyproto.TCP4},
		"mixed families": {Version: 2, Protocol: proxyproto.TCP6, Source: ap("1.1.1.1:1"), Destination: ap("[::1]:1")},
		"a zone":         {Version: 2, Protocol: proxyproto.TCP6, Source: ap("[fe80::1%eth0]:1"), Destination: ap("[::1]:1")},
		"path too long":  {Version: 2, Protocol: proxyproto.UnixStream, SourcePath: strings.Repeat("x", 109)},
		"protocol 0x41":  {Version: 2, Protocol: 0x41},
		"v1 LOCAL":       {Version: 1, Local: true},
		"v1 UNIX":        {Version: 1, Protocol: proxyproto.UnixStream},
		"v1 TLV":         {Version: 1, TLVs: []proxyproto.TLV{{Type: 1}}},
		"v1 families":    {Version: 1, Protocol: proxyproto.TCP4, Source: ap("[::1]:1"), Destination: ap("1.1.1.1:1")},
		"too many TLVs":  long,
		"odd checksum":   {Version: 2, TLVs: []proxyproto.TLV{{Type: proxyproto.TypeCRC32C, Value: []byte{1}}}},
	} {
		if b, err := proxyproto.Append([]byte("x"), h); err == nil || string(b) != "x" || fault.KindOf(err) == fault.Internal {
			t.Errorf("%s: wrote %x, %v", name, b, err)
		}
	}
}

func TestChecksumIsWrittenAndVerified(t *testing.T) {
	h := proxyproto.New(ap("10.7.0.50:50010"), ap("10.7.0.4:8883"))
	h.TLVs = []proxyproto.TLV{{Type: proxyproto.TypeCRC32C, Value: make([]byte, 4)}}
	h.SetLinkID(7)
	b, err := proxyproto.Append(nil, h)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := proxyproto.Decode(b); err != nil {
		t.Fatalf("its own checksum: %v", err)
	}
	b[20] ^= 1
	if _, _, err := proxyproto.Decode(b); err == nil {
		t.Fatal("a changed byte goes unnoticed")
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range headers {
		f.Add(wireBytes(f, c.wire))
	}
	for _, c := range refused {
		f.Add(wireBytes(f, c.wire))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := proxyproto.Decode(b)
		if err != nil {
			if fault.KindOf(err) == fault.Internal {
				t.Fatalf("bad input is an internal fault: %v", err)
			}
			return
		}
		if n > len(b) || n > proxyproto.MaxLength {
			t.Fatalf("%d bytes of %d", n, len(b))
		}
		again, err := proxyproto.Append(nil, h)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		h2, n2, err := proxyproto.Decode(again)
		if err != nil || n2 != len(again) {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		same(t, h2, h)
	})
}
