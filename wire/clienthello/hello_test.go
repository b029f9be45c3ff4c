package clienthello

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
)

func TestRealHellos(t *testing.T) {
	clients := captured(t)
	for name, cfg := range map[string]*tls.Config{
		"go":          {ServerName: "contoso.azure-devices.net"},
		"go-tls12":    {ServerName: "Contoso.Azure-Devices.net", MaxVersion: tls.VersionTLS12, NextProtos: []string{"mqtt", "h2"}},
		"go-no-name":  {},
		"go-no-pq":    {ServerName: "a.b", CurvePreferences: []tls.CurveID{tls.X25519}},
		"go-address":  {ServerName: "203.0.113.9"}, // crypto/tls leaves the extension out, as it should
		"go-long":     {ServerName: strings.Repeat("a.", 126) + "z"},
		"go-one-alpn": {NextProtos: []string{"x-amzn-mqtt-ca"}},
	} {
		clients[name] = said(t, cfg)
	}
	for name, b := range clients {
		h, err := Parse(b)
		if name == "openssl-address" {
			if !errors.Is(err, NameIsAddress) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		wantName, wantALPN, ok := twin(b)
		if err != nil || !ok || h.ServerName != strings.ToLower(wantName) || !slices.Equal(h.ALPN(), wantALPN) {
			t.Errorf("%s: %q %q %v, crypto/tls says %q %q %v", name, h.ServerName, h.ALPN(), err, wantName, wantALPN, ok)
		}
		everyCut(t, b)
	}
	h, err := Parse(clients["openssl-tls12"])
	if err != nil || h.ServerName != "contoso.azure-devices.net" || !h.Offers("x-amzn-mqtt-ca") || h.Offers("mqtt") {
		t.Errorf("%q %q %v", h.ServerName, h.ALPN(), err)
	}
}

// everyCut checks that bytes are incomplete up to one length and the same from there on, and that Need never asks for too much.
func everyCut(t testing.TB, b []byte) {
	t.Helper()
	want, wantErr := Parse(b)
	decided := -1
	for cut := range len(b) + 1 {
		h, err := Parse(b[:cut])
		need, needErr := Need(b[:cut])
		switch {
		case errors.Is(err, ErrIncomplete):
			if decided >= 0 || need <= 0 || needErr != nil {
				t.Fatalf("incomplete at %d of %d, decided at %d, need %d %v", cut, len(b), decided, need, needErr)
			}
			if !errors.Is(wantErr, ErrIncomplete) && !decides(b, cut, need) {
				t.Fatalf("at %d of %d it needs %d", cut, len(b), need)
			}
		case !errors.Is(err, wantErr) || h.ServerName != want.ServerName || !bytes.Equal(h.protocols, want.protocols):
			t.Fatalf("at %d of %d: %q %v, whole: %q %v", cut, len(b), h.ServerName, err, want.ServerName, wantErr)
		default:
			if need != 0 || !errors.Is(needErr, err) {
				t.Fatalf("at %d of %d: %v, need %d %v", cut, len(b), err, need, needErr)
			}
			if decided < 0 {
				decided = cut
			}
		}
	}
}

// decides tells whether nothing is decided before need more bytes, except that something is malformed.
func decides(b []byte, cut, need int) bool {
	if cut+need-1 >= len(b) {
		_, err := Parse(b)
		return isMalformed(err)
	}
	_, err := Parse(b[:cut+need-1])
	return errors.Is(err, ErrIncomplete) || isMalformed(err)
}

func isMalformed(err error) bool {
	_, ok := err.(Malformed) //nolint:errorlint // never wrapped
	return ok
}

func TestAnyNumberOfRecords(t *testing.T) {
	message := hello(names("contoso.azure-devices.net"), protocols("mqtt", "h2"))
	for size := range len(message) {
		b := append(records(message, size+1), "what follows"...)
		h, err := Parse(b)
		if err != nil || h.ServerName != "contoso.azure-devices.net" || !slices.Equal(h.ALPN(), []string{"mqtt", "h2"}) {
			t.Fatalf("records of %d: %+v %v", size+1, h, err)
		}
		everyCut(t, b)
	}
}

func TestWhatIsMalformed(t *testing.T) {
	one := func(extensions ...[]byte) []byte { return records(hello(extensions...), maxRecord) }
	ok := hello(names("a.b"))
	body := ok[messageHeader:]
	edit := func(at int, to byte) []byte {
		b := slices.Clone(ok)
		b[at] = to
		return records(b, maxRecord)
	}
	var unknown []byte
	for i := range 300 {
		unknown = append(unknown, extension(uint16(1000+i), nil)...)
	}
	for name, tc := range map[string]struct {
		b    []byte
		want error
		name string
	}{
		"nothing":               {nil, ErrIncomplete, ""},
		"HTTP":                  {[]byte("G"), NotTLS, ""},
		"PROXY":                 {[]byte("PROXY TCP4"), NotTLS, ""},
		"MQTT":                  {[]byte{0x10}, NotTLS, ""},
		"SSL 2":                 {[]byte{0x80, 0x2e, 1, 3, 1}, NotTLS, ""},
		"an alert":              {[]byte{21, 3, 1, 0, 2, 1, 0}, NotTLS, ""},
		"major version 2":       {[]byte{22, 2}, NotTLS, ""},
		"any minor version":     {append([]byte{22, 3, 99}, one(names("a.b"))[3:]...), nil, "a.b"},
		"empty record":          {[]byte{22, 3, 1, 0, 0}, BadRecord, ""},
		"record over 2^14":      {[]byte{22, 3, 1, 0x40, 1}, BadRecord, ""},
		"far over 2^14":         {[]byte{22, 3, 1, 0x41}, BadRecord, ""},
		"an empty one later":    {append(records(ok[:9], 9), 22, 3, 1, 0, 0), BadRecord, ""},
		"an alert later":        {append(records(ok[:9], 9), 21), BadRecord, ""},
		"version 2 later":       {append(records(ok[:9], 9), 22, 2), BadRecord, ""},
		"ServerHello":           {[]byte{22, 3, 1, 0, 90, 2}, NotClientHello, ""},
		"16 MiB":                {[]byte{22, 3, 1, 0, 90, 1, 1}, TooLong, ""},
		"too short":             {[]byte{22, 3, 1, 0, 90, 1, 0, 0, 40}, BadMessage, ""},
		"SSL 2 inside":          {edit(4, 2), BadMessage, ""},
		"session of 33":         {edit(messageHeader+34, 33), BadMessage, ""},
		"no cipher suite":       {edit(messageHeader+36, 0), BadMessage, ""},
		"half a cipher suite":   {edit(messageHeader+36, 3), BadMessage, ""},
		"no compression":        {edit(messageHeader+39, 0), BadMessage, ""},
		"bytes behind":          {records(message16(1, append(slices.Clone(body), 0)), maxRecord), BadMessage, ""},
		"cut in an extension":   {records(message16(1, append(slices.Clone(body[:41]), 0, 3, 0, 0, 0)), maxRecord), BadMessage, ""},
		"long extension":        {records(message16(1, append(slices.Clone(body[:41]), 0, 4, 0, 0, 0, 1)), maxRecord), BadMessage, ""},
		"no extensions":         {one(), nil, ""},
		"an empty block":        {one([]byte{}), nil, ""},
		"GREASE and ECH":        {one(extension(0x0a0a, nil), extension(0xfe0d, make([]byte, 200)), names("outer.example"), extension(0xfafa, []byte{0})), nil, "outer.example"},
		"two names extensions":  {one(names("a.b"), names("a.b")), DuplicateExtension, ""},
		"two of an unknown one": {one(extension(0x0a0a, nil), extension(0x0a0a, nil)), DuplicateExtension, ""},
		"300 unknown ones":      {one(unknown, names("a.b")), nil, "a.b"},
		"one of them again":     {one(unknown, extension(1299, nil), names("a.b")), DuplicateExtension, ""},

		"no protocol":        {one(protocols()), BadProtocols, ""},
		"an empty protocol":  {one(protocols("h2", "")), BadProtocols, ""},
		"bytes behind ALPN":  {one(extension(extALPN, []byte{0, 2, 1, 'a', 0})), BadProtocols, ""},
		"a cut protocol":     {one(extension(extALPN, []byte{0, 2, 2, 'a'})), BadProtocols, ""},
		"an empty ALPN":      {one(extension(extALPN, nil)), BadProtocols, ""},
		"no list of names":   {one(extension(extServerName, nil)), BadNameList, ""},
		"an empty list":      {one(names()), BadNameList, ""},
		"an empty name":      {one(names("")), BadNameList, ""},
		"two names":          {one(names("a.b", "c.d")), BadNameList, ""},
		"bytes behind names": {one(extension(extServerName, append(vector16([]byte{0, 0, 1, 'a'}), 0))), BadNameList, ""},
		"a cut name":         {one(extension(extServerName, vector16([]byte{0, 0, 2, 'a'}))), BadNameList, ""},
		"another type":       {one(extension(extServerName, vector16([]byte{9, 0, 1, 'x'}))), nil, ""},
		"both types":         {one(extension(extServerName, vector16([]byte{9, 0, 1, 'x', 0, 0, 3, 'a', '.', 'b'}))), nil, "a.b"},

		"upper case":           {one(names("Contoso.Azure-Devices.NET")), nil, "contoso.azure-devices.net"},
		"a trailing dot":       {one(names("a.b.")), nil, "a.b"},
		"one label":            {one(names("hub_1")), nil, "hub_1"},
		"digits":               {one(names("4711")), nil, "4711"},
		"two dots":             {one(names("a.b..")), BadName, ""},
		"a dot":                {one(names(".")), BadName, ""},
		"a leading dot":        {one(names(".a")), BadName, ""},
		"an empty label":       {one(names("a..b")), BadName, ""},
		"NUL":                  {one(names("contoso.azure-devices.net\x00.evil.example")), BadName, ""},
		"NUL alone":            {one(names("\x00")), BadName, ""},
		"a newline":            {one(names("a.b\nlevel=info")), BadName, ""},
		"an escape":            {one(names("a\x1b[31m.b")), BadName, ""},
		"DEL":                  {one(names("a\x7f")), BadName, ""},
		"UTF-8":                {one(names("münchen.example")), BadName, ""},
		"a wildcard":           {one(names("*.example")), BadName, ""},
		"a slash":              {one(names("a/b")), BadName, ""},
		"with a port":          {one(names("a.b:443")), BadName, ""},
		"IPv4":                 {one(names("203.0.113.9")), NameIsAddress, ""},
		"IPv4 and a dot":       {one(names("203.0.113.9.")), NameIsAddress, ""},
		"IPv6":                 {one(names("2001:db8::9")), NameIsAddress, ""},
		"IPv6 in brackets":     {one(names("[2001:db8::9]")), BadName, ""},
		"a label of 63":        {one(names(strings.Repeat("x", 63) + ".b")), nil, strings.Repeat("x", 63) + ".b"},
		"a label of 64":        {one(names(strings.Repeat("x", 64) + ".b")), BadName, ""},
		"253 bytes":            {one(names(strings.Repeat("x.", 126) + "y")), nil, strings.Repeat("x.", 126) + "y"},
		"254 bytes with a dot": {one(names(strings.Repeat("x.", 126) + "y.")), nil, strings.Repeat("x.", 126) + "y"},
		"254 bytes":            {one(names(strings.Repeat("x.", 126) + "yy")), BadName, ""},
		"300 bytes":            {one(names(strings.Repeat("x.", 149) + "yy")), BadName, ""},
		"60 kB of padding":     {one(extension(21, make([]byte, 16_000)), names("a.b")), nil, "a.b"},
		"60 kB in records":     {records(hello(extension(21, make([]byte, 60_000)), names("a.b")), 1000), nil, "a.b"},
	} {
		h, err := Parse(tc.b)
		if !errors.Is(err, tc.want) || h.ServerName != tc.name {
			t.Errorf("%s: %q %v, wanted %q %v", name, h.ServerName, err, tc.name, tc.want)
		}
		if len(tc.b) < 1000 {
			everyCut(t, tc.b)
		}
	}
}

func TestEveryReasonHasWords(t *testing.T) {
	met := map[string]bool{}
	for _, r := range Reasons() {
		if met[r.Error()] || strings.Contains(r.Error(), "malformed") || fault.KindOf(r) != fault.Invalid || fault.Next(r) == "" {
			t.Errorf("%s: %v, %v, %q", r, r, fault.KindOf(r), fault.Next(r))
		}
		met[r.Error()] = true
	}
}

// A sender of single bytes in records of one byte must not cost more than the bytes are worth.
func TestSlowSendersCostLittle(t *testing.T) {
	for _, size := range []int{1, 2, 100, maxRecord} {
		b := records(hello(extension(21, make([]byte, 30_000)), names("a.b")), size)
		at, asked := 0, 0
		for {
			need, err := Need(b[:at])
			if err != nil {
				t.Fatal(err)
			}
			asked++
			if need == 0 {
				break
			}
			at += need
		}
		if at != len(b) {
			t.Errorf("records of %d: decided at %d of %d", size, at, len(b))
		}
		if asked > 60 || size >= 100 && asked > 5 {
			t.Errorf("records of %d: asked %d times for %d bytes", size, asked, len(b))
		}
	}
}

func TestOnlyTheNameIsAllocated(t *testing.T) {
	b := records(hello(extension(0x0a0a, nil), names("contoso.azure-devices.net"), protocols("mqtt")), maxRecord)
	if n := testing.AllocsPerRun(100, func() {
		if h, err := Parse(b); err != nil || !h.Offers("mqtt") {
			t.Fatal(err)
		}
	}); n != 1 {
		t.Errorf("%v allocations", n)
	}
	bad := records(hello(names("a..b")), maxRecord)
	if n := testing.AllocsPerRun(100, func() { _, _ = Parse(bad); _, _ = Need(bad[:20]) }); n != 0 {
		t.Errorf("%v allocations for what is refused", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, b := range captured(f) {
		f.Add(b, uint16(7))
	}
	f.Add(said(f, &tls.Config{ServerName: "contoso.azure-devices.net", NextProtos: []string{"mqtt"}}), uint16(1))
	f.Add(records(hello(names("a.b", "c"), protocols("x")), 3), uint16(2))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint16(0))
	f.Fuzz(func(t *testing.T, b []byte, size uint16) {
		if len(b) > 4096 {
			return
		}
		everyCut(t, b)
		h, err := Parse(b)
		against(t, b, h, err)
		if isMalformed(err) || err != nil {
			return
		}
		// The same message in records of another size says the same.
		m, _, _ := follow(b)
		again, err := Parse(records(message16(clientHelloType, m.body(b)), int(size)%maxRecord+1))
		if err != nil || again.ServerName != h.ServerName || !slices.Equal(again.ALPN(), h.ALPN()) {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
	})
}

// against compares with crypto/tls, which is stricter about extensions it reads and more lenient about names and lengths.
func against(t *testing.T, b []byte, h Hello, err error) {
	t.Helper()
	name, alpn, ok := twin(b)
	switch {
	case !ok:
	case err == nil:
		if h.ServerName != strings.ToLower(name) || !slices.Equal(h.ALPN(), alpn) {
			t.Fatalf("%q %q, crypto/tls reads %q %q", h.ServerName, h.ALPN(), name, alpn)
		}
	case errors.Is(err, BadName), errors.Is(err, NameIsAddress):
		if name == "" {
			t.Fatalf("%v, crypto/tls reads no name", err)
		}
	case errors.Is(err, BadMessage), errors.Is(err, BadRecord), errors.Is(err, NotTLS):
		// versions 2, no cipher suite, empty records, which crypto/tls lets pass at this point
	default:
		t.Fatalf("%v, crypto/tls reads %q %q", err, name, alpn)
	}
}

func BenchmarkParse(b *testing.B) {
	for name, hello := range map[string][]byte{
		"go":        said(b, &tls.Config{ServerName: "contoso.azure-devices.net", NextProtos: []string{"mqtt"}}),
		"openssl":   captured(b)["openssl-default"],
		"records":   captured(b)["openssl-split"],
		"one-byte":  records(hello(names("contoso.azure-devices.net")), 1),
		"4096-exts": records(hello(manyExtensions(4096)), maxRecord),
	} {
		b.Run(fmt.Sprintf("%s-%d", name, len(hello)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(hello); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func manyExtensions(n int) []byte {
	var out []byte
	for i := range n {
		out = append(out, extension(uint16(1000+i), nil)...)
	}
	return out
}
